"""Recordings of terminals: on the record before the person sees what they hold, or the session ends.

A line is on the record once the operating system has it. Short ones are so a little sooner (see ``gathering``).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from octopus.core.asciicast import Asciicast, TerminalEvent
from octopus.core.errors import RecordingUnavailable
from octopus.core.types import Mark, Output, Pty, TermSize, Value
from octopus.session.cast_file import CastFile
from octopus.session.disk import Disk, DiskThreads
from octopus.session.file_copies import FileCopies
from octopus.session.gathering import Gathering
from octopus.session.write_ahead import WriteAhead

NO_TERMINAL = Pty(term="", size=TermSize(cols=80, rows=24))
"""Where a command has none, its recording is played on this."""
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

    def write_now(self, event: TerminalEvent) -> bool:
        """Have it on the record at once; False, and nothing kept, where that has to wait: ``write`` it."""
        ...

    async def finish(self) -> Recording | None:
        """Close it; None where nothing is recorded. Raise RecordingUnavailable when it could not be completed."""
        ...


class Unrecorded:
    """The recorder of sessions without a terminal: their bytes are only counted."""

    async def write(self, event: TerminalEvent) -> None:
        """Keep nothing."""

    def write_now(self, event: TerminalEvent) -> bool:
        """Keep nothing."""
        return True

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
        file = CastFile(self._directory, path, self._max_bytes)
        disk = Disk(file.name, self._threads, self._timeout)
        ahead = Gathering(self._ahead.slot(session), file, disk) if self._ahead else None
        recorder = TerminalRecorder(cast, file, disk, ahead, clock=self._clock, started=started)
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
        self, cast: Asciicast, file: CastFile, disk: Disk, ahead: Gathering | None, *, clock: Callable[[], float], started: float
    ) -> None:
        self._cast = cast
        self._file = file
        self._disk = disk
        self._ahead = ahead
        self._clock = clock
        self._started = started
        self._order = asyncio.Lock()

    async def start(self) -> None:
        """Create the file and write the header."""
        async with self._order:
            await self._disk.run(self._file.create)
            await self._disk.run(self._file.append, self._cast.header())

    async def write(self, event: TerminalEvent) -> None:
        """Append the event; returns once it is on the record."""
        async with self._order:
            line = self._cast.encode(event, self._clock() - self._started)
            if line and not (self._ahead and self._ahead.add(line)):
                await self._append(line)

    def write_now(self, event: TerminalEvent) -> bool:
        """Append the event where no disk has to be waited for."""
        if self._ahead is None or self._order.locked():
            return False
        before = self._cast.state()
        line = self._cast.encode(event, self._clock() - self._started)
        if not line or self._ahead.add(line):
            return True
        self._cast.restore(before)
        return False

    async def finish(self) -> Recording:
        """Write what is left, sync, give the file its final name."""
        async with self._order:
            try:
                await self._append(self._cast.finish(self._clock() - self._started))
                sha256, size = await self._disk.run(self._file.complete)
                return Recording(path=self._file.name, sha256=sha256, size=size)
            except RecordingUnavailable:
                self._disk.give_up(self._file.close)
                raise
            finally:
                if self._ahead:
                    self._ahead.close()
                    self._ahead = None

    async def _append(self, line: bytes) -> None:
        # Who is cancelled while he waits must not take lines along that were shown: they are taken once there is no more to wait for.
        await self._disk.settled()
        await self._disk.run(self._file.append, (self._ahead.take() if self._ahead else b"") + line)


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

    def write_now(self, event: TerminalEvent) -> bool:
        """Append nothing: this is of commands, at which nobody types."""
        return False

    async def finish(self) -> Recording:
        """Close the recording."""
        return await self._recorder.finish()


def _check(session: str) -> None:
    if not _SESSION.fullmatch(session):
        raise RecordingUnavailable(f"not a session id: {session!r}")
