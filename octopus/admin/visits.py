"""Who is logged in: a table in memory, of which a browser holds a signed mark. A restart logs everybody out."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256

import msgspec
from itsdangerous import BadSignature, Signer

from octopus.core.types import Identity, Value

MAX_VISITS = 10_000
"""People logged in at a time; the one longest unseen goes first."""


class Role(StrEnum):
    """What somebody may do here: look at what concerns them, or at everything and change it."""

    VIEWER = "viewer"
    OPERATOR = "operator"


class Visit(Value, frozen=True, kw_only=True):
    """One login. Times in seconds of the table's clock; ``checked`` is when the directory last vouched for the person."""

    id: str
    identity: Identity
    role: Role
    began: float
    seen: float
    checked: float


class Visits:
    """The table. ``key`` signs marks and tokens; ``idle`` and ``lifetime`` (seconds) end a visit, whichever comes first.

    ``clock`` is one that nobody sets: a visit must not last for longer because the machine's went back.
    """

    def __init__(
        self,
        *,
        key: bytes,
        new_id: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
        idle: float = 1800.0,
        lifetime: float = 12 * 3600.0,
        most: int = MAX_VISITS,
    ) -> None:
        self._marks = Signer(key, salt="octopus.visit", key_derivation="hmac", digest_method=sha256)
        self._tokens = Signer(key, salt="octopus.change", key_derivation="hmac", digest_method=sha256)
        self._clock = clock
        self._new_id = new_id
        self._idle = idle
        self._lifetime = lifetime
        self._most = most
        self._visits: OrderedDict[str, Visit] = OrderedDict()

    def begin(self, identity: Identity, role: Role) -> Visit:
        """Let somebody in."""
        now = self._clock()
        visit = Visit(id=self._new_id(), identity=identity, role=role, began=now, seen=now, checked=now)
        self._visits[visit.id] = visit
        while len(self._visits) > self._most:
            self._visits.popitem(last=False)
        return visit

    def mark(self, visit_id: str) -> str:
        """Return what the browser keeps."""
        return self._marks.sign(visit_id).decode()

    def token(self, visit_id: str) -> str:
        """Return what a change has to bring along, so that no other site can ask for it."""
        return self._tokens.get_signature(visit_id).decode()

    def fits(self, visit_id: str, token: str) -> bool:
        """Tell whether a change may be asked for with this token."""
        return bool(visit_id) and hmac.compare_digest(self.token(visit_id).encode(), token.encode("utf-8", "replace"))

    def marked(self, mark: str) -> str:
        """Return the id in a mark of ours, "" for any other text."""
        try:
            return self._marks.unsign(mark.encode("utf-8", "replace")).decode()
        except (BadSignature, UnicodeDecodeError):
            return ""

    def find(self, mark: str) -> Visit | None:
        """Return the visit that goes on, seen now; None when there is none, or it is over."""
        visit = self._visits.get(self.marked(mark))
        if visit is None:
            return None
        now = self._clock()
        if now - visit.seen > self._idle or now - visit.began > self._lifetime:
            self.end(visit.id)
            return None
        return self.keep(msgspec.structs.replace(visit, seen=now))

    def keep(self, visit: Visit) -> Visit:
        """Put a visit that goes on back, the latest seen last."""
        if visit.id in self._visits:
            self._visits[visit.id] = visit
            self._visits.move_to_end(visit.id)
        return visit

    def end(self, visit_id: str) -> None:
        """Log somebody out."""
        self._visits.pop(visit_id, None)
