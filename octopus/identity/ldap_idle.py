"""Bound connections between two questions: a TLS handshake and a bind for each question would cost more than the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any


class IdleConnections:
    """Keeps up to ``capacity`` connections, unused for at most ``keep`` seconds; ``close_one`` ends one. Used by several threads."""

    def __init__(
        self, close_one: Callable[[Any], None], *, keep: float, capacity: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._close_one = close_one
        self._keep = keep
        self._capacity = capacity
        self._clock = clock
        self._idle: list[tuple[float, Any]] = []
        self._lock = threading.Lock()
        self._closed = False

    def take(self) -> Any:
        """Return the connection used last on which the server is silent, as it is while it serves; None when there is none."""
        while (taken := self._latest()) is not None:
            if taken.socket.silent:
                return taken
            self._close_one(taken)
        return None

    def give(self, connection: Any) -> None:
        """Keep a connection on which every question has its answer."""
        with self._lock:
            over = self._too_old()
            if self._closed or len(self._idle) >= self._capacity:
                over.append(connection)
            else:
                self._idle.append((self._clock(), connection))
        self._end(over)

    def close(self) -> None:
        """Close all, and whatever is given later."""
        with self._lock:
            self._closed = True
            over, self._idle = [connection for _, connection in self._idle], []
        self._end(over)

    def _latest(self) -> Any:
        with self._lock:
            over = self._too_old()
            latest = self._idle.pop()[1] if self._idle else None
        self._end(over)
        return latest

    def _too_old(self) -> list[Any]:
        oldest = self._clock() - self._keep
        over = [connection for since, connection in self._idle if since < oldest]
        self._idle = [one for one in self._idle if one[0] >= oldest]
        return over

    def _end(self, connections: list[Any]) -> None:
        for connection in connections:
            self._close_one(connection)
