"""TLS connections that go on from the one before, and when they must not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from octopus.core.types import EngineAddress
from octopus.demo.certificates import Authority
from octopus.engine.endpoint import tls_context
from octopus.engine.tls_sessions import RENEWED, resume
from octopus.engine.tls_stream import connect_tls

HOST = "127.0.0.1"


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


@asynccontextmanager
async def server(authority: Authority, version: ssl.TLSVersion, host: str = HOST, port: int = 0) -> AsyncIterator[int]:
    """Serve at a port: each connection, whose client must have a certificate, is told ``resumed`` or ``new``."""
    files = authority.issue(f"resuming-{host}", hosts=[host])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(files.cert, files.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"resumed" if writer.get_extra_info("ssl_object").session_reused else b"new")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(tell, HOST, port, ssl=context, reuse_address=True) as serving:
        yield serving.sockets[0].getsockname()[1]


def client(authority: Authority, clock: Clock) -> ssl.SSLContext:
    """Return a client's context that resumes."""
    files = authority.issue("resuming-client", hosts=[])
    context = tls_context(EngineAddress(url="", tls_ca=str(authority.ca), tls_cert=str(files.cert), tls_key=str(files.key)))
    resume(context, clock)
    return context


async def told(port: int, context: ssl.SSLContext) -> str:
    """Return what the server says of a connection."""
    async with asyncio.timeout(30):
        stream = await connect_tls(HOST, port, context)
        try:
            said = b""
            while data := await stream.read(100):
                said += data
            return said.decode()
        finally:
            stream.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_next_connection_goes_on_from_the_last(tls_authority: Authority, version: ssl.TLSVersion) -> None:
    """Neither side proves itself again, however often, until it is time to look at certificates anew."""
    clock = Clock()
    context = client(tls_authority, clock)
    async with server(tls_authority, version) as port:
        assert [await told(port, context) for _ in range(3)] == ["new", "resumed", "resumed"]
        clock.now += RENEWED
        assert [await told(port, context) for _ in range(2)] == ["new", "resumed"]


async def test_a_server_that_has_forgotten_begins_anew(tls_authority: Authority) -> None:
    """An engine that was started again is reached as before."""
    context = client(tls_authority, Clock())
    async with server(tls_authority, ssl.TLSVersion.TLSv1_3) as port:
        assert [await told(port, context) for _ in range(2)] == ["new", "resumed"]
    async with server(tls_authority, ssl.TLSVersion.TLSv1_3, port=port) as port:
        assert [await told(port, context) for _ in range(2)] == ["new", "resumed"]


async def test_a_server_in_its_place_is_not_believed(tls_authority: Authority) -> None:
    """Who takes the engine's port, with a certificate for another name, gets no farther for the connections before."""
    context = client(tls_authority, Clock())
    async with server(tls_authority, ssl.TLSVersion.TLSv1_3) as port:
        assert await told(port, context) == "new"
    async with server(tls_authority, ssl.TLSVersion.TLSv1_3, host="impostor.example", port=port) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await told(port, context)


async def test_a_connection_without_an_answer_leaves_nothing_to_go_on_from(tls_authority: Authority) -> None:
    """The ticket comes after the handshake: where it was not read the next one begins anew, and nothing fails."""
    context = client(tls_authority, Clock())
    async with server(tls_authority, ssl.TLSVersion.TLSv1_3) as port:
        (await connect_tls(HOST, port, context)).close()
        assert await told(port, context) == "new"
        assert await told(port, context) == "resumed"
