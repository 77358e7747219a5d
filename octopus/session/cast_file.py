"""The file of one recording: ``.cast.part`` until it is complete, with room set aside for what comes next."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from octopus.session.disk_room import set_aside

ROOM = 32768
"""Bytes of a disk that an open recording has set aside, and what is left of them when it sets aside as many more."""
LEAST_ROOM = 8192


class CastFile:
    """One recording's file below ``directory``; blocking, used by one thread at a time. It may be read meanwhile how far it has come."""

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

    def has_room(self, size: int) -> bool:
        """Tell whether it can come to so many bytes, whatever becomes of the disk's room."""
        return size <= min(self._room, self._max_bytes)

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

    def complete(self) -> tuple[str, int]:
        """Sync and rename, return SHA-256 (hex) and size; a file that keeps ``.part`` was never completed."""
        os.fsync(self._fd)
        self.close()
        os.rename(self._part, self._final)
        return self._hash.hexdigest(), self.size

    def close(self) -> None:
        """Close the file, once, and leave the room it did not need to others."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.ftruncate(fd, os.fstat(fd).st_size)
            finally:
                os.close(fd)
