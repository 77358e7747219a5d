"""The form of a line of ``audit.jsonl``, and what the lines together tell: where the trail ends and which sessions are open."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from octopus.core.types import TERMINAL_EVENTS, AuditEvent, Value

MAX_KEYS = 50_000
"""Keys remembered against writing an event twice: retries come within minutes, not days."""

_OWN_FIELDS = frozenset({"seq", "time", "event", "session", "login", "client", "target", "key", "prev", "hash"})


class OpenSession(Value, frozen=True, kw_only=True):
    """A session that was requested and has no terminal event: all the trail alone knows of it."""

    session: str
    login: str
    client: str
    target: dict[str, str]
    worker: str


class Trail:
    """What is known of the lines so far: the last ``seq``, the latest keys, the open sessions, and how many could not be read."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self.seq = 0
        self.unreadable = 0
        self.open_sessions: dict[str, OpenSession] = {}
        self._keys: OrderedDict[str, None] = OrderedDict()
        self._max_keys = max_keys

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def read(self, lines: Iterable[bytes]) -> None:
        """Take in lines of the file, oldest first; one that cannot be read is counted and passed over."""
        for line in lines:
            try:
                self.take(_LINE.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.unreadable += 1

    def take(self, line: _Line) -> None:
        """Take in one line that is on the file."""
        self.seq = max(self.seq, line.seq)
        self._keys[line.key] = None
        if len(self._keys) > self._max_keys:
            self._keys.popitem(last=False)
        if line.event == "session.requested":
            self.open_sessions[line.session] = OpenSession(
                session=line.session, login=line.login, client=line.client, target=line.target, worker=line.worker
            )
        elif line.event in TERMINAL_EVENTS:
            self.open_sessions.pop(line.session, None)


class _Line(msgspec.Struct, frozen=True):
    seq: int
    event: str
    key: str
    session: str = ""
    login: str = ""
    client: str = ""
    target: dict[str, str] = {}
    worker: str = ""


_LINE = msgspec.json.Decoder(_Line)


def to_line(seq: int, time: float, event: AuditEvent) -> bytes:
    """Return the line, newline and all; ``time`` in seconds since 1970. Raise ValueError for what cannot be a line.

    What the event adds stands beside the common fields. JSON escapes every control character, so an event is one line.
    """
    if not event.once or not _OWN_FIELDS.isdisjoint(event.data):
        raise ValueError(f"{event.event} needs a key and no field of the trail's own: {sorted(event.data)}")
    fields: dict[str, Any] = {
        "seq": seq,
        "time": datetime.fromtimestamp(time, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "event": event.event,
        "session": event.session,
        "login": event.login,
        "client": event.client,
        "target": event.target,
        **event.data,
        "key": event.once,
    }
    # A chain over the lines would add its ``prev`` and ``hash`` here, as the last two fields.
    return msgspec.json.encode(fields) + b"\n"


def read_line(line: bytes) -> _Line:
    """Return what the trail remembers of a line made by ``to_line``."""
    return _LINE.decode(line)
