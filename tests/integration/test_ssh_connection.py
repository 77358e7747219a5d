"""What is changed of asyncssh's connection, each change held by a client that would show its absence."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.channel import SSHClientChannel
from asyncssh.constants import MSG_CHANNEL_DATA
from asyncssh.packet import String

from octopus import hostkeys
from octopus.core.errors import ConfigError
from octopus.session.ssh_algorithms import CIPHERS, MACS, ciphers_for, macs_for
from octopus.session.ssh_connection import GatewayChannel
from octopus.session.ssh_server import Gateway
from tests.fake_plane import FakePlane
from tests.parts.gateway import GatewayPart, gateway_part
from tests.parts.local_backend import LocalBackend
from tests.parts.local_forwards import LocalForwards
from tests.parts.tcp import Handler, listen, silence
from tests.streams import settled, until

SIZE = 120 << 20


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[GatewayPart]:
    """A gateway for one test."""
    async with gateway_part(tmp_path) as part:
        yield part


def connected(part: GatewayPart, **options: Any) -> contextlib.AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
    """Return alice's connection, by asyncssh as a client."""
    return asyncssh.connect("127.0.0.1", part.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None, **options)


def resident() -> int:
    """Return this process's resident memory in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))


@pytest.mark.parametrize("way", ["down", "up"])
async def test_bulk_is_whole_and_memory_flat(part: GatewayPart, way: str) -> None:
    """120 MiB arrive unchanged either way, and a second transfer finds the gateway's memory where the first left it."""
    source = f"head -c {SIZE} /dev/zero | tr '\\0' x"
    ssh = part.ssh.command("t", f'"{source}"' if way == "down" else "sha256sum", key=part.key)
    shell = " ".join(ssh) + " | sha256sum" if way == "down" else f"{source} | " + " ".join(ssh)
    sizes = []
    for _ in range(2):
        ended = await part.ssh.run_program(["sh", "-c", shell])
        assert ended.stdout.split()[0].decode() == hashlib.sha256(b"x" * SIZE).hexdigest()
        sizes.append(resident())
    assert sizes[1] - sizes[0] < 24 << 20


class Watched(socket.socket):
    """A socket that notes how often it was told to acknowledge at once."""

    acknowledged = 0

    def setsockopt(self, *args: Any) -> None:
        """Set an option."""
        self.acknowledged += args[:2] == (socket.IPPROTO_TCP, socket.TCP_QUICKACK)
        super().setsockopt(*args)


async def test_a_client_that_waits_for_an_acknowledgement_gets_it_until_it_is_known(part: GatewayPart) -> None:
    """OpenSSH sends small packets one by one until a session begins; the kernel would let each wait for 40 ms."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        connecting = asyncio.create_task(connecting_to(listener.getsockname()[1], part.key))
        accepted, _ = await loop.sock_accept(listener)
        with Watched(fileno=accepted.detach()) as server:
            server.setblocking(False)
            serving = asyncio.create_task(part.gateway.serve(server, "127.0.0.1:1"))
            async with await connecting as connection:
                known = server.acknowledged
                assert known >= 4  # version, key exchange, service, authentication
                await connection.run("true")
                assert server.acknowledged == known
            await serving


async def connecting_to(port: int, key: Path) -> asyncssh.SSHClientConnection:
    """Connect by asyncssh."""
    return await asyncssh.connect("127.0.0.1", port, username="t", client_keys=[str(key)], known_hosts=None, config=None)


async def test_many_key_exchanges_lose_nothing(part: GatewayPart) -> None:
    """Keys changed every MiB, by either side, cut and reorder nothing: what a transfer of gigabytes meets."""
    async with connected(part, rekey_bytes=1 << 20) as connection:
        process = await connection.create_process("cat", encoding=None)
        data = bytes(range(256)) * (16 << 12)

        async def send() -> None:
            for start in range(0, len(data), 65536):
                process.stdin.write(data[start : start + 65536])
                await process.stdin.drain()
            process.stdin.write_eof()

        sending = asyncio.create_task(send())
        assert await process.stdout.read() == data
        await sending


def relayed(port: int, piece: Callable[[int], int], change: int = -1) -> Handler:
    """Return a handler that passes all on, what the client sends in pieces of ``piece(n)`` bytes, with a bit of byte ``change`` turned."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", port)

        async def up() -> None:
            at = 0
            for number in itertools.count():
                data = bytearray(await reader.read(piece(number)))
                if at <= change < at + len(data):
                    data[change - at] ^= 1
                at += len(data)
                if not data:
                    return forth.write_eof()
                forth.write(data)
                await forth.drain()

        async def down() -> None:
            while data := await back.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(up())
                tasks.create_task(down())
        finally:
            forth.transport.abort()

    return handler


async def test_packets_may_come_in_any_pieces(part: GatewayPart) -> None:
    """Cut in the middle of lengths, bodies and tags, between data and other packets, nothing is lost or out of order."""
    data = bytes(range(256)) * 400
    async with (
        listen(relayed(part.port, lambda number: (1, 3, 4, 5, 2000, 17, 40_000)[number % 7])) as proxy,
        asyncssh.connect("127.0.0.1", proxy.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None) as connection,
    ):
        for window in (1000, 2 << 20):
            process = await connection.create_process("cat; cat >&2", encoding=None, window=window)
            process.stdin.write(data)
            process.change_terminal_size(80, 24)
            process.stdin.write_eof()
            assert await process.stdout.read() == data


async def test_data_that_was_changed_on_its_way_ends_the_connection(part: GatewayPart) -> None:
    """One bit in the middle of what is sent: none of that packet arrives, and the session is over."""
    async with (
        listen(relayed(part.port, lambda number: 65536, change=200_000)) as proxy,
        asyncssh.connect("127.0.0.1", proxy.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None) as connection,
    ):
        process = await connection.create_process("cat", encoding=None)
        process.stdin.write(b"x" * 400_000)
        with contextlib.suppress(asyncssh.DisconnectError, ConnectionError):
            assert len(await process.stdout.read()) < 200_000
        await connection.wait_closed()
    await part.plane.ended()


async def test_huge_window_does_not_fill_memory(part: GatewayPart) -> None:
    """A client that grants 1 GiB and does not read its socket (PuTTY does) is not served from memory."""
    before = resident()
    async with connected(part) as connection:
        process = await connection.create_process("head -c 400000000 /dev/zero", encoding=None, window=1 << 30)
        connection._transport.pause_reading()  # type: ignore[union-attr]
        moved = await settled(lambda: part.gateway.moved)
        assert 0 < moved < 64 << 20
        assert resident() - before < 64 << 20
        connection.abort()
        process.close()
    await part.plane.ended()


@pytest.mark.parametrize("used", [0, 10_000_000])
async def test_input_nobody_reads_stays_with_the_client(part: GatewayPart, used: int) -> None:
    """A command that reads no (more) input holds the client up after one window, not the gateway's memory."""
    async with connected(part) as connection:
        process = await connection.create_process(f"head -c {used} > /dev/null; sleep 1000", encoding=None)
        process.stdin.write(b"x" * (64 << 20))
        await settled(lambda: part.gateway.moved + process.channel.get_write_buffer_size())
        assert process.channel.get_write_buffer_size() > (60 << 20) - used
        connection.abort()
    await part.plane.ended()


async def test_input_that_comes_before_its_session_is_held_together(part: GatewayPart) -> None:
    """Byte by byte it would take a hundred times its size, and minutes to be handed over; it is read first, and whole."""
    data = bytes(range(256)) * 40
    async with connected(part) as connection:
        channel = SSHClientChannel[bytes](connection, asyncio.get_running_loop(), "strict", None, "strict", 1 << 21, 1 << 15)
        await channel._open(b"session")
        for byte in data:
            channel.send_packet(MSG_CHANNEL_DATA, String(bytes([byte])))
        await until(lambda: sum(len(held) for held, _ in _held_back()) == len(data))
        assert len(_held_back()) == 1
        read = channel._session = Read()
        assert await channel._make_request(b"exec", String("sha256sum"))
        channel.resume_reading()
        channel.write_eof()
        async with asyncio.timeout(30):
            await read.over.wait()
    assert read.data.split()[0].decode() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("size", "taken"), [(1, False), (255, False), (256, True)])
async def test_output_is_not_cut_up_byte_by_byte(part: GatewayPart, size: int, taken: bool) -> None:
    """A client that takes a byte a packet would have all others of its process wait for seconds with each piece of output."""
    async with listen(silence) as server, connected(part) as connection:
        part.forwards.ports.add(server.port)
        session = SSHClientChannel[bytes](connection, asyncio.get_running_loop(), "strict", None, "strict", 1 << 21, size)
        opening = [session._open(b"session"), connection.open_connection("localhost", server.port, max_pktsize=size)]
        opened = await asyncio.gather(*opening, return_exceptions=True)
        assert [not isinstance(one, asyncssh.ChannelOpenError) for one in opened] == [taken, taken]
        assert taken or all("less than 256 bytes" in str(one) for one in opened)
        assert (await connection.run("echo whole")).stdout == "whole\n"


def _held_back() -> list[tuple[bytes, int | None]]:
    """Return what the gateway's channels hold back."""
    return [held for one in gc.get_objects() if isinstance(one, GatewayChannel) for held in one._recv_buf]


class Read(asyncssh.SSHClientSession[bytes]):
    """What a session sends."""

    def __init__(self) -> None:
        self.data = b""
        self.over = asyncio.Event()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Keep it."""
        self.data += data

    def eof_received(self) -> bool:
        """Note the end."""
        self.over.set()
        return True


async def test_environment_is_bounded(part: GatewayPart) -> None:
    """Thousands of variables are refused one by one; the session has the first few."""
    async with connected(part) as connection:
        await connection.run("true", env={f"LC_{number}": "x" for number in range(500)})
    assert len(part.plane.requests[0].env) == 64


async def test_channels_are_bounded(tmp_path: Path) -> None:
    """A connection that opens channel after channel is refused the one too many, in words, and keeps the others."""
    async with gateway_part(tmp_path, max_channels=3) as part, connected(part) as connection:
        open_ones = [await connection.create_process("cat") for _ in range(3)]
        with pytest.raises(asyncssh.ChannelOpenError, match="too many sessions on one connection"):
            await connection.create_process("cat")
        for process in open_ones:
            process.stdin.write_eof()
            assert (await process.wait()).exit_status == 0
        assert (await connection.run("echo again")).stdout == "again\n"


async def test_flood_of_signals_and_resizes_is_bounded(part: GatewayPart) -> None:
    """Requests that pass no window are dropped past a limit; the session goes on."""
    async with connected(part) as connection:
        program = "trap '' USR1; echo ready; read line; echo $line"
        process = await connection.create_process(program, term_type="xterm", term_size=(80, 24))
        assert "ready" in await process.stdout.readline()
        for number in range(5000):
            process.change_terminal_size(80 + number % 2, 24)
            process.send_signal("USR1")
        process.stdin.write("done\n")
        assert "done" in await process.stdout.read()


async def test_grace_time_closes_silent_connections(tmp_path: Path) -> None:
    """A connection that does not log in is closed after the grace time."""
    async with gateway_part(tmp_path, login_grace_time=0.5) as part:
        reader, writer = await asyncio.open_connection("127.0.0.1", part.port)
        assert (await reader.readline()) == b"SSH-2.0-octopus\r\n"
        await reader.read()
        writer.close()


async def test_a_client_that_no_longer_answers_is_given_up(tmp_path: Path) -> None:
    """Its session ends; one whose person only does nothing is asked as often, and stays."""
    async with gateway_part(tmp_path, keepalive_interval=0.5, keepalive_count=6) as part, connected(part) as idle:
        async with part.ssh.terminal("t", "echo in; cat", key=part.key, options=["-tt"]) as stopped:
            await stopped.expect(rb"in\r\n")
            stopped.freeze()
            [end] = await part.plane.ended()
        assert (end.event, end.data["reason"]) == ("session.failed", "the client is gone")
        assert (await idle.run("echo alive")).stdout == "alive\n"


async def test_garbage_is_closed(part: GatewayPart) -> None:
    """Bytes that are no SSH end their connection only."""
    reader, writer = await asyncio.open_connection("127.0.0.1", part.port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n" * 10)
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()
    assert (await part.ssh.run("t", "echo fine", key=part.key)).stdout == b"fine\n"


@pytest.mark.parametrize("user", ["t", ""])
async def test_banner_is_shown_before_authentication(tmp_path: Path, user: str) -> None:
    """The banner file's text is shown to everybody, once, and the client's version noted, also of an empty user name."""
    (tmp_path / "banner").write_text("Authorised use only.\n")
    async with gateway_part(tmp_path, banner_file=str(tmp_path / "banner")) as part:
        ssh = part.ssh.command("", "help", key=part.key, options=["-l", user])
        command = [word.replace("LogLevel=ERROR", "LogLevel=INFO") for word in ssh]
        assert (await part.ssh.run_program(command)).stderr.count(b"Authorised use only.") == 1
    assert part.plane.attempts[-1].connection.client_version.startswith("SSH-2.0-OpenSSH")


async def test_rsa_host_key_serves_many_at_once_with_either_hash(tmp_path: Path) -> None:
    """Connections that agree on different RSA signatures at the same time do not disturb each other."""
    hostkeys.create(tmp_path / "all")
    async with gateway_part(tmp_path) as part:
        other = Gateway(
            plane=part.plane, backend=part.backend, forwards=part.forwards, host_keys=tmp_path / "all", recordings=part.recordings
        )
        part.gateway._options = other._options
        other.close()
        kinds = itertools.cycle(["rsa-sha2-256", "rsa-sha2-512"])
        results = await asyncio.gather(
            *(part.ssh.run("t", "echo ok", key=part.key, options=["-o", f"HostKeyAlgorithms={next(kinds)}"]) for _ in range(9))
        )
    assert {(one.status, one.stdout) for one in results} == {(0, b"ok\n")}


@pytest.mark.parametrize("fault", ["missing", "empty", "open", "banner"])
def test_faults_stop_the_start(tmp_path: Path, fault: str) -> None:
    """No directory, no key in it, a key that others may read, a banner that is not there: no gateway."""
    keys = tmp_path / "keys"
    if fault != "missing":
        keys.mkdir()
    if fault in ("open", "banner"):
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(keys / "ssh_host_ed25519_key")
        (keys / "ssh_host_ed25519_key").chmod(0o644 if fault == "open" else 0o600)
    with pytest.raises(ConfigError):
        Gateway(
            plane=FakePlane({}, passwords={}),
            backend=LocalBackend(),
            forwards=LocalForwards(),
            host_keys=keys,
            recordings=tmp_path,
            banner_file=str(tmp_path / "none") if fault == "banner" else "",
        )


def test_openssh_is_offered_the_fast_ciphers_only() -> None:
    """Its own order starts with slower ones; all others may choose."""
    assert all("gcm" in name for name in ciphers_for("SSH-2.0-OpenSSH_9.2p1 Debian-2"))
    assert ciphers_for("SSH-2.0-dropbear_2022.83") == CIPHERS
    assert all("etm" in name for name in macs_for("SSH-2.0-OpenSSH_9.2p1 Debian-2"))
    assert macs_for("SSH-2.0-dropbear_2022.83") == MACS
