"""What stands in a line of ``audit.jsonl``, and what the lines together tell: where the trail ends and which sessions are open."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from octopus.core.chain import CARRIED, CHECKPOINT, Link
from octopus.core.times import rfc3339
from octopus.core.types import TERMINAL_EVENTS, AuditEvent, Value

MAX_KEYS = 50_000
"""Keys remembered against writing an event twice: retries come within minutes, not days."""

_OWN_FIELDS = frozenset({"seq", "prev", "time", "event", "session", "login", "client", "target", "key", "signature", "hash"})


class OpenSession(Value, frozen=True, kw_only=True):
    """A session that was requested and has no terminal event: all the trail alone knows of it."""

    session: str
    login: str
    client: str
    target: dict[str, str]
    worker: str


class Trail:
    """What is known of the lines so far: the last one's place, the last checkpoint, the latest keys, the open sessions, and how many
    could not be read.

    Of the current file it knows its first line (``first_seq``, 0 while it has none; ``began`` in seconds since 1970) and whether it
    still has to carry over what was open at the end of the file before (``carry``).
    """

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self.link = Link()
        self.unreadable = 0
        self.open_sessions: dict[str, OpenSession] = {}
        self.since_checkpoint = 0
        self.checkpoint = b""
        self.first_seq = 0
        self.began = 0.0
        self.carry = False
        self._keys: OrderedDict[str, None] = OrderedDict()
        self._max_keys = max_keys

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def begin_file(self, *, first: bool) -> None:
        """Begin the next file, or the very first one of the trail, which has nothing to carry over."""
        self.first_seq, self.began, self.carry = 0, 0.0, not first

    def read(self, lines: Iterable[bytes]) -> None:
        """Take in lines of the file, oldest first; one that cannot be read is counted and passed over."""
        for line in lines:
            try:
                self.take(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.unreadable += 1

    def take(self, raw: bytes) -> None:
        """Take in one line that is on the file. Raise DecodeError or UnicodeDecodeError when it is none."""
        line = _LINE.decode(raw)
        if line.seq > self.link.seq:
            self.link = Link(seq=line.seq, hash=line.hash)
        if not self.first_seq:
            self.first_seq, self.began = line.seq, _seconds(line.time)
        if line.event == CHECKPOINT:
            self.since_checkpoint, self.checkpoint = 0, raw
        else:
            self.since_checkpoint += 1
        self._keys[line.key] = None
        if len(self._keys) > self._max_keys:
            self._keys.popitem(last=False)
        self._follow_session(raw, line)

    def _follow_session(self, raw: bytes, line: _Line) -> None:
        if line.event == "session.requested":
            self.open_sessions[line.session] = OpenSession(
                session=line.session, login=line.login, client=line.client, target=line.target, worker=line.worker
            )
        elif line.event in TERMINAL_EVENTS:
            self.open_sessions.pop(line.session, None)
        elif line.event == CARRIED:
            carried = msgspec.json.decode(raw, type=_Carried)
            self.open_sessions.update((one.session, one) for one in carried.open)
            self.carry = self.carry and carried.parts_left > 0


class _Line(msgspec.Struct, frozen=True):
    seq: int
    event: str
    key: str
    hash: str = Link().hash
    time: str = ""
    session: str = ""
    login: str = ""
    client: str = ""
    target: dict[str, str] = {}
    worker: str = ""


class _Carried(msgspec.Struct, frozen=True):
    open: tuple[OpenSession, ...]
    parts_left: int


_LINE = msgspec.json.Decoder(_Line)


def fields_of(time: float, event: AuditEvent) -> bytes:
    """Return what a line holds beside its place in the chain, as JSON; ``time`` in seconds since 1970.

    What the event adds stands beside the common fields. JSON escapes every control character, so an event is one line.
    Raise ValueError for what cannot be a line.
    """
    if not event.once or not _OWN_FIELDS.isdisjoint(event.data):
        raise ValueError(f"{event.event} needs a key and no field of the trail's own: {sorted(event.data)}")
    fields: dict[str, Any] = {
        "time": rfc3339(time),
        "event": event.event,
        "session": event.session,
        "login": event.login,
        "client": event.client,
        "target": event.target,
        **event.data,
        "key": event.once,
    }
    return msgspec.json.encode(fields)


def _seconds(time: str) -> float:
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return 0.0
