"""Clients that do not come to the end of a request: how long they are waited for. uvicorn alone would wait for ever."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIME = 30.0
"""Seconds for a request's line and headers, from the connection or the first byte on."""


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection on which the head of a request takes longer than ``head_time`` seconds."""

    head_time = HEAD_TIME
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait(for_head=True)

    def data_received(self, data: bytes) -> None:
        """Wait on while a head has begun and not ended."""
        super().data_received(data)
        self._wait(for_head=self.conn.their_state is h11.IDLE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait(for_head=False)
        super().connection_lost(exc)

    def _wait(self, *, for_head: bool) -> None:
        if for_head and self._waiting is None:
            self._waiting = self.loop.call_later(self.head_time, self.transport.abort)
        elif not for_head and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def protocol(head_time: float) -> type[ImpatientProtocol]:
    """Return the protocol with that much patience."""
    return type("Protocol", (ImpatientProtocol,), {"head_time": head_time})
