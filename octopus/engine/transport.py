"""Byte streams to an engine, each able to close its sending side alone (engine-side: a command's end of input)."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol

from octopus.core.short_way import ShortWay, Take

CHUNK = 256 * 1024
"""Bytes read at a time, and held before no more is read."""
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 6}


class ByteStream(ShortWay, Protocol):
    """A connection in both directions. Every failure is an OSError."""

    async def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; b"" at the end of the stream."""
        ...

    async def write(self, data: bytes) -> None:
        """Send; waits while the peer's buffer is full."""
        ...

    async def write_eof(self) -> None:
        """End our side; the peer's goes on."""
        ...

    def close(self) -> None:
        """Drop the connection at once."""
        ...


class Pipe(asyncio.Protocol):
    """What came over a connection, in the pieces it came in, and whether there is room for what goes."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.room.set()
        self.lost = False
        self.offered: Take | None = None
        self._opened: Callable[[bytes], bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._ended = False
        self._failure: Exception | None = None
        self._reader: asyncio.Future[None] | None = None

    async def take(self, size: int) -> bytes:
        """Return the next piece, up to ``size`` bytes of it; b"" at the end. Raise what cut the connection."""
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return b""
            reader = self._reader = asyncio.get_running_loop().create_future()
            try:
                await reader
            finally:
                if self._reader is reader:
                    self._reader = None
        piece = self._pieces.popleft()
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
            piece = piece[:size]
        self._held -= len(piece)
        if self._paused and self._held < CHUNK and self._transport is not None and not self.lost:
            self._paused = False
            self._transport.resume_reading()
        return piece

    def through(self, opened: Callable[[bytes], bytes]) -> None:
        """Have what is held, and what comes from now on, pass through ``opened``, which may raise an OSError."""
        held, self._pieces, self._held, self._opened = self._pieces, deque(), 0, opened
        for piece in (b"", *held):
            self.data_received(piece)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; asyncio calls this and what follows."""
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=CHUNK)  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        """Take a piece; above ``CHUNK`` bytes held no more is read."""
        if self._opened is not None:
            try:
                data = self._opened(data)
            except OSError as error:
                return self._fail(error)
            if not data:
                return None
        if self.offered is not None and self._reader is not None and not self._reader.done() and self.offered(data):
            return None
        self._pieces.append(data)
        self._held += len(data)
        self._wake()
        if self._held > CHUNK and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        return None

    def eof_received(self) -> bool:
        """Note the end of what comes; our side stays open."""
        self._ended = True
        self._wake()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing comes or goes any more."""
        if not self._ended:
            self._failure = exc
        self.lost = self._ended = True
        self._wake()
        self.room.set()

    def pause_writing(self) -> None:
        """Note that the peer takes no more for now."""
        self.room.clear()

    def resume_writing(self) -> None:
        """Note that the peer takes more."""
        self.room.set()

    def _fail(self, error: OSError) -> None:
        self._failure, self._ended = error, True
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class PlainStream:
    """A unix or TCP connection as it is."""

    def __init__(self, transport: asyncio.Transport, pipe: Pipe) -> None:
        self._transport = transport
        self._pipe = pipe
        self.through = pipe.through
        self.ended = pipe.eof_received

    async def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; b"" at the end of the stream."""
        return await self._pipe.take(size)

    async def write(self, data: bytes) -> None:
        """Send; waits while the peer's buffer is full."""
        self._check()
        self._transport.write(data)
        await self._pipe.room.wait()
        if self._pipe.lost:
            raise ConnectionResetError("the connection is lost")

    @property
    def has_room(self) -> bool:
        """Whether what is written is sent without waiting."""
        return self._pipe.room.is_set() and not self._transport.is_closing()

    def write_now(self, data: bytes) -> bool:
        """Send what need not wait."""
        if not self.has_room:
            return False
        self._transport.write(data)
        return True

    def offer(self, take: Take) -> None:
        """Have what comes offered first."""
        self._pipe.offered = take

    async def write_eof(self) -> None:
        """Shut down the sending side."""
        self._check()
        self._transport.write_eof()

    def close(self) -> None:
        """Drop the connection, with what is not sent yet."""
        self._transport.abort()

    def _check(self) -> None:
        # uvloop's transports raise RuntimeError once they are closed, which a reset by the peer does.
        if self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")


async def connect_unix(path: str) -> PlainStream:
    """Connect to a unix socket, with room for a whole chunk on the way: the kernel's default has none for as much as one write."""
    transport, pipe = await asyncio.get_running_loop().create_unix_connection(Pipe, path)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
    return PlainStream(transport, pipe)


async def connect_tcp(host: str, port: int) -> PlainStream:
    """Connect over TCP; keepalives find a host that has vanished from under a silent session."""
    transport, pipe = await asyncio.get_running_loop().create_connection(Pipe, host, port)
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return PlainStream(transport, pipe)
