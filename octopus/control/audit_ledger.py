"""The next lines of the audit trail, each in its place in the chain, and when a checkpoint or another file is due. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from octopus.control.audit_lines import Trail, fields_of
from octopus.core.chain import CARRIED, CHECKPOINT, Link, rotated_name, seal
from octopus.core.types import AuditEvent

CARRIED_AT_ONCE = 100
"""Open sessions in one line of those that begin a file."""
_DAY = 86_400


class CheckpointSigner(Protocol):
    """Signs checkpoints; ``name`` is what they call its key by."""

    name: str

    def sign(self, message: bytes) -> bytes:
        """Return the signature."""
        ...


class Ledger:
    """Makes lines that follow on ``trail``, which takes them in once they are durable; until then they can be made again.

    ``checkpoint_lines`` is after how many lines a checkpoint stands. A file is finished with ``rotate_size`` bytes and, with
    ``rotate_daily``, when the day (UTC) of its first line is over.
    """

    def __init__(
        self, trail: Trail, *, signer: CheckpointSigner | None, checkpoint_lines: int, rotate_size: int, rotate_daily: bool
    ) -> None:
        self._trail = trail
        self._signer = signer
        self._checkpoint_lines = checkpoint_lines
        self._rotate_size = rotate_size
        self._rotate_daily = rotate_daily

    def lines(self, fields: Sequence[bytes], now: float) -> list[bytes]:
        """Return the lines with these fields, and a checkpoint after them when one is due."""
        link, lines = self._trail.link, []
        for one in fields:
            line, link = seal(link, one)
            lines.append(line)
        if self._trail.since_checkpoint + len(lines) >= self._checkpoint_lines:
            lines.append(self._checkpoint(link, "lines", now))
        return lines

    def checkpoint(self, reason: str, now: float) -> bytes:
        """Return a checkpoint; ``reason`` says why it stands there."""
        return self._checkpoint(self._trail.link, reason, now)

    def rotation_due(self, size: int, now: float) -> bool:
        """Tell whether the current file, of that many bytes, is to be finished."""
        over = self._rotate_daily and self._trail.began // _DAY != now // _DAY
        return bool(self._trail.first_seq) and (size >= self._rotate_size or over)

    def finished_name(self) -> str:
        """Return the name of the current file once it is finished."""
        return rotated_name(self._trail.began, self._trail.first_seq)

    def carried(self, now: float) -> list[bytes]:
        """Return the lines that begin a file: the sessions open, so that a start need not read the files before."""
        rest = iter(self._trail.open_sessions.values())
        parts = max(1, -(-len(self._trail.open_sessions) // CARRIED_AT_ONCE))
        link, lines = self._trail.link, []
        for left in reversed(range(parts)):
            data = {"open": list(islice(rest, CARRIED_AT_ONCE)), "parts_left": left}
            line, link = seal(link, fields_of(now, AuditEvent(event=CARRIED, key=f"carried/{link.seq + 1}", data=data)))
            lines.append(line)
        return lines

    def _checkpoint(self, after: Link, reason: str, now: float) -> bytes:
        signed_by = {"signed_by": self._signer.name} if self._signer else {}
        event = AuditEvent(event=CHECKPOINT, key=f"checkpoint/{after.seq + 1}", data={"reason": reason} | signed_by)
        return seal(after, fields_of(now, event), self._signer.sign if self._signer else None)[0]
