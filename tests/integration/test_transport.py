"""TLS streams that close one side alone, under each version of TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from octopus.core.types import EngineAddress
from octopus.demo.certificates import Authority
from octopus.engine.endpoint import open_endpoint, tls_context
from octopus.engine.tls_stream import connect_tls
from octopus.engine.transport import ByteStream, connect_tcp
from tests.parts.tcp import listen
from tests.streams import Choosy, settled, until

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
Serve = Callable[[ssl.SSLSocket], None]


@asynccontextmanager
async def tls_server(authority: Authority, version: ssl.TLSVersion, serve: Serve, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Serve one connection in a thread; give the port. The certificate is for ``host``."""
    files = authority.issue(f"server-{host}", hosts=[host])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(files.cert, files.key)

    def accept() -> None:
        connection, _ = listener.accept()
        with connection, context.wrap_socket(connection, server_side=True) as secure:
            serve(secure)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:
        listener.settimeout(20)
        served = thread.submit(accept)
        yield listener.getsockname()[1]
        await asyncio.wrap_future(served)


def count(secure: ssl.SSLSocket) -> None:
    """Count what comes until the client's close_notify, then say how much it was."""
    total = 0
    while data := secure.recv(65536):
        total += len(data)
    secure.sendall(b"%d\n" % total)
    secure.unwrap()


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_answer_comes_after_our_side_is_closed(tls_authority: Authority, version: ssl.TLSVersion) -> None:
    """close_notify ends our direction only, on 1.2 and 1.3."""
    context = tls_context(EngineAddress(url="", tls_ca=str(tls_authority.ca)))
    async with tls_server(tls_authority, version, count) as port:
        stream = await connect_tls("127.0.0.1", port, context)
        await stream.write(os.urandom(3_000_000))
        await stream.write_eof()
        assert (await stream.read(100), await stream.read(100)) == (b"3000000\n", b"")
        stream.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_end_without_close_notify_is_a_cut(tls_authority: Authority, version: ssl.TLSVersion) -> None:
    """Truncation is an error, never an end."""

    def cut(secure: ssl.SSLSocket) -> None:
        secure.sendall(b"half")
        secure.recv(1)

    context = tls_context(EngineAddress(url="", tls_ca=str(tls_authority.ca)))
    async with tls_server(tls_authority, version, cut) as port:
        stream = await connect_tls("127.0.0.1", port, context)
        assert await stream.read(100) == b"half"
        await stream.write(b"x")
        with pytest.raises(ssl.SSLError):
            await stream.read(100)
        stream.close()


@asynccontextmanager
async def echoing(authority: Authority, version: ssl.TLSVersion | None) -> AsyncIterator[ByteStream]:
    """Give a connection to something that sends back what it gets, plain or by TLS."""

    def echo(secure: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError):  # a client that goes without a word
            while data := secure.recv(65536):
                secure.sendall(data)
            secure.unwrap()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    if version:
        async with tls_server(authority, version, echo) as port:
            secure = await connect_tls("127.0.0.1", port, tls_context(EngineAddress(url="", tls_ca=str(authority.ca))))
            yield secure
            secure.close()
    else:
        async with listen(plain) as listener:
            stream = await connect_tcp("127.0.0.1", listener.port)
            yield stream
            stream.close()


@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_what_is_not_taken_at_once_is_read(tls_authority: Authority, version: ssl.TLSVersion | None) -> None:
    """Whoever is offered what comes may leave each piece to the reader: together they have all of it, in its order."""
    choosy = Choosy(every=2)
    came = choosy.came
    async with echoing(tls_authority, version) as stream:
        stream.offer(choosy.take)
        reading = asyncio.create_task(read_all(stream, came))
        lines = [b"%d," % number for number in range(200)]
        for number, line in enumerate(lines):
            await until(lambda number=number: sum(map(len, came)) == sum(map(len, lines[:number])))  # type: ignore[misc]
            assert stream.write_now(line)
        await stream.write_eof()
        await reading
        assert b"".join(came) == b"".join(lines)
        assert choosy.offered > len(lines) // 2


async def read_all(stream: ByteStream, came: list[bytes]) -> None:
    """Read to the end."""
    while data := await stream.read(65536):
        came.append(data)


@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_nothing_is_sent_at_once_to_a_peer_that_takes_nothing(tls_authority: Authority, version: ssl.TLSVersion | None) -> None:
    """It would be kept in memory without a bound: whoever writes has to wait. Nor is anything to one that is gone."""
    async with echoing(tls_authority, version) as stream:
        sent = 0
        while stream.write_now(bytes(100_000)):
            sent += 100_000
            assert sent < 64 << 20
        stream.close()
        assert not stream.write_now(b"x")


@pytest.mark.parametrize("version", VERSIONS)
async def test_records_that_are_none_are_a_failure(tls_authority: Authority, version: ssl.TLSVersion) -> None:
    """Bytes from somebody else in the middle of a connection are never output."""

    def spoil(secure: ssl.SSLSocket) -> None:
        secure.sendall(b"good")
        secure.recv(1)
        os.write(secure.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
        with contextlib.suppress(OSError):
            secure.recv(1)

    context = tls_context(EngineAddress(url="", tls_ca=str(tls_authority.ca)))
    async with tls_server(tls_authority, version, spoil) as port:
        stream = await connect_tls("127.0.0.1", port, context)
        assert await stream.read(100) == b"good"
        await stream.write(b"x")
        for _ in range(2):
            with pytest.raises(ssl.SSLError):
                await stream.read(100)
        stream.close()


async def test_a_certificate_for_another_name_is_refused(tls_authority: Authority) -> None:
    """Signed by the right authority, but not this host's."""

    def fail(secure: ssl.SSLSocket) -> None:
        secure.recv(1)

    context = tls_context(EngineAddress(url="", tls_ca=str(tls_authority.ca)))
    with pytest.raises((ssl.SSLError, ConnectionError)) as server_side:
        async with tls_server(tls_authority, ssl.TLSVersion.TLSv1_2, fail, host="127.0.0.9") as port:
            client = await asyncio.gather(connect_tls("127.0.0.1", port, context), return_exceptions=True)
    assert isinstance(client[0], ssl.SSLCertVerificationError)
    assert server_side.value


@pytest.mark.parametrize("address", [EngineAddress(url="https://h"), EngineAddress(url="https://h", tls_ca="/nowhere")])
def test_tls_needs_an_authority(address: EngineAddress) -> None:
    """There is no engine that is trusted just like that."""
    with pytest.raises(OSError, match=r"CA|nowhere|No such file"):
        open_endpoint(address, 1)


async def test_a_handshake_that_hangs_can_be_given_up(tls_authority: Authority, tmp_path: Path) -> None:
    """The connection is dropped with the wait."""
    context = tls_context(EngineAddress(url="", tls_ca=str(tls_authority.ca)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connect_tls("127.0.0.1", listener.getsockname()[1], context)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            while await asyncio.to_thread(connection.recv, 65536):
                pass


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_every_failure_of_a_stream_is_an_os_error(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    """Also of one that the peer has reset, on either event loop."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def talk() -> None:
        async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
            stream = await connect_tcp("127.0.0.1", server.sockets[0].getsockname()[1])
            await stream.write(b"x")
            for use in (stream.read(1), stream.write(b"x"), stream.write_eof(), stream.read(1), stream.write(b"x")):
                with pytest.raises(OSError, match=r"reset|closed"):
                    await use
            stream.close()

    run(talk())


async def test_what_nobody_reads_stays_with_the_peer_and_arrives_whole(tls_authority: Authority) -> None:
    """A peer that sends without end is held up after a few buffers' worth; when it is read from, nothing is missing."""
    size, sent = 60 << 20, 0

    def pour(secure: ssl.SSLSocket) -> None:
        nonlocal sent
        for number in range(size >> 16):
            secure.sendall(number.to_bytes(2, "big") * (1 << 15))
            sent += 1 << 16
        secure.unwrap()

    context = tls_context(EngineAddress(url="", tls_ca=str(tls_authority.ca)))
    async with tls_server(tls_authority, ssl.TLSVersion.TLSv1_3, pour) as port:
        stream = await connect_tls("127.0.0.1", port, context)
        assert await settled(lambda: sent) < 40 << 20
        got = 0
        while data := await stream.read(1 << 18):
            assert len(data) <= 1 << 18
            for at in range(-got % 2, len(data) - 1, 8191 * 2):
                assert int.from_bytes(data[at : at + 2], "big") == (got + at) >> 16
            got += len(data)
        assert got == size
        await stream.write_eof()
        stream.close()
