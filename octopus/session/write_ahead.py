"""Lines of recordings kept in memory that outlives this process, so that they may be shown before the disk has them.

The file is in the runtime directory (see ``core.write_ahead``): should this worker be killed meanwhile, the supervisor puts what
is missing into the recording. Writing there takes a few microseconds, a step of the disk's thread a hundred.
"""

from __future__ import annotations

import os
from pathlib import Path

from octopus.core.write_ahead import SLOT, pack


class WriteAhead:
    """The worker's file (0600) at ``path``, which must not exist."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._free: list[int] = []
        self._slots = 0

    def slot(self, session: str) -> AheadSlot:
        """Return a slot for the session's recording, for its time."""
        if not self._free:
            self._free.append(self._slots)
            self._slots += 1
        return AheadSlot(self, self._free.pop(), session)

    def write(self, number: int, data: bytes) -> bool:
        """Write at the beginning of a slot; tell whether all of it is there."""
        try:
            return os.pwrite(self._fd, data, number * SLOT) == len(data)
        except OSError:  # no room: the caller waits for the disk as before
            return False

    def release(self, number: int) -> None:
        """Let another recording have a slot."""
        self._free.append(number)

    def close(self) -> None:
        """Close the file, once; who removes it is the supervisor."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class AheadSlot:
    """One recording's place in it."""

    def __init__(self, file: WriteAhead, number: int, session: str) -> None:
        self._file = file
        self._number = number
        self._session = session

    def keep(self, at: int, lines: bytes) -> bool:
        """Keep lines in place of those before, which are on the disk or among them; tell whether they are kept. ``at`` is their offset."""
        packed = pack(self._session, at, lines)
        return bool(packed) and self._file.write(self._number, packed)

    def release(self) -> None:
        """Give it back, once the recording is closed."""
        self._file.release(self._number)
