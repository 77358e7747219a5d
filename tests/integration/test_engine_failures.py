"""An engine that hangs or breaks at any step: one clear error in bounded time, and nobody else held up."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from octopus.core.errors import ContainerUnavailable
from octopus.core.types import ContainerClue, EngineAddress, Exit, Target
from octopus.engine.backend import DockerBackend, EngineBackend
from octopus.engine.limits import EngineLimits
from tests.contracts import PTY, run_to_end, spec_for
from tests.fakes import FakeBackend
from tests.parts.engines import Engine
from tests.parts.proxy import Proxy, in_front_of

ALONE = {"NetworkMode": "none"}
QUICK = EngineLimits(connect=0.5, call=0.5, start=0.5, reap=0.5, idle=0.2)
STEPS = {
    "connect": b"",
    "version": rb"GET /version",
    "inspect": rb"GET \S+/containers/\w+/json",
    "stat": rb"HEAD \S+/archive",
    "create": rb"POST \S+/containers/\w+/exec ",
    "start": rb"POST \S+/exec/\w+/start",
}


@pytest.fixture
def container(docker_engine: Engine) -> Iterator[str]:
    """A container with a shell."""
    with docker_engine.container(host_config=ALONE) as container:
        yield container


@pytest.fixture
async def proxy(docker_engine: Engine) -> AsyncIterator[Proxy]:
    """A proxy in front of the engine."""
    async with in_front_of(docker_engine.address.url).serve() as proxy:
        yield proxy


@pytest.fixture
async def quick() -> AsyncIterator[DockerBackend]:
    """A backend with no patience."""
    backend = DockerBackend(QUICK)
    yield backend
    await backend.aclose()


def target_at(url: str, container: str) -> Target:
    """The target of a container on a plain engine."""
    return Target(app="/t", task="t.1", agent="agent-7", engine=EngineAddress(url=url), clue=ContainerClue(engine_id=container))


@pytest.fixture
def behind(proxy: Proxy, container: str) -> Target:
    """The container, reached through the proxy."""
    return target_at(f"http://127.0.0.1:{proxy.port}", container)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
async def test_a_hang_at_any_step_is_one_notice_that_names_the_agent(
    quick: DockerBackend, proxy: Proxy, behind: Target, docker_engine: Engine, container: str, step: bytes
) -> None:
    """The start fails in bounded time, while another engine serves its sessions."""
    proxy.hang_at = re.compile(step)
    direct = target_at(docker_engine.address.url, container)
    async with DockerBackend() as patient, asyncio.TaskGroup() as tasks:
        others = [tasks.create_task(run_to_end(patient, direct, spec_for("echo here"))) for _ in range(2)]
        with pytest.raises(ContainerUnavailable) as caught:
            await quick.start(behind, spec_for("true")).__aenter__()
        assert caught.value.notice == "the container engine of agent-7 does not answer"
        assert "agent-7" in str(caught.value)
        assert [out for out, _, _ in await asyncio.gather(*others)] == [b"here\n"] * 2


async def test_a_hang_of_the_exit_status_is_told(quick: DockerBackend, proxy: Proxy, behind: Target) -> None:
    """The output is whole, the status cannot be known: that is an error, never 0."""
    proxy.hang_at = re.compile(rb"GET \S+/exec/\w+/json")
    async with quick.start(behind, spec_for("echo all")) as stream:
        assert [part.data async for part in stream.output()] == [b"all\n"]
        with pytest.raises(ContainerUnavailable, match="exec inspect"):
            await stream.wait()


async def test_a_freeze_in_mid_stream_lets_the_caller_leave(quick: DockerBackend, proxy: Proxy, behind: Target) -> None:
    """Leaving is bounded though nothing can be cleaned up."""
    async with quick.start(behind, spec_for(None, pty=PTY)) as stream:
        await anext(stream.output())
        proxy.freeze()
        await stream.resize(PTY.size)
    assert proxy.port


async def test_a_cut_connection_is_an_error_not_an_end(quick: DockerBackend, proxy: Proxy, behind: Target) -> None:
    """A reset in mid-stream is never taken for the command's end."""
    async with quick.start(behind, spec_for("echo ready; sleep 1000")) as stream:
        output = stream.output()
        await anext(output)
        proxy.cut()
        with pytest.raises(ContainerUnavailable, match="output"):
            await anext(output)
        with pytest.raises(ContainerUnavailable, match="output"):
            await stream.wait()


async def test_an_engine_is_let_go_when_idle_and_found_again(quick: DockerBackend, behind: Target) -> None:
    """Its threads and connections are released; the next session takes new ones."""
    assert (await run_to_end(quick, behind, spec_for("exit 3")))[2] == Exit(status=3)
    engine = await quick.engines.get("agent-7", behind.engine)
    while not engine.idle:  # noqa: ASYNC110  nothing tells when it lets go
        await asyncio.sleep(0)
    assert (await run_to_end(quick, behind, spec_for("exit 4")))[2] == Exit(status=4)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{not json",
        b'HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n{"ApiVersion": "latest"}',
        b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"ApiVersion": "1.18"}',
        b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"ApiVersion": ',
        b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"ApiVersion": "1.\xff"}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b'{"":' * 100_000,
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b" " * 2_000_000,
    ],
)
async def test_garbage_is_the_engines_fault(answer: bytes) -> None:
    """Whatever answers there, it becomes the one notice."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # a connection that is made beside the call to start the command on is dropped without a word
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, DockerBackend(EngineLimits(call=2, body=1_000_000)) as backend:
        with pytest.raises(ContainerUnavailable) as caught:
            await backend.start(target_at(f"http://127.0.0.1:{port}", "c0ffee"), spec_for("true")).__aenter__()
        assert caught.value.notice == "the container engine of agent-7 does not answer"


@pytest.mark.parametrize(
    "url",
    ["", "ftp://h", "https://127.0.0.1:1", "http://", "http://h:port", "unix:///nowhere/docker.sock", "http://127.0.0.1:1", "ssh://h"],
)
async def test_an_address_that_cannot_be_used_is_told(url: str) -> None:
    """A wrong URL, missing files, nobody there: the same notice."""
    async with DockerBackend() as backend:
        with pytest.raises(ContainerUnavailable, match="agent-7"):
            await backend.start(target_at(url, "c0ffee"), spec_for("true")).__aenter__()


async def test_agents_that_share_an_engine_are_each_called_by_their_name() -> None:
    """One URL for all of them is how a small cluster begins."""
    target = target_at("http://127.0.0.1:1", "c0ffee")
    async with DockerBackend() as backend:
        for agent in ("agent-7", "agent-8", "agent-7"):
            with pytest.raises(ContainerUnavailable, match=agent):
                await backend.start(msgspec.structs.replace(target, agent=agent), spec_for("true")).__aenter__()


async def test_nobody_there_is_not_told_as_slow() -> None:
    """The operator reads what the system said, not that no answer came in time."""
    async with DockerBackend() as backend:
        with pytest.raises(ContainerUnavailable, match="Connection refused"):
            await backend.start(target_at("http://127.0.0.1:1", "c0ffee"), spec_for("true")).__aenter__()


async def test_sessions_that_end_together_share_a_sweep(proxy: Proxy, behind: Target) -> None:
    """The engine starts few execs a second: eight sessions of one container need fewer than eight more."""
    together = asyncio.Barrier(8)

    async def session(backend: DockerBackend) -> None:
        async with backend.start(behind, spec_for("echo ready; exec sleep 1000")) as stream:
            await anext(stream.output())
            await together.wait()

    async with DockerBackend() as backend, asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(session(backend))
    created = [line for line in proxy.requests if re.search(rb"/containers/\w+/exec ", line)]
    assert 8 < len(created) <= 8 + 3


async def test_a_sweep_that_fails_is_tried_again(
    quick: DockerBackend, proxy: Proxy, behind: Target, docker_engine: Engine, container: str
) -> None:
    """An engine that hangs while a session is cleaned up, and comes back, is asked again: then nothing is left."""
    async with quick.start(behind, spec_for("echo ready; exec sleep 1234")) as stream:
        await anext(stream.output())
        proxy.hang_at = re.compile(rb"POST \S+/exec")
    assert "sleep 1234" in docker_engine.processes(container)
    proxy.thaw()
    while "sleep 1234" in await asyncio.to_thread(docker_engine.processes, container):
        pass


async def test_what_is_younger_than_a_session_that_ended_by_itself_is_swept(proxy: Proxy, behind: Target) -> None:
    """A background child makes ps the reason for a second exec."""
    async with DockerBackend() as backend:
        with_leftover = await run_to_end(backend, behind, spec_for("sleep 1000 >/dev/null 2>&1 &"))
        assert with_leftover[2] == Exit(status=0)
    created = [line for line in proxy.requests if re.search(rb"/containers/\w+/exec ", line)]
    assert len(created) == 2


async def test_each_target_goes_to_the_backend_of_its_containerizer() -> None:
    """And one that nobody knows is refused."""
    docker, mesos = FakeBackend(container="in docker"), FakeBackend(container="in mesos")
    async with EngineBackend(docker, mesos) as backend:
        for kind, container in (("docker", "in docker"), ("mesos", "in mesos")):
            target = Target(app="/t", task="t", agent="a", engine=EngineAddress(url=""), clue=ContainerClue(containerizer=kind))
            async with backend.start(target, spec_for("true")) as stream:
                assert stream.container == container
            assert await backend.reap(target, spec_for("true"))
        other = Target(app="/t", task="t", agent="a", engine=EngineAddress(url=""), clue=ContainerClue(containerizer="rkt"))
        with pytest.raises(ContainerUnavailable, match="rkt"):
            await backend.start(other, spec_for("true")).__aenter__()
    assert docker.closed
    assert mesos.closed
