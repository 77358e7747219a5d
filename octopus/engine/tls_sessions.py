"""TLS connections that go on from the one before (RFC 8446 2.2): both sides save their signatures, 4 ms each by a key of RSA 4096."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable

RENEWED = 600.0
"""Seconds after which certificates are shown and verified anew: they expire, and are renewed on disk."""


class _Sessions:
    """What the connections of one context leave for the next."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._verified = 0.0
        self._last: ssl.SSLObject | None = None
        self._known: ssl.SSLSession | None = None

    def session(self) -> ssl.SSLSession | None:
        """Return what to go on from, None to begin anew. A ticket comes with the first answer: the last connection may have none yet."""
        if self._clock() - self._verified >= RENEWED:
            self._last = self._known = None
        elif self._last is not None and (fresh := self._last.session) is not None and fresh.has_ticket:
            self._known = fresh
        return self._known

    def keep(self, connection: ssl.SSLObject) -> None:
        """Remember a connection whose handshake is done."""
        if not connection.session_reused:
            self._verified, self._known = self._clock(), None
        self._last = connection


def resume(context: ssl.SSLContext, clock: Callable[[], float] = time.monotonic) -> None:
    """Have the connections of a client's context, all of which are to one server, go on from each other. ``clock`` gives seconds."""
    sessions = _Sessions(clock)

    class Resuming(ssl.SSLObject):
        """A connection; who the other side is was verified for it, or for the one it goes on from."""

        _begun = False

        def do_handshake(self) -> None:
            """Shake hands, as far as the other side has answered."""
            if not self._begun:
                self._begun = True
                if known := sessions.session():
                    self.session = known
            super().do_handshake()
            sessions.keep(self)

    context.sslobject_class = Resuming
