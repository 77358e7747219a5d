"""-L and -W through the gateway: bytes both ways, one session on the trail, one line for each no."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import asyncssh
import pytest

from octopus.core.errors import AccessDenied, AmbiguousTarget, AuditUnavailable, ContainerUnavailable, NoSuchTarget, OctopusError
from octopus.core.types import AuditEvent, Obligations, RequestKind
from octopus.demo.engines import free_port
from octopus.session.forward_session import ForwardSession
from tests.parts.gateway import GatewayPart, gateway_part
from tests.parts.ssh_client import Ended
from tests.parts.tcp import Handler, goes_on, listen, silence
from tests.streams import until

HERE = "127.0.0.1"


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[GatewayPart]:
    """A gateway for one test."""
    async with gateway_part(tmp_path) as part:
        yield part


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say what is heard, and end when the other side does."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def connection(part: GatewayPart) -> asyncssh.misc._ACMWrapper[asyncssh.SSHClientConnection]:
    """Connect as alice."""
    return asyncssh.connect(HERE, part.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None)


async def to_port(part: GatewayPart, *destination: str, stdin: bytes = b"") -> Ended:
    """Run ``ssh -W`` with its own messages shown."""
    command = part.ssh.command("t", key=part.key, options=["-W", *destination])
    return await part.ssh.run_program([word.replace("LogLevel=ERROR", "LogLevel=INFO") for word in command], stdin=stdin)


def of_forwards(part: GatewayPart, name: str) -> list[AuditEvent]:
    """Return the events of one name."""
    return [event for event in part.plane.events if event.event == name]


async def recorded(part: GatewayPart, name: str, count: int = 1) -> list[AuditEvent]:
    """Wait for events of one name."""
    async with asyncio.timeout(20), part.plane.recorded:
        await part.plane.recorded.wait_for(lambda: len(of_forwards(part, name)) >= count)
    return of_forwards(part, name)


async def test_stdin_and_stdout_to_a_port(part: GatewayPart) -> None:
    """``ssh -W``: every byte both ways, and the end of input reaches the server, whose end ends the client."""
    data = bytes(range(256)) * 8192
    async with listen(echo) as server:
        part.forwards.ports.add(server.port)
        ended = await to_port(part, f"localhost:{server.port}", stdin=data)
    assert (ended.status, hashlib.sha256(ended.stdout).digest()) == (0, hashlib.sha256(data).digest())
    [end] = await part.plane.ended()
    assert [event.event for event in part.plane.events] == ["session.started", "forward.opened", "forward.closed", "session.ended"]
    _, opened, closed, _ = part.plane.events
    named = {"destination": f"localhost:{server.port}", "resolved": f"{HERE}:{server.port}"}
    assert opened.data == named
    assert named.items() <= closed.data.items()
    assert (closed.data["bytes_in"], closed.data["bytes_out"], "reason" in closed.data) == (len(data), len(data), False)
    assert (end.data["bytes_in"], end.data["bytes_out"], end.data["forwards"], end.data["refused"]) == (len(data), len(data), 1, 0)
    assert (end.login, end.target["app"], opened.target["container"]) == ("alice", "/logging/logstash", "local")
    assert part.gateway.sessions() == ()
    assert part.gateway.moved == 2 * len(data)


async def test_local_port_without_a_session(part: GatewayPart) -> None:
    """``ssh -N -L``: a session on the trail although nobody opened one, and all its connections in it."""
    local = free_port(HERE)
    async with listen(echo) as server:
        part.forwards.ports.add(server.port)
        async with part.ssh.held("t", key=part.key, options=["-L", f"{local}:localhost:{server.port}"]):
            assert part.plane.events == []
            for number in range(3):
                reader, writer = await asyncio.open_connection(HERE, local)
                writer.write(b"%d" % number)
                writer.write_eof()
                assert await reader.read() == b"%d" % number
                writer.close()
            [live] = part.gateway.sessions()
    [end] = await part.plane.ended()
    assert (end.session, end.event, end.data["forwards"]) == (live.session, "session.ended", 3)
    assert [request.kind for request in part.plane.requests] == [RequestKind.FORWARD]


async def test_each_side_ends_alone(part: GatewayPart) -> None:
    """After the server's end the client may go on sending."""
    heard = asyncio.get_running_loop().create_future()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"first")
        writer.write_eof()
        heard.set_result(await reader.read(-1))

    async with listen(handler) as server, connection(part) as ssh:
        part.forwards.ports.add(server.port)
        reader, writer = await ssh.open_connection("localhost", server.port)
        assert await reader.read() == b"first"
        writer.write(b"then")
        writer.write_eof()
        assert await heard == b"then"
        await recorded(part, "forward.closed")


async def test_many_at_once_share_a_session(part: GatewayPart) -> None:
    """Connections side by side, each with its own bytes."""
    async with listen(echo) as server, connection(part) as ssh:
        part.forwards.ports.add(server.port)

        async def one(number: int) -> bytes:
            reader, writer = await ssh.open_connection("localhost", server.port)
            writer.write(b"%d" % number * 1000)
            writer.write_eof()
            return bytes(await reader.read())

        assert await asyncio.gather(*map(one, range(60))) == [b"%d" % number * 1000 for number in range(60)]
        closed = await recorded(part, "forward.closed", 60)
    assert len({event.key for event in closed}) == 60
    assert len({event.session for event in closed}) == 1
    assert len(await part.plane.ended()) == 1


async def test_more_than_are_allowed_are_refused(part: GatewayPart) -> None:
    """The limit of one connection is told in words; a place that is left is given again."""
    async with listen(silence) as server, connection(part) as ssh:
        part.forwards.ports.add(server.port)
        opened = [await ssh.open_connection("localhost", server.port) for _ in range(128)]
        with pytest.raises(asyncssh.ChannelOpenError, match="too many forwarded connections") as caught:
            await ssh.open_connection("localhost", server.port)
        assert caught.value.code == asyncssh.OPEN_RESOURCE_SHORTAGE
        opened[0][1].close()
        await recorded(part, "forward.closed")
        await ssh.open_connection("localhost", server.port)


@pytest.mark.parametrize("destination", ["corp.example:443", "169.254.169.254:80", "localhost:22", "[::1]:22"])
async def test_no_other_destination(part: GatewayPart, destination: str) -> None:
    """What is not the task's is refused in one line, and on the trail."""
    ended = await to_port(part, destination)
    assert ended.status == 255
    assert re.search(rb"administratively prohibited: octopus: .* \[s-[0-9a-f]{12}\]", ended.stderr)
    [end] = await part.plane.ended()
    [refused] = of_forwards(part, "forward.refused")
    assert refused.data["destination"] == destination.replace("[", "").replace("]", "")
    assert (end.event, end.data["forwards"], end.data["refused"]) == ("session.ended", 0, 1)


async def test_dynamic_forwarding_reaches_the_task_alone(part: GatewayPart) -> None:
    """``ssh -D``: the task's port by a proxy's client, nothing else; the trail names each other destination once."""
    local = free_port(HERE)
    async with listen(echo) as server, part.ssh.held("t", key=part.key, options=["-D", str(local)]):
        part.forwards.ports.add(server.port)
        assert await socks(local, "localhost", server.port, b"hello") == b"hello"
        for _ in range(3):
            assert await socks(local, "corp.example", 443, b"hello") is None
    await part.plane.ended()
    assert [event.data["destination"] for event in of_forwards(part, "forward.refused")] == ["corp.example:443"]


async def socks(proxy: int, host: str, port: int, said: bytes) -> bytes | None:
    """Say something through a SOCKS5 proxy (RFC 1928) and return the answer, None when it does not connect."""
    reader, writer = await asyncio.open_connection(HERE, proxy)
    writer.write(b"\x05\x01\x00")
    assert await reader.readexactly(2) == b"\x05\x00"
    writer.write(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big"))
    try:
        answer = await reader.readexactly(10)
        if answer[1]:
            return None
        writer.write(said)
        return await reader.readexactly(len(said))
    except asyncio.IncompleteReadError:
        return None
    finally:
        writer.close()


async def test_a_scan_does_not_fill_the_trail(part: GatewayPart) -> None:
    """Of many refused destinations the first hundred are named, and all are counted."""
    async with connection(part) as ssh:
        for port in range(1, 131):
            with pytest.raises(asyncssh.ChannelOpenError):
                await ssh.open_connection("localhost", port)
    [end] = await part.plane.ended()
    assert len(of_forwards(part, "forward.refused")) == 100
    assert end.data["refused"] == 130


async def test_who_may_not_forward_is_denied_once(part: GatewayPart) -> None:
    """The rule's no holds for the connection: one session denied, one line for each try."""
    part.plane.refusals["t"] = AccessDenied("forward denied by policy[0]")
    async with connection(part) as ssh:
        for _ in range(3):
            with pytest.raises(asyncssh.ChannelOpenError, match=r"octopus: access denied \[s-") as caught:
                await ssh.open_connection("localhost", 80)
            assert caught.value.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
        assert (await ssh.run("true")).exit_status != 0
    assert [request.kind for request in part.plane.requests] == [RequestKind.FORWARD, RequestKind.EXEC]
    assert part.plane.events == []


async def test_a_target_that_comes_later_is_found_then(part: GatewayPart) -> None:
    """Any other failure to begin is not for ever."""
    part.plane.refusals["t"] = NoSuchTarget("t", notice="no running task matches 't'")
    async with listen(echo) as server, connection(part) as ssh:
        part.forwards.ports.add(server.port)
        with pytest.raises(asyncssh.ChannelOpenError, match="no running task matches"):
            await ssh.open_connection("localhost", server.port)
        del part.plane.refusals["t"]
        reader, writer = await ssh.open_connection("localhost", server.port)
        writer.write_eof()
        assert await reader.read() == b""


async def test_an_ambiguous_target_lists_what_it_may_mean(part: GatewayPart) -> None:
    """In the same one line."""
    part.plane.refusals["t"] = AmbiguousTarget(candidates=["web.1", "web.2"])
    async with connection(part) as ssh:
        with pytest.raises(asyncssh.ChannelOpenError, match=r"octopus: several running tasks match: web.1, web.2 \[s-"):
            await ssh.open_connection("localhost", 80)


async def test_a_name_that_was_cut_is_ascii(part: GatewayPart) -> None:
    """OpenSSH shows other characters of a refused forward in octal."""
    part.plane.refusals["t"] = NoSuchTarget(notice="no running task matches 'xx…'")
    async with connection(part) as ssh:
        with pytest.raises(asyncssh.ChannelOpenError, match=r"octopus: no running task matches 'xx\.\.\.' \[s-"):
            await ssh.open_connection("localhost", 80)


async def test_those_who_wait_for_the_control_plane_are_counted_too(part: GatewayPart) -> None:
    """While a session is not admitted yet no more may be asked for than it could have."""
    part.plane.gate.clear()
    async with listen(echo) as server, connection(part) as ssh:
        part.forwards.ports.add(server.port)
        waiting = [asyncio.create_task(ssh.open_connection("localhost", server.port)) for _ in range(129)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        [refused] = done
        with pytest.raises(asyncssh.ChannelOpenError, match="too many forwarded connections"):
            await refused
        part.plane.gate.set()
        assert sum(isinstance(one, tuple) for one in await asyncio.gather(*waiting, return_exceptions=True)) == 128


async def test_a_connection_that_ends_before_its_session_begins(part: GatewayPart) -> None:
    """What was admitted for nobody ends at once."""
    part.plane.gate.clear()
    async with connection(part) as ssh:
        waiting = asyncio.create_task(ssh.open_connection("localhost", 80))
        await part.plane.asked.wait()
        ssh.abort()
        with pytest.raises(asyncssh.Error):
            await waiting
    part.plane.gate.set()
    [end] = await part.plane.ended()
    assert (end.event, end.data["forwards"]) == ("session.ended", 0)


async def test_what_does_not_answer_is_said_so(part: GatewayPart) -> None:
    """A port where nothing listens fails its own channel; a bug does too, and the connection lives on."""
    port = free_port(HERE)
    part.forwards.ports.add(port)
    async with connection(part) as ssh:
        with pytest.raises(asyncssh.ChannelOpenError, match=f"octopus: port {port} of the task does not answer") as caught:
            await ssh.open_connection("localhost", port)
        assert caught.value.code == asyncssh.OPEN_CONNECT_FAILED
        part.forwards.refusal = ZeroDivisionError("secret detail")
        with pytest.raises(asyncssh.ChannelOpenError, match="octopus: internal error"):
            await ssh.open_connection("localhost", port)
        part.forwards.refusal = ContainerUnavailable("gone", notice="the container is gone")
        with pytest.raises(asyncssh.ChannelOpenError, match="octopus: the container is gone"):
            await ssh.open_connection("localhost", port)
        assert (await ssh.run("echo alive")).stdout == "alive\n"


async def test_operator_ends_all_of_it(part: GatewayPart) -> None:
    """A killed session closes its connections, says so to later ones, and its end says why."""
    async with listen(silence) as server, connection(part) as ssh:
        part.forwards.ports.add(server.port)
        readers = [(await ssh.open_connection("localhost", server.port))[0] for _ in range(3)]
        [live] = part.gateway.sessions()
        await part.gateway.kill(live.session, "maintenance")
        assert [await reader.read() for reader in readers] == [b""] * 3
        [end] = await part.plane.ended()
        assert (end.event, end.data["reason"]) == ("session.failed", "ended: maintenance")
        assert {event.data["reason"] for event in of_forwards(part, "forward.closed")} == {"the session ended"}
        with pytest.raises(asyncssh.ChannelOpenError, match="this session was ended: maintenance"):
            await ssh.open_connection("localhost", server.port)
    assert part.forwards.open == 0


async def test_idle_forwarding_is_closed(part: GatewayPart) -> None:
    """A rule's idle timeout counts bytes of all connections; what is asked for later is a new session."""
    part.plane.obligations = Obligations(idle_timeout=0.5)
    async with listen(echo) as server, connection(part) as ssh:
        part.forwards.ports.add(server.port)
        reader, _ = await ssh.open_connection("localhost", server.port)
        assert await reader.read() == b""
        [end] = await part.plane.ended()
        assert (end.event, end.data["reason"]) == ("session.failed", "idle")
        part.plane.obligations = Obligations()
        await ssh.open_connection("localhost", server.port)
    assert len(await part.plane.ended(2)) == 2


async def test_nothing_passes_that_is_not_on_the_trail(part: GatewayPart) -> None:
    """Where ``forward.opened`` cannot be written no byte passes, and the session ends."""
    part.plane.failing["forward.opened"] = AuditUnavailable("disk full")
    async with listen(echo) as server, connection(part) as ssh:
        part.forwards.ports.add(server.port)
        with pytest.raises(asyncssh.ChannelOpenError, match="the audit trail cannot be written"):
            await ssh.open_connection("localhost", server.port)
        [end] = await part.plane.ended()
    assert (end.event, part.forwards.open) == ("session.failed", 0)


async def test_what_opens_while_the_client_leaves_is_closed_on_the_trail(part: GatewayPart) -> None:
    """``forward.opened`` may be there although nobody waits for its answer any more: its end has to be there too."""
    answer = part.plane.late["forward.opened"] = asyncio.Event()
    async with listen(echo) as server, connection(part) as ssh:
        part.forwards.ports.add(server.port)
        opening = asyncio.create_task(ssh.open_connection("localhost", server.port))
        await recorded(part, "forward.opened")
        [session] = part.gateway._sessions.values()
        ssh.abort()
        await asyncio.wait([opening])
        await until(lambda: isinstance(session, ForwardSession) and session.over)
        answer.set()
        await part.plane.ended()
    assert isinstance(opening.exception(), asyncssh.ChannelOpenError)
    assert [event.event for event in part.plane.events] == ["session.started", "forward.opened", "forward.closed", "session.ended"]
    assert part.forwards.open == 0


async def test_a_bug_is_one_line_and_an_end_on_the_trail(part: GatewayPart) -> None:
    """An error nobody thought of ends the session; the connection lives on."""
    part.plane.failing["session.started"] = cast(OctopusError, ZeroDivisionError("secret detail"))
    async with connection(part) as ssh:
        with pytest.raises(asyncssh.ChannelOpenError, match=r"^octopus: internal error \[s-[0-9a-f]+\]$"):
            await ssh.open_connection("localhost", 80)
        [end] = await part.plane.ended()
        assert (end.event, end.data["reason"]) == ("session.failed", "internal error")
        assert not ssh.is_closed()


@pytest.mark.parametrize("handler", [silence, echo, goes_on(b"x", b"x" * 65_536)], ids=["silence", "echo", "flood"])
async def test_client_that_vanishes_leaves_nothing(part: GatewayPart, handler: Handler) -> None:
    """Killed in the middle, its connections are closed and its session ended on the trail."""
    async with listen(handler) as server:
        part.forwards.ports.add(server.port)
        async with connection(part) as ssh:
            _, writer = await ssh.open_connection("localhost", server.port)
            writer.write(b"x")
            await recorded(part, "forward.opened")
            ssh.abort()
            [end] = await part.plane.ended()
    assert (end.event, part.forwards.open) == ("session.ended", 0)
    assert len(of_forwards(part, "forward.closed")) == 1


async def test_slow_reader_holds_up_the_server_alone(part: GatewayPart) -> None:
    """A client that does not read stops what is read from the port; another session's keystrokes pass meanwhile."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with listen(flood) as server, connection(part) as ssh:
        part.forwards.ports.add(server.port)
        reader, _ = await ssh.open_connection("localhost", server.port, window=65_536)
        reader.channel.pause_reading()
        last = -1
        while last != sent:
            last = sent
            assert (await ssh.run("echo key")).stdout == "key\n"
        assert sent < 64 << 20
        await recorded(part, "forward.opened")


async def test_gateway_that_stops_ends_it_on_the_record(tmp_path: Path) -> None:
    """Cancelled in the middle, the session still has its one terminal event, after its connections' ends."""
    async with gateway_part(tmp_path) as part, listen(silence) as server:
        part.forwards.ports.add(server.port)
        async with connection(part) as ssh:
            await ssh.open_connection("localhost", server.port)
            await part.stop()
        names = [event.event for event in part.plane.events]
        assert names == ["session.started", "forward.opened", "forward.closed", "session.failed"]


async def test_sockets_and_tunnels_are_refused_in_words(part: GatewayPart) -> None:
    """-L to a socket's path, and -w."""
    async with connection(part) as ssh:
        with pytest.raises(asyncssh.ChannelOpenError, match="octopus: forwarding to sockets is not offered"):
            await ssh.open_unix_connection("/run/docker.sock")
        with pytest.raises(asyncssh.ChannelOpenError, match="octopus: tunnel forwarding is not offered"):
            await ssh.create_tun(asyncssh.SSHTunTapSession)
