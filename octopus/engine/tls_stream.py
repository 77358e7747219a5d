"""TLS to an engine, with the half-close that asyncio's own TLS transport lacks."""

from __future__ import annotations

import contextlib
import ssl

from octopus.engine.transport import CHUNK, PlainStream, connect_tcp


class TlsStream:
    """TLS over a plain stream.

    close_notify (RFC 8446 6.1) ends one direction only: ours is queued and flushed, and reading goes on.
    """

    def __init__(self, plain: PlainStream, context: ssl.SSLContext, host: str) -> None:
        self._plain = plain
        self.offer = plain.offer
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
                await self._flush()
                return self._plain.through(self._opened)

    async def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; b"" after the peer's close_notify, ssl.SSLEOFError when it is missing."""
        data = await self._plain.read(size)
        if not data and not self._over:
            raise ssl.SSLEOFError("the connection was cut: no close_notify came")
        return data

    async def write(self, data: bytes) -> None:
        """Encrypt and send; waits while the peer's buffer is full."""
        if data:
            self._tls.write(data)
            await self._flush()

    def write_now(self, data: bytes) -> bool:
        """Encrypt and send what need not wait."""
        if not self._plain.has_room:
            return False
        self._tls.write(data)
        return self._plain.write_now(self._outgoing.read())

    async def write_eof(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        await self._flush()

    def close(self) -> None:
        """Drop the connection at once."""
        self._plain.close()

    def _opened(self, data: bytes) -> bytes:
        """Return what is in records that came: in one piece, each costs whoever takes it as much. Raise ssl.SSLError."""
        if self._over:
            return b""
        self._incoming.write(data)
        opened = self._decrypted()
        if self._outgoing.pending:  # an answer to what the peer asks of TLS itself
            self._plain.write_now(self._outgoing.read())
        if self._over:
            self._plain.ended()
        return opened

    def _decrypted(self) -> bytes:
        pieces: list[bytes] = []
        try:
            while not self._over:
                piece = self._tls.read(CHUNK)
                self._over = not piece  # close_notify came; when ours has gone before, that is raised instead
                pieces.append(piece)
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
