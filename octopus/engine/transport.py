"""Byte streams to an engine, each able to close its sending side alone (engine-side: a command's end of input)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from typing import Protocol

CHUNK = 256 * 1024
"""Bytes read at a time, and held before no more is read."""
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 6}


class ByteStream(Protocol):
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
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._ended = False
        self._failure: Exception | None = None
        self._arrived = asyncio.Event()

    async def take(self, size: int) -> bytes:
        """Return the next piece, up to ``size`` bytes of it; b"" at the end. Raise what cut the connection."""
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        piece = self._pieces.popleft()
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
            piece = piece[:size]
        self._held -= len(piece)
        if self._paused and self._held < CHUNK and self._transport is not None and not self.lost:
            self._paused = False
            self._transport.resume_reading()
        return piece

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; asyncio calls this and what follows."""
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=CHUNK)  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        """Take a piece; above ``CHUNK`` bytes held no more is read."""
        self._pieces.append(data)
        self._held += len(data)
        self._arrived.set()
        if self._held > CHUNK and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Note the end of what comes; our side stays open."""
        self._ended = True
        self._arrived.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing comes or goes any more."""
        self.lost = self._ended = True
        self._failure = exc
        self._arrived.set()
        self.room.set()

    def pause_writing(self) -> None:
        """Note that the peer takes no more for now."""
        self.room.clear()

    def resume_writing(self) -> None:
        """Note that the peer takes more."""
        self.room.set()


class PlainStream:
    """A unix or TCP connection as it is."""

    def __init__(self, transport: asyncio.Transport, pipe: Pipe) -> None:
        self._transport = transport
        self._pipe = pipe

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


class TlsStream:
    """TLS over a plain stream, with the half-close that asyncio's own TLS transport lacks.

    close_notify (RFC 8446 6.1) ends one direction only: ours is queued and flushed, and reading goes on.
    """

    def __init__(self, plain: ByteStream, context: ssl.SSLContext, host: str) -> None:
        self._plain = plain
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._over = False

    async def handshake(self) -> None:
        """Shake hands and verify the peer's certificate and name. Raise ssl.SSLError."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            else:
                return await self._flush()

    async def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; b"" after the peer's close_notify, ssl.SSLEOFError when it is missing."""
        while not (data := self._decrypted(size)):
            if self._over:
                return b""
            await self._flush()
            await self._receive()
        return data

    async def write(self, data: bytes) -> None:
        """Encrypt and send; waits while the peer's buffer is full."""
        if data:
            self._tls.write(data)
            await self._flush()

    async def write_eof(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        await self._flush()

    def close(self) -> None:
        """Drop the connection at once."""
        self._plain.close()

    def _decrypted(self, size: int) -> bytes:
        """Return what has come in, up to ``size`` bytes: a record holds 16 KiB, and each piece costs whoever takes it as much."""
        pieces: list[bytes] = []
        try:
            while size > 0 and not self._over:
                piece = self._tls.read(size)
                self._over = not piece  # close_notify came; when ours has gone before, that is raised instead
                pieces.append(piece)
                size -= len(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._over = True
        return b"".join(pieces) if len(pieces) != 1 else pieces[0]

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._plain.write(self._outgoing.read())

    async def _receive(self) -> None:
        data = await self._plain.read(CHUNK)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


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


async def connect_tls(host: str, port: int, context: ssl.SSLContext) -> TlsStream:
    """Connect over TLS; the peer's certificate must be valid for ``host``."""
    plain = await connect_tcp(host, port)
    stream = TlsStream(plain, context, host)
    try:
        await stream.handshake()
    except BaseException:
        stream.close()
        raise
    return stream
