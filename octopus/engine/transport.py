"""Byte streams to an engine, each able to close its sending side alone (engine-side: a command's end of input)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Protocol

CHUNK = 64 * 1024
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


class PlainStream:
    """A unix or TCP connection as it is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; b"" at the end of the stream."""
        return await self._reader.read(size)

    async def write(self, data: bytes) -> None:
        """Send; waits while the peer's buffer is full."""
        self._check()
        self._writer.write(data)
        await self._writer.drain()

    async def write_eof(self) -> None:
        """Shut down the sending side."""
        self._check()
        self._writer.write_eof()

    def close(self) -> None:
        """Drop the connection, with what is not sent yet."""
        self._writer.transport.abort()

    def _check(self) -> None:
        # uvloop's transports raise RuntimeError once they are closed, which a reset by the peer does.
        if self._writer.transport.is_closing():
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
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()

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
    """Connect to a unix socket."""
    return PlainStream(*await asyncio.open_unix_connection(path, limit=CHUNK))


async def connect_tcp(host: str, port: int) -> PlainStream:
    """Connect over TCP; keepalives find a host that has vanished from under a silent session."""
    reader, writer = await asyncio.open_connection(host, port, limit=CHUNK)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return PlainStream(reader, writer)


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
