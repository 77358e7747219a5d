"""Short lines of a recording, gathered for a moment so that nobody who types waits for a disk.

They are on the record already: in memory that outlives this process, and the disk has room set aside for them.
"""

from __future__ import annotations

import asyncio

from octopus.session.cast_file import CastFile
from octopus.session.disk import Disk
from octopus.session.write_ahead import AheadSlot

GATHERED = 0.02
"""Seconds for which lines are gathered, and which the disk has for those before: a slower one is waited for."""


class Gathering:
    """One recording's lines on their way from ``slot`` to the ``disk``, on which they are appended to ``file``."""

    def __init__(self, slot: AheadSlot, file: CastFile, disk: Disk) -> None:
        self._slot = slot
        self._file = file
        self._disk = disk
        self._lines = b""  # what is in the slot, from the offset ``_at`` on
        self._at = 0
        self._handed = 0  # how many bytes of it are the disk's to write
        self._late = False
        self._timed = False

    def add(self, line: bytes) -> bool:
        """Have a line on the record, unless it has to wait for the disk: it is long, or the disk is slow or has failed."""
        if self._disk.idle:
            self._settle()
        elif self._late or not self._handed or self._disk.failed:
            return False
        lines = self._lines + line
        if not self._file.has_room(self._at + len(lines)) or not self._slot.keep(self._at, lines):
            return False
        self._lines = lines
        self._time()
        return True

    def take(self) -> bytes:
        """Return the lines that the disk was not given yet: to be written before any other."""
        lines, self._lines, self._handed = self._lines[self._handed :], b"", 0
        return lines

    def close(self) -> None:
        """Give back the slot, once the recording is closed."""
        self._slot.release()

    def _settle(self) -> None:
        """Note that the disk has all it was given."""
        self._lines, self._handed, self._late = self._lines[self._handed :], 0, False
        self._at = self._file.size

    def _time(self) -> None:
        if not self._timed:
            self._timed = True
            asyncio.get_running_loop().call_later(GATHERED, self._hand_over)

    def _hand_over(self) -> None:
        self._timed = False
        if self._disk.idle:
            self._settle()
            if self._lines:
                self._handed = len(self._lines)
                self._disk.later(self._file.append, self._lines)
        elif self._handed < len(self._lines) and not self._disk.failed:
            self._late = True
            self._time()
