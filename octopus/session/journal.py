"""Events on their way to the control plane, for it to find should this worker be killed meanwhile.

Two files that take turns, in the runtime directory: what a process has written there is there when the process is not. Each is
emptied once all its events are durable on the trail. One event a line, as in a spool (see ``spool``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from octopus.core.errors import AuditUnavailable
from octopus.core.types import AuditEvent


class Journal:
    """The two files (0600) at ``paths``; the other one's turn begins at ``most`` bytes. Blocking, but not on a disk."""

    def __init__(self, paths: Sequence[Path], most: int = 1 << 20) -> None:
        self._most = most
        self._files = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600) for path in paths]
        self._sizes = [0 for _ in self._files]
        self._waiting = [0 for _ in self._files]
        self._turn = 0

    def add(self, event: AuditEvent) -> int:
        """Write an event down; return whose turn it was, for ``settled``. Raise AuditUnavailable."""
        other = (self._turn + 1) % len(self._files)
        if self._sizes[self._turn] >= self._most and not self._waiting[other]:
            self._turn = other
        line = msgspec.json.encode(event) + b"\n"
        try:
            written = os.write(self._files[self._turn], line)
        except OSError as error:
            raise AuditUnavailable(f"the journal of events cannot be written: {error}") from error
        if written < len(line):
            os.ftruncate(self._files[self._turn], self._sizes[self._turn])
            raise AuditUnavailable("the journal of events has no room for a whole line")
        self._sizes[self._turn] += len(line)
        self._waiting[self._turn] += 1
        return self._turn

    def settled(self, turn: int) -> None:
        """Note that one event is durable, or that the one who wrote it knows it is not."""
        self._waiting[turn] -= 1
        if not self._waiting[turn]:
            os.ftruncate(self._files[turn], 0)
            self._sizes[turn] = 0

    def close(self) -> None:
        """Close the files, once."""
        while self._files:
            os.close(self._files.pop())
