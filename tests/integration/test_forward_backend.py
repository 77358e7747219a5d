"""Connections to ports of real containers: mapped, the agent's own, and on a container's loopback."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import msgspec
import pytest

from octopus.core.errors import AccessDenied, ContainerUnavailable, InvalidRequest
from octopus.core.forwarding import Side
from octopus.core.ports import ForwardStream
from octopus.core.types import Allow, ContainerClue, Target
from octopus.demo.engines import free_port
from octopus.demo.images import BUSYBOX, SHELLLESS
from octopus.engine.backend import DockerBackend
from octopus.engine.forward import DockerForwards
from tests.contracts import spec_for
from tests.parts.engines import Engine
from tests.parts.glibc_image import ensure_glibc_image

HERE = "127.0.0.1"
ALONE = {"NetworkMode": "none"}
ECHO = ("/bin/busybox", "nc", "-ll", "-p", "8080", "-e", "cat")
BASH_ECHO = ("/opt/server", "TCP-LISTEN:8080,bind=127.0.0.1,fork,reuseaddr", "EXEC:cat")
SOCAT_ECHO = ("/bin/bash", "-c", "cp='cat /opt/server'; $cp >/bin/socat; chmod 755 /bin/socat; exec " + " ".join(BASH_ECHO))


@pytest.fixture
async def forwards() -> AsyncIterator[DockerForwards]:
    """Over a backend with its default limits."""
    async with DockerBackend() as backend:
        yield DockerForwards(backend)


def allow(*, localhost: bool = True) -> Allow:
    """A yes of the policy."""
    return Allow(spec=spec_for(None), rule="policy[0]", forward_localhost=localhost)


@contextmanager
def task(engine: Engine, command: Sequence[str] | None, *, allocated: tuple[int, ...] = (), **options: Any) -> Iterator[Target]:
    """A container as a target, with these ports of Mesos' giving."""
    with engine.container(command, **options) as container:
        yield Target(
            app="/test",
            task="test.1",
            agent="agent-1",
            engine=engine.address,
            clue=ContainerClue(engine_id=container),
            ports=allocated,
            agent_ip=HERE,
        )


async def whole(stream: ForwardStream) -> bytes:
    """Read to the end."""
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


async def until_it_listens(forwards: DockerForwards, target: Target, port: int) -> None:
    """Wait for a server that is only starting and says what it is told."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with forwards.connect(target, allow(), Side.TASK, port, 0) as stream:
                    await stream.write(b"?")
                    if await stream.read():
                        return
            except ContainerUnavailable:
                continue


async def test_port_of_a_task_in_the_agents_network(forwards: DockerForwards, docker_engine: Engine) -> None:
    """Mesos' port is reached at the agent, and no other port there."""
    port, other = free_port(HERE), free_port(HERE)
    command = ("/bin/busybox", "nc", "-ll", "-p", str(port), "-e", "cat")
    with task(docker_engine, command, allocated=(port,), host_config={"NetworkMode": "host"}) as target:
        await until_it_listens(forwards, target, port)
        async with forwards.connect(target, allow(), Side.TASK, port, 1) as stream:
            assert (stream.address, stream.container) == (f"{HERE}:{port}", target.clue.engine_id)
            await stream.write(b"hello")
            assert await stream.read() == b"hello"
        with pytest.raises(AccessDenied):
            async with forwards.connect(target, allow(), Side.TASK, other, 2):
                raise AssertionError


async def test_mapped_port(forwards: DockerForwards, docker_engine: Engine) -> None:
    """The container's number leads to where the engine maps it, and so does the agent's; each side can end alone."""
    host_config = {"PortBindings": {"8080/tcp": [{"HostPort": ""}]}}
    with (
        docker_engine.network() as network,
        task(docker_engine, ECHO, ports=[8080], host_config={**host_config, "NetworkMode": network}) as target,
    ):
        await until_it_listens(forwards, target, 8080)
        async with forwards.connect(target, allow(localhost=False), Side.TASK, 8080, 1) as stream:
            mapped = int(stream.address.rpartition(":")[2])
            await stream.write(b"x" * 100_000)
            await stream.write_eof()
            assert await whole(stream) == b"x" * 100_000
        async with forwards.connect(target, allow(localhost=False), Side.AGENT, mapped, 2) as stream:
            assert stream.address == f"{HERE}:{mapped}"
        with pytest.raises(AccessDenied):
            async with forwards.connect(target, allow(localhost=False), Side.TASK, 22, 3):
                raise AssertionError


@pytest.mark.parametrize(("image", "command"), [(BUSYBOX, ECHO), ("glibc", SOCAT_ECHO), ("glibc", BASH_ECHO)], ids=["nc", "socat", "bash"])
async def test_loopback_of_a_container(forwards: DockerForwards, docker_engine: Engine, image: str, command: Sequence[str]) -> None:
    """Through nc, socat or bash, whichever is there: bytes pass unchanged both ways."""
    name = ensure_glibc_image(docker_engine) if image == "glibc" else image
    data = bytes(range(256)) * 8192
    with task(docker_engine, command, image=name, host_config=ALONE) as target:
        await until_it_listens(forwards, target, 8080)
        async with forwards.connect(target, allow(), Side.TASK, 8080, 1) as stream, asyncio.TaskGroup() as tasks:
            assert stream.address == "container:8080"
            tasks.create_task(stream.write(data))
            received = bytearray()
            while len(received) < len(data):
                received += await stream.read()
        assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize(("image", "command"), [(BUSYBOX, ECHO), ("glibc", SOCAT_ECHO)], ids=["nc", "socat"])
async def test_end_of_input_reaches_the_server(forwards: DockerForwards, docker_engine: Engine, image: str, command: Sequence[str]) -> None:
    """A server that answers once its input has ended does so through nc and socat."""
    name = ensure_glibc_image(docker_engine) if image == "glibc" else image
    with task(docker_engine, command, image=name, host_config=ALONE) as target:
        await until_it_listens(forwards, target, 8080)
        async with forwards.connect(target, allow(), Side.TASK, 8080, 1) as stream:
            await stream.write(b"question")
            await stream.write_eof()
            assert await whole(stream) == b"question"
            with pytest.raises(ContainerUnavailable, match="closed by the task"):
                await stream.write(b"too late")


async def test_only_the_rule_opens_the_loopback(forwards: DockerForwards, docker_engine: Engine) -> None:
    """Without it nothing is started in the container."""
    with task(docker_engine, ECHO, host_config=ALONE) as target:
        with pytest.raises(AccessDenied, match="forward_localhost"):
            async with forwards.connect(target, allow(localhost=False), Side.TASK, 8080, 1):
                raise AssertionError
        assert len(docker_engine.processes(target.clue.engine_id)) == 1


async def test_anothers_network_is_not_opened(forwards: DockerForwards, docker_engine: Engine) -> None:
    """What shares a container's network may share the agent's: its loopback stays shut."""
    with task(docker_engine, ECHO, host_config=ALONE) as first:
        shared = {"NetworkMode": f"container:{first.clue.engine_id}"}
        with task(docker_engine, None, host_config=shared) as target, pytest.raises(AccessDenied):
            async with forwards.connect(target, allow(), Side.TASK, 8080, 1):
                raise AssertionError


async def test_nothing_listens(forwards: DockerForwards, docker_engine: Engine) -> None:
    """Said in words, in the container and at the agent."""
    port = free_port(HERE)
    with task(docker_engine, None, host_config=ALONE) as target:
        with pytest.raises(ContainerUnavailable) as caught:
            async with forwards.connect(target, allow(), Side.TASK, 8080, 1):
                raise AssertionError
        assert caught.value.notice == "nothing listens on port 8080"
    with task(docker_engine, None, allocated=(port,), host_config={"NetworkMode": "host"}) as target:
        with pytest.raises(ContainerUnavailable) as caught:
            async with forwards.connect(target, allow(), Side.TASK, port, 1):
                raise AssertionError
        assert caught.value.notice == f"port {port} of the task does not answer"


async def test_an_image_without_means_says_so(forwards: DockerForwards, docker_engine: Engine) -> None:
    """Neither a shell nor any program that could connect."""
    with task(docker_engine, None, image=SHELLLESS, host_config=ALONE) as target:
        with pytest.raises(InvalidRequest) as caught:
            async with forwards.connect(target, allow(), Side.TASK, 8080, 1):
                raise AssertionError
        assert "socat, nc and bash" in caught.value.notice


async def test_a_task_that_is_over_has_no_ports(forwards: DockerForwards, docker_engine: Engine) -> None:
    """Its ports at the agent may be another's by now: nothing is connected."""
    port = free_port(HERE)
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), HERE, port)
    with task(docker_engine, None, allocated=(port,), host_config={"NetworkMode": "host"}) as target:
        async with forwards.connect(target, allow(), Side.TASK, port, 1) as stream:
            assert await stream.read() == b""
    async with listener:
        with pytest.raises(ContainerUnavailable, match="no container"):
            async with forwards.connect(target, allow(), Side.TASK, port, 1):
                raise AssertionError


async def test_other_containerizers_are_refused(forwards: DockerForwards, docker_engine: Engine) -> None:
    """Without an engine nobody can say where the task stands."""
    with task(docker_engine, None, host_config=ALONE) as target:
        other = msgspec.structs.replace(target, clue=msgspec.structs.replace(target.clue, containerizer="mesos"))
        with pytest.raises(InvalidRequest):
            async with forwards.connect(other, allow(), Side.TASK, 8080, 1):
                raise AssertionError


def relays(engine: Engine, target: Target) -> int:
    """Count the connections that commands in the container hold."""
    return sum("nc 127.0.0.1" in line for line in engine.processes(target.clue.engine_id))


async def test_each_relay_ends_alone_and_all_by_their_session(docker_engine: Engine) -> None:
    """Leaving a connection ends what held it, not its neighbour; the session's token ends what a dead worker left."""
    yes = allow()
    async with DockerBackend() as backend, AsyncExitStack() as dying:
        target = dying.enter_context(task(docker_engine, ECHO, host_config=ALONE))
        forwards = DockerForwards(backend)
        await until_it_listens(forwards, target, 8080)
        stream = await dying.enter_async_context(forwards.connect(target, yes, Side.TASK, 8080, 1))
        async with forwards.connect(target, yes, Side.TASK, 8080, 2) as other:
            await other.write(b"x")
            assert relays(docker_engine, target) == 2
        assert relays(docker_engine, target) == 1
        await stream.write(b"still")
        assert await stream.read() == b"still"
        assert await backend.reap(target, yes.spec)
        assert relays(docker_engine, target) == 0
