"""The sessions of the trail that are over, a page at a time from the latest on. Blocking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from octopus.control.session_history import LINE, Line, PastSession, begun, told_more
from octopus.control.trail_pages import MAX_BYTES, from_end
from octopus.core.types import TERMINAL_EVENTS

MAX_LOOK_BACK = 64 << 20
"""Bytes that are looked through for the beginnings of the sessions on a page: one may have begun long before it ended."""
_ENDS = tuple(f'"event":"{name}"'.encode() for name in TERMINAL_EVENTS)
_BEGINNINGS = (b'"event":"session.requested"', b'"event":"exec"')


@dataclass(frozen=True, kw_only=True)
class SessionsPage:
    """Sessions by their end, the latest first; ``before`` asks for the next page, 0 when there is nothing older."""

    sessions: tuple[PastSession, ...]
    before: int


def past_sessions(
    directory: Path,
    fits: Callable[[PastSession], bool],
    *,
    before: int = 0,
    limit: int = 100,
    max_bytes: int = MAX_BYTES,
    hint: bytes = b"",
) -> SessionsPage:
    """Return at most ``limit`` sessions whose end lies before that ``seq`` and that fit. Raise AuditUnavailable.

    ``fits`` is asked before a session's kind and command are known; they stay "" where the beginning lies too far back. ``hint`` (in
    lower case) stands in every line that can fit, in any case; lines without it are not even read.
    """
    found: dict[str, PastSession] = {}
    looked = after = next_page = 0
    waiting: set[str] = set()
    for seq, raw in from_end(directory, before):
        looked += len(raw)
        if not next_page and any(end in raw for end in _ENDS):
            one = _ended(raw) if not hint or hint in raw.lower() else None
            if one is not None and fits(one):
                found[one.session] = one
                if not one.kind:  # what never began tells all of it in one line
                    waiting.add(one.session)
                next_page = seq if len(found) >= limit else 0
        elif waiting and any(name in raw for name in _BEGINNINGS):
            _learn(raw, found, waiting)
        if not next_page and looked > max_bytes:
            next_page = seq
        if next_page:
            after += len(raw)
            if not waiting or after > MAX_LOOK_BACK:
                break
    return SessionsPage(sessions=tuple(found.values()), before=next_page if next_page > 1 else 0)


def _ended(raw: bytes) -> PastSession | None:
    line = _decoded(raw)
    if line is None or line.event not in TERMINAL_EVENTS:
        return None
    return told_more(begun(line, began=_earlier(line.time, line.seconds)), line)


def _learn(raw: bytes, found: dict[str, PastSession], waiting: set[str]) -> None:
    line = _decoded(raw)
    if line is None or line.session not in waiting:
        return
    known = found[line.session]
    if line.event == "exec":
        found[line.session] = msgspec.structs.replace(known, command=line.command)
        return
    waiting.discard(line.session)
    found[line.session] = msgspec.structs.replace(known, kind=line.kind, command=known.command or line.command, began=line.time)


def _decoded(raw: bytes) -> Line | None:
    try:
        return LINE.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _earlier(time: str, seconds: float) -> str:
    try:
        began = datetime.fromisoformat(time) - timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return time
    return began.isoformat(timespec="microseconds").replace("+00:00", "Z")
