"""Recordings of terminals: on the record before the person sees what they hold, or the session ends.

A line is on the record once the operating system has it. Short ones are so a little sooner, while nothing else of the recording is
under way: once they are kept in memory that outlives this process, and the disk has room set aside for them.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from octopus.core.asciicast import Asciicast, TerminalEvent
from octopus.core.errors import RecordingUnavailable
from octopus.core.types import Mark, Output, Pty, TermSize, Value
from octopus.session.disk import Disk, DiskThreads
from octopus.session.disk_room import set_aside
from octopus.session.file_copies import FileCopies
from octopus.session.write_ahead import AheadSlot, WriteAhead

NO_TERMINAL = Pty(term="", size=TermSize(cols=80, rows=24))
"""Where a command has none, its recording is played on this."""
ROOM = 32768
"""Bytes of a disk that an open recording has set aside, and what is left of them when it sets aside as many more."""
LEAST_ROOM = 8192
GATHERED = 0.005
"""Seconds for which short lines are gathered, in memory that outlives this process, to go to the disk together."""
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


class Recording(Value, frozen=True, kw_only=True):
    """A finished recording: its path below the directory of recordings, SHA-256 (hex) and size in bytes."""

    path: str
    sha256: str
    size: int


class SessionRecorder(Protocol):
    """Where a session's events go before they are delivered."""

    async def write(self, event: TerminalEvent) -> None:
        """Return once it is on the record. Raise RecordingUnavailable."""
        ...

    async def finish(self) -> Recording | None:
        """Close it; None where nothing is recorded. Raise RecordingUnavailable when it could not be completed."""
        ...


class Unrecorded:
    """The recorder of sessions without a terminal: their bytes are only counted."""

    async def write(self, event: TerminalEvent) -> None:
        """Keep nothing."""

    async def finish(self) -> Recording | None:
        """Return None."""
        return None


class Recordings:
    """The directory of recordings, ``YYYY/MM/DD/SESSION.cast``, and the threads that write there.

    Threads, since a disk that hangs must not hold up sessions that do not write to it: each write has ``timeout`` seconds, and
    a recording ``max_bytes``, after which its session ends. Without ``ahead`` each line waits for the disk.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Callable[[], float],
        ahead: WriteAhead | None = None,
        timeout: float = 10.0,
        max_bytes: int = 4 << 30,
        threads: int = 4,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._ahead = ahead
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._threads = DiskThreads(threads, "recording")

    async def open(self, session: str, pty: Pty, *, title: str) -> TerminalRecorder:
        """Create the session's file (0600, ``.cast.part`` until complete) with its header. Raise RecordingUnavailable."""
        _check(session)
        started = self._clock()
        path = Path(datetime.fromtimestamp(started, UTC).strftime("%Y/%m/%d")) / f"{session}.cast"
        cast = Asciicast(size=pty.size, started=started, title=title, term=pty.term)
        file = _File(self._directory, path, self._max_bytes)
        disk = Disk(file.name, self._threads, self._timeout)
        slot = self._ahead.slot(session) if self._ahead else None
        recorder = TerminalRecorder(cast, file, disk, slot, clock=self._clock, started=started)
        await recorder.start()
        return recorder

    def copies(self, session: str, limit: int) -> FileCopies:
        """Return what keeps copies of the session's files up to ``limit`` bytes, 0 for none. Raise RecordingUnavailable."""
        _check(session)
        return FileCopies(self._directory, session, limit, clock=self._clock, threads=self._threads, timeout=self._timeout)

    def close(self) -> None:
        """Release threads and memory; recordings are finished by their sessions before."""
        self._threads.close()
        if self._ahead:
            self._ahead.close()


class TerminalRecorder:
    """Records one terminal. Once a write has failed, every further call raises: there are no holes in a recording."""

    def __init__(
        self, cast: Asciicast, file: _File, disk: Disk, ahead: AheadSlot | None, *, clock: Callable[[], float], started: float
    ) -> None:
        self._cast = cast
        self._file = file
        self._disk = disk
        self._ahead = ahead
        self._clock = clock
        self._started = started
        self._order = asyncio.Lock()
        self._waiting = b""

    async def start(self) -> None:
        """Create the file and write the header."""
        async with self._order:
            await self._disk.run(self._file.create)
            await self._disk.run(self._file.append, self._cast.header())

    async def write(self, event: TerminalEvent) -> None:
        """Append the event; returns once it is on the record."""
        async with self._order:
            line = self._cast.encode(event, self._clock() - self._started)
            if line and not self._kept_ahead(line):
                await self._disk.run(self._file.append, self._taken() + line)

    def _kept_ahead(self, line: bytes) -> bool:
        """Have a line on the record whose way to the disk is yet to begin, where that can be."""
        lines = self._waiting + line
        if not self._ahead or not self._disk.idle or not self._file.has_room(len(lines)) or not self._ahead.keep(self._file.size, lines):
            return False
        if not self._waiting:
            asyncio.get_running_loop().call_later(GATHERED, self._hand_over)
        self._waiting = lines
        return True

    def _hand_over(self) -> None:
        if lines := self._taken():
            self._disk.later(self._file.append, lines)

    def _taken(self) -> bytes:
        lines, self._waiting = self._waiting, b""
        return lines

    async def finish(self) -> Recording:
        """Write what is left, sync, give the file its final name."""
        async with self._order:
            try:
                await self._disk.run(self._file.append, self._taken() + self._cast.finish(self._clock() - self._started))
                return await self._disk.run(self._file.complete)
            except RecordingUnavailable:
                self._disk.give_up(self._file.close)
                raise
            finally:
                if self._ahead:
                    self._ahead.release()
                    self._ahead = None


class Beginning:
    """Records the first ``limit`` bytes of a command's output, as a terminal would show them: a line feed returns to the first column."""

    def __init__(self, recorder: TerminalRecorder, limit: int) -> None:
        self._recorder = recorder
        self._left = limit

    async def write(self, event: TerminalEvent) -> None:
        """Append output up to the limit, and marks."""
        if isinstance(event, Mark):
            await self._recorder.write(event)
        elif isinstance(event, Output) and self._left:
            data = event.data[: self._left]
            self._left -= len(data)
            await self._recorder.write(Output(data=data.replace(b"\n", b"\r\n"), stderr=event.stderr))
            if not self._left:
                await self._recorder.write(Mark(text="the output is recorded up to here"))

    async def finish(self) -> Recording:
        """Close the recording."""
        return await self._recorder.finish()


class _File:
    """The file of one recording; blocking, used by one thread at a time."""

    def __init__(self, directory: Path, path: Path, max_bytes: int) -> None:
        self.name = str(path)
        self._final = directory / path
        self._part = self._final.with_name(self._final.name + ".part")
        self._max_bytes = max_bytes
        self._fd = -1
        self.size = 0
        self._room = 0
        self._hash = hashlib.sha256()

    def create(self) -> None:
        """Make the day's directory and the file; it must not exist."""
        self._part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._part, flags, 0o600)
        self._set_room_aside()

    def has_room(self, length: int) -> bool:
        """Tell whether so many bytes more can be written whatever becomes of the disk's room."""
        return self.size + length <= min(self._room, self._max_bytes)

    def append(self, data: bytes) -> None:
        """Write all of ``data``."""
        if self.size + len(data) > self._max_bytes:
            raise OSError(f"larger than {self._max_bytes} bytes")
        self.size += len(data)
        self._hash.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        if self.size + LEAST_ROOM > self._room:
            self._set_room_aside()

    def _set_room_aside(self) -> None:
        if set_aside(self._fd, self.size, ROOM):
            self._room = self.size + ROOM

    def complete(self) -> Recording:
        """Sync and rename; a file that keeps ``.part`` was never completed."""
        os.ftruncate(self._fd, self.size)  # the rest of the room is others' again
        os.fsync(self._fd)
        self.close()
        os.rename(self._part, self._final)
        return Recording(path=self.name, sha256=self._hash.hexdigest(), size=self.size)

    def close(self) -> None:
        """Close the file, once."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def _check(session: str) -> None:
    if not _SESSION.fullmatch(session):
        raise RecordingUnavailable(f"not a session id: {session!r}")
