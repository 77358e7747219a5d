"""The client's side of one forwarded connection: what it sends, read as fast as it is used up; writes that wait."""

from __future__ import annotations

import asyncio
from collections import deque

import asyncssh

from octopus.core.errors import Disconnected
from octopus.session.ssh_connection import ForwardChannel, GatewayConnection
from octopus.session.ssh_stream import CHUNK, SshStream


class ForwardClient(SshStream[ForwardChannel], asyncssh.SSHTCPSession[bytes]):
    """A direct-tcpip channel (RFC 4254 7.2); ``made`` is set once the client was told that it is open.

    Input waits here up to the channel's window.
    """

    def __init__(self, connection: GatewayConnection) -> None:
        super().__init__(connection)
        self.made = asyncio.Event()
        self._input: deque[bytearray] = deque()
        self._ended = False

    async def read(self) -> bytes:
        """Return what the client sent, b"" at its end of input. Raise Disconnected when it is gone."""
        while not self._input:
            if self.gone.is_set():
                raise Disconnected("the client closed it")
            if self._ended:
                return b""
            await self._next()
        data = self._input.popleft()
        self._used(len(data))
        return bytes(data)

    def write_eof(self) -> None:
        """End our side, once all is sent; the client's goes on."""
        self._open().write_eof()

    def close(self) -> None:
        """Close, once all is sent."""
        if self._chan and not self.gone.is_set():
            self._chan.close()

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        """Keep the channel; asyncssh calls this and what follows, and only now may anything be sent."""
        if not isinstance(chan, ForwardChannel):
            raise TypeError("a forwarded connection's channel is a ForwardChannel")
        self._chan = chan
        self.made.set()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take input; small pieces in a row are put together, for fewer and larger writes."""
        if self._input and len(self._input[-1]) < CHUNK:
            self._input[-1] += data
        else:
            self._input.append(bytearray(data))
        self._wake()

    def eof_received(self) -> bool:
        """Note the end of input; the other direction stays open."""
        self._ended = True
        self._wake()
        return True
