"""Forwarded ports with stock OpenSSH through the installed gateway: to the task's own, on the trail, and nowhere else."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from octopus.demo.engines import free_port
from octopus.demo.model import Task
from tests.e2e.gateway import HOST, Gateway, Sections
from tests.e2e.planes import becomes
from tests.e2e.scene import Scene, behind, gateway_for, launch, on, over_tls, own_socket
from tests.e2e.trail import Chapter
from tests.parts.glibc_image import ensure_glibc_image
from tests.parts.ssh_client import Ended

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

USERS: Sections = {"auth.users": {"file": "users.toml"}}
RULES: Sections = {
    "policy": [
        {"users": ["alice"], "apps": ["/ports/**"], "allow": ["exec", "forward"], "forward_localhost": True},
        {"users": ["bob"], "apps": ["/ports/own"], "allow": ["exec"]},
        {"users": ["bob"], "apps": ["/ports/**"], "allow": ["forward"]},
    ]
}
ECHO = "exec nc -ll -p {} -e cat"
APPS: dict[str, dict[str, Any]] = {
    "/ports/host": {"cmd": ECHO.format("$PORT0"), **on(1)},
    "/ports/own": {"cmd": ECHO.format("8080"), "network": "NONE", **on(2)},
    "/ports/code": {"network": "NONE", "image": "glibc", **on(1)},
}


@dataclass(frozen=True)
class Harbour:
    """Three tasks with ports: in the agent's network, in one of its own, and one with bash in place of busybox."""

    scene: Scene
    gateway: Gateway
    tasks: dict[str, Task]

    async def to_port(self, person: str, task: str, destination: str, said: bytes = b"hello") -> Ended:
        """Run ``ssh -W`` with its own messages shown."""
        key = getattr(self.scene.people, person).key
        command = self.gateway.ssh.command(task, key=key, options=["-W", destination])
        return await self.gateway.ssh.run_program([word.replace("LogLevel=ERROR", "LogLevel=INFO") for word in command], stdin=said)

    async def record(self) -> Chapter:
        """Return the trail from now on, with the sessions before at their ends."""
        await self.gateway.still()
        return self.gateway.trail.from_now()

    def processes(self, app_id: str) -> int:
        """Count what runs in an app's container."""
        task = self.tasks[app_id]
        return len(self.scene.engine(task).processes(self.scene.container(task)))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def harbour(scene: Scene) -> AsyncIterator[Harbour]:
    """Those tasks, with a gateway of their own."""
    tasks = {}
    for app_id, definition in APPS.items():
        more = dict(definition)
        network = more.pop("network", "HOST")
        if more.get("image") == "glibc":
            more["image"] = ensure_glibc_image(scene.engines[0])
        image = more.pop("image", "octopus-demo/busybox:latest")
        container = {"type": "DOCKER", "docker": {"image": image, "network": network}}
        [tasks[app_id]] = await launch(scene.cluster, app_id, container=container, **more)
    async with gateway_for(scene.people, USERS, behind(scene.cluster), over_tls(scene.engines[0]), RULES) as running:
        for name in ("ports_host", "ports_own", "ports_code"):
            await running.serves(name, key=scene.people.alice.key)
        yield Harbour(scene, running, tasks)
    for app_id in APPS:
        scene.cluster.scale(app_id, 0)


async def said_back(port: int, data: bytes) -> bytes:
    """Say something at a local port, end, and return all that comes back."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


async def test_port_of_a_task_in_the_agents_network(harbour: Harbour) -> None:
    """``ssh -N -L`` to the port that Mesos gave: bytes both ways, each connection and one session on the trail."""
    task = harbour.tasks["/ports/host"]
    [port] = task.ports
    local, record = free_port(HOST), await harbour.record()
    data = os.urandom(3_000_000)
    async with harbour.gateway.ssh.held(
        "ports_host", key=harbour.scene.people.alice.key, options=["-L", f"{local}:localhost:{port}"]
    ) as shared:
        assert await said_back(local, data) == data
        assert await said_back(local, b"again") == b"again"
        ended = await harbour.gateway.ssh.run("ports_host", "echo beside", options=shared)
        assert ended.stdout == b"beside\n"
    forwarding, beside = await record.sessions(2)
    assert forwarding.names[:2] == ["session.requested", "session.started"]
    assert forwarding.names[2:] == ["forward.opened", "forward.closed"] * 2 + ["session.ended"]
    assert (forwarding.events[0]["kind"], beside.events[0]["kind"]) == ("forward", "exec")
    opened, closed = forwarding.events[2:4]
    assert (opened["destination"], opened["resolved"]) == (f"localhost:{port}", f"{task.ip}:{port}")
    assert closed["bytes_in"] == closed["bytes_out"] == len(data)
    assert opened["target"]["container"] == harbour.scene.container(task)
    assert (forwarding.end["forwards"], forwarding.end["refused"]) == (2, 0)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "{task}", "ports_host", "agent-1.corp.example", "127.0.0.2"])
async def test_names_of_the_task_and_its_agent(harbour: Harbour, name: str) -> None:
    """All of them mean the task's port."""
    task = harbour.tasks["/ports/host"]
    ended = await harbour.to_port("bob", "ports_host", f"{name.format(task=task.id)}:{task.ports[0]}")
    assert (ended.status, ended.stdout) == (0, b"hello"), ended.stderr


@pytest.mark.parametrize("destination", ["localhost:22", "127.0.0.2:{engine}", "localhost:{other}", "corp.example:443", "127.0.0.3:{port}"])
async def test_nothing_else_of_the_agent(harbour: Harbour, destination: str) -> None:
    """Not its sshd, its engine, another task's port, another agent or the world: one line, and on the trail."""
    task = harbour.tasks["/ports/host"]
    engine = harbour.scene.engines[0].address.url.rpartition(":")[2]
    other = next(port for app in ("/web/front", "/ops/tool") for port in harbour.scene.task(app).ports)
    asked = destination.format(engine=engine, other=other, port=task.ports[0])
    record = await harbour.record()
    ended = await harbour.to_port("alice", "ports_host", asked)
    assert (ended.status, ended.stdout) == (255, b"")
    assert b"administratively prohibited: octopus: " in ended.stderr
    told = await record.session()
    assert told.names == ["session.requested", "session.started", "forward.refused", "session.ended"]
    assert told.events[2]["destination"] == asked


async def test_loopback_of_a_container_takes_a_rule(harbour: Harbour) -> None:
    """alice's rule opens it, and her relay is gone with the connection; bob's has no forwarding there at all."""
    ended = await harbour.to_port("alice", "ports_own", "localhost:8080")
    assert (ended.status, ended.stdout) == (0, b"hello"), ended.stderr
    await becomes(lambda: harbour.processes("/ports/own"), 1)
    record = await harbour.record()
    ended = await harbour.to_port("bob", "ports_own", "localhost:8080")
    assert (ended.status, b"octopus: access denied [s-" in ended.stderr) == (255, True)
    told = await record.session()
    assert (told.names, told.end["kind"]) == (["session.denied"], "forward")


async def test_forwarding_alone_does_not_open_the_loopback(harbour: Harbour) -> None:
    """A rule with "forward" and no forward_localhost says that the port is not mapped."""
    ended = await harbour.to_port("bob", "ports_code", "localhost:8080")
    assert (ended.status, b"octopus: port 8080 is not mapped [s-" in ended.stderr) == (255, True)


async def test_a_killed_worker_leaves_nothing_forwarded(harbour: Harbour) -> None:
    """Its session is ended on the trail by the supervisor, and its relays in the container are ended."""
    local, record = free_port(HOST), await harbour.record()
    async with harbour.gateway.ssh.held("ports_own", key=harbour.scene.people.alice.key, options=["-L", f"{local}:localhost:8080"]):
        reader, writer = await asyncio.open_connection(HOST, local)
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        assert harbour.processes("/ports/own") > 1
        [worker] = [pid for pid in harbour.gateway.processes if b"session_worker" in arguments(pid)]
        os.kill(worker, signal.SIGKILL)
        assert await reader.read() == b""
        writer.close()
    told = await record.session()
    assert (told.end["event"], told.end["reason"]) == ("session.failed", "worker lost")
    await becomes(lambda: harbour.processes("/ports/own"), 1)
    await harbour.gateway.serves("ports_own", key=harbour.scene.people.alice.key)


def arguments(pid: int) -> bytes:
    """Return a process's command line, b"" when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


async def test_mapped_port_of_a_bridged_container(harbour: Harbour) -> None:
    """By the container's number and by the agent's, without any rule for the loopback."""
    engine = harbour.scene.engines[0]
    rule = {"users": ["bob"], "apps": ["**"], "allow": ["exec", "forward"]}
    inventory: Sections = {"docker": {"url": own_socket(engine).url, "inventory": True}, "policy": [rule]}
    async with gateway_for(harbour.scene.people, USERS, inventory) as running:
        with engine.network() as network:
            bound = {"NetworkMode": network, "PortBindings": {"8080/tcp": [{"HostPort": ""}]}}
            command = ["/bin/sh", "-c", ECHO.format(8080)]
            with engine.container(command, name="e2e-mapped", ports=[8080], host_config=bound) as container:
                await running.serves("e2e-mapped", key=harbour.scene.people.bob.key)
                with engine.api() as api:
                    mapped = int(api.inspect_container(container)["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"])
                bridged = Harbour(harbour.scene, running, {})
                for destination in ("localhost:8080", f"localhost:{mapped}", f"e2e-mapped:{mapped}"):
                    ended = await bridged.to_port("bob", "e2e-mapped", destination)
                    assert (ended.status, ended.stdout) == (0, b"hello"), (destination, ended.stderr)
                assert (await bridged.to_port("bob", "e2e-mapped", "localhost:22")).status == 255


BOOTSTRAP = """
umask 077
folder="$HOME/.code-server"
mkdir -p "$folder"
echo "platform==$(uname -s)=="
"/opt/server" -d -d TCP-LISTEN:0,bind=127.0.0.1,fork EXEC:/bin/cat </dev/null >"$folder/log" 2>&1 &
server=$!
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    port=$(sed -n 's/.*listening on AF=2 127.0.0.1:\\([0-9][0-9]*\\).*/\\1/p' "$folder/log")
    [ -n "$port" ] && break
    sleep 0.5
done
echo "listeningOn==$port=="
wait "$server"
"""
"""What an editor sends to a shell's standard input: start a server on any port of loopback, say which, stay."""


@asynccontextmanager
async def editor(harbour: Harbour, local: int) -> AsyncIterator[int]:
    """Do as VS Code does: ``ssh -T -D PORT HOST sh``, the script on its input; give the port that its server says."""
    gateway = harbour.gateway
    process = await asyncio.create_subprocess_exec(
        *gateway.ssh.command("ports_code", "sh", key=harbour.scene.people.alice.key, options=["-T", "-D", str(local)]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=gateway.ssh.environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(BOOTSTRAP.encode())
        process.stdin.write_eof()
        said = await asyncio.wait_for(process.stdout.readuntil(b"listeningOn=="), 60)
        assert b"platform==Linux==" in said
        yield int((await process.stdout.readuntil(b"==")).removesuffix(b"=="))
    finally:
        process.terminate()
        await process.wait()


async def test_an_editors_server_in_the_container(harbour: Harbour) -> None:
    """The calls that VS Code makes, in an image with nothing but bash to connect with; what it started ends with it."""
    local, record = free_port(HOST), await harbour.record()
    async with editor(harbour, local) as port:
        streams = [await through(local, "127.0.0.1", port) for _ in range(5)]
        for number, (reader, writer) in enumerate(streams):
            data = bytes([number]) * 200_000
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
        for _, writer in streams:
            writer.close()
    shell, forwarding = await record.sessions(2)
    opened = [event for event in forwarding.events if event["event"] == "forward.opened"]
    assert [(event["destination"], event["resolved"]) for event in opened] == [(f"127.0.0.1:{port}", f"container:{port}")] * 5
    assert (shell.events[0]["kind"], forwarding.events[0]["kind"]) == ("exec", "forward")
    await becomes(lambda: harbour.processes("/ports/code"), 1)


async def through(proxy: int, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect through a SOCKS5 proxy (RFC 1928)."""
    reader, writer = await asyncio.open_connection(HOST, proxy)
    writer.write(b"\x05\x01\x00")
    assert await reader.readexactly(2) == b"\x05\x00"
    writer.write(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big"))
    assert (await reader.readexactly(10))[1] == 0
    return reader, writer
