"""Copies of the files that pass, where a rule keeps them: each byte is in its copy before it goes on, or the session ends."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from octopus.core.errors import RecordingUnavailable
from octopus.session.disk import Disk, DiskThreads

_BLOCK = 1 << 20
_STEP = 32 << 20
"""Bytes that are synced, or hashed, at once: each step has to end within the disk's time."""


class FileCopies:
    """The copies of one session's files: ``YYYY/MM/DD/SESSION.N.copy`` (0600, ``.copy.part`` until complete) below ``directory``.

    Files up to ``limit`` bytes have one, none where it is 0; ``clock`` gives seconds since 1970.
    """

    def __init__(
        self, directory: Path, session: str, limit: int, *, clock: Callable[[], float], threads: DiskThreads, timeout: float
    ) -> None:
        self._directory = directory
        self._session = session
        self._limit = limit
        self._clock = clock
        self._disk = Disk(f"of a file in {session}", threads, timeout)
        self._turn = asyncio.Lock()
        self._last = 0

    def open(self, *, append: bool = False) -> FileCopy | None:
        """Return the copy of a file that is opened, None where none is kept. With ``append`` what comes goes to its end."""
        if not self._limit:
            return None
        self._last += 1
        day = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y/%m/%d")
        file = _File(self._directory, Path(day) / f"{self._session}.{self._last}.copy")
        return FileCopy(file, self._limit, self._disk, self._turn, append=append)


class FileCopy:
    """What passes of one file, at its place in it; nothing once that would be more than ``limit`` bytes."""

    def __init__(self, file: _File, limit: int, disk: Disk, turn: asyncio.Lock, *, append: bool) -> None:
        self._file = file
        self._limit = limit
        self._disk = disk
        self._turn = turn
        self._append = append
        self._size = 0
        self._over = False
        self._told: dict[str, Any] | None = None

    async def put(self, offset: int, data: bytes) -> None:
        """Return once the operating system has it. Raise RecordingUnavailable."""
        async with self._turn:
            if not data or self._over:
                return
            offset = self._size if self._append else offset
            if await self._fits(offset + len(data)):
                await self._disk.run(self._file.write, offset, data)
                self._size = max(self._size, offset + len(data))

    async def cut(self, size: int) -> None:
        """Take note that the file was given this size. Raise RecordingUnavailable."""
        async with self._turn:
            if self._file.begun and not self._over and await self._fits(size):
                await self._disk.run(self._file.truncate, size)
                self._size = size

    async def finish(self) -> dict[str, Any]:
        """Give it its name once it is durable; return what the trail says of it, again and again. Raise RecordingUnavailable."""
        async with self._turn:
            if self._told is None:
                self._told = await self._complete()
            if self._disk.failure and self._told:
                raise RecordingUnavailable(self._disk.failure)
            return self._told

    async def settle(self) -> dict[str, Any]:
        """Do the same, without raising: the trail is told why there is none."""
        with suppress(RecordingUnavailable):
            await self.finish()
        return self._told or {}

    async def _complete(self) -> dict[str, Any]:
        if self._over:
            return {"not_kept": f"more than {self._limit} bytes"}
        if not (self._file.begun or self._disk.failure):
            return {}
        try:
            await self._disk.run(self._file.sync)
            while await self._disk.run(self._file.read_on):
                pass
            return {"recordings": [await self._disk.run(self._file.complete)]}
        except RecordingUnavailable as error:
            self._disk.give_up(self._file.close)
            return {"not_kept": str(error)}

    async def _fits(self, size: int) -> bool:
        self._over = size > self._limit
        if self._over and self._file.begun:
            await self._disk.run(self._file.drop)
        return not self._over


class _File:
    """The file of one copy; blocking, used by one thread at a time."""

    def __init__(self, directory: Path, path: Path) -> None:
        self._path = path
        self._final = directory / path
        self._part = self._final.with_name(self._final.name + ".part")
        self._fd = -1
        self._unsynced = 0
        self._hash = hashlib.sha256()
        self._hashed = 0

    @property
    def begun(self) -> bool:
        """Whether it is there."""
        return self._fd >= 0

    def write(self, offset: int, data: bytes) -> None:
        """Write all of ``data``, into a new file at first."""
        if self._fd < 0:
            self._part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        rest = memoryview(data)
        while rest:
            done = os.pwrite(self._fd, rest, offset)
            rest, offset = rest[done:], offset + done
        self._unsynced += len(data)
        if self._unsynced > _STEP:
            self.sync()

    def truncate(self, size: int) -> None:
        """Give it a size."""
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        """Make it durable."""
        os.fsync(self._fd)
        self._unsynced = 0

    def read_on(self) -> bool:
        """Hash a part of it, from the beginning on; False at its end."""
        step = self._hashed + _STEP
        while block := os.pread(self._fd, _BLOCK, self._hashed):
            self._hash.update(block)
            self._hashed += len(block)
            if self._hashed >= step:
                return True
        return False

    def complete(self) -> dict[str, Any]:
        """Give it its name; return path, SHA-256 (hex) and size as the trail has them."""
        os.rename(self._part, self._final)
        self.close()
        return {"path": str(self._path), "sha256": self._hash.hexdigest(), "size": self._hashed}

    def drop(self) -> None:
        """Remove it."""
        self.close()
        os.unlink(self._part)

    def close(self) -> None:
        """Close it, once."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
