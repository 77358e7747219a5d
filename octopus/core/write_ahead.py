"""Lines of recordings that may be shown before the disk has them: how they are kept for who comes after a killed worker.

A file of slots of ``SLOT`` bytes, one for each recording that is open. In each are the latest such lines, behind a line that says whose
they are, where they belong and how many bytes they have; what stands behind them is left from earlier ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from octopus.core.types import Value

SLOT = 4096
"""Bytes of a slot: a page, so that a process that is killed leaves all of what it wrote there or nothing."""
_HEAD = re.compile(rb"([A-Za-z0-9-]{1,64}) ([0-9]{1,19}) ([0-9]{1,4})\n")


class AheadLines(Value, frozen=True, kw_only=True):
    """Lines (newlines included) that belong at the offset ``at`` (bytes) of a recording."""

    at: int
    lines: bytes

    def missing(self, size: int) -> bytes:
        """Return what to write at ``at`` into a recording of ``size`` bytes so that it has the lines, ``b""`` if it has them."""
        return self.lines if self.at <= size < self.at + len(self.lines) else b""


def pack(session: str, at: int, lines: bytes) -> bytes:
    """Return what to write at the beginning of the session's slot, ``b""`` for what is too long for one."""
    packed = b"%b %d %d\n%b" % (session.encode(), at, len(lines), lines)
    return packed if len(packed) <= SLOT else b""


def unpack(slots: bytes) -> Mapping[str, AheadLines]:
    """Return the lines in a file of slots by their sessions; what is not whole never let anything be shown."""
    known = {}
    for start in range(0, len(slots), SLOT):
        slot = slots[start : start + SLOT]
        if head := _HEAD.match(slot):
            lines = slot[head.end() : head.end() + int(head[3])]
            if len(lines) == int(head[3]) and lines.endswith(b"\n"):
                known[head[1].decode()] = AheadLines(at=int(head[2]), lines=lines)
    return known
