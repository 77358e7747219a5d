"""Logs of real containers, over every way to an engine."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

import msgspec
import pytest

from octopus.core.container_log import LogQuery
from octopus.core.errors import ContainerUnavailable, InvalidRequest
from octopus.core.types import ContainerClue, EngineAddress, Output, Target
from octopus.engine.backend import DockerBackend, EngineBackend
from octopus.engine.limits import EngineLimits
from octopus.engine.mesos_exec import MesosBackend
from tests.parts.engines import Engine
from tests.parts.proxy import in_front_of
from tests.parts.transports import ALONE, TRANSPORTS, reached, target_of

LINES = b"".join(b"line %d\n" % number for number in range(1, 6))
SAYS = ["/bin/sh", "-c", "for n in 1 2 3 4 5; do echo line $n; done; echo wrong >&2; exec sleep 1000"]


@dataclass
class Talker:
    """A container that has said five lines and one on stderr."""

    engine: Engine
    container: str
    target: Target

    def say(self, text: str) -> None:
        """Have it say one line more."""
        assert self.engine.run(self.container, "/bin/sh", "-c", f"echo {text} >/proc/1/fd/1") == (0, b"")


@pytest.fixture
async def backend() -> AsyncIterator[DockerBackend]:
    """A backend with its default limits."""
    async with DockerBackend() as backend:
        yield backend


@pytest.fixture(params=TRANSPORTS)
async def talker(request: pytest.FixtureRequest, backend: DockerBackend) -> AsyncIterator[Talker]:
    """A talker, behind each kind of transport in turn, that has said it all."""
    engine, address = reached(request)
    with engine.container(SAYS, host_config=ALONE) as container:
        target = target_of(container, address)
        while b"".join(await read(backend, target, LogQuery())).count(b"\n") < 6:
            pass
        yield Talker(engine, container, target)


@pytest.fixture
def here(docker_engine: Engine) -> Iterator[Talker]:
    """One behind the unix socket, which may still be talking."""
    with docker_engine.container(SAYS, host_config=ALONE) as container:
        yield Talker(docker_engine, container, target_of(container, docker_engine.address))


async def read(backend: DockerBackend, target: Target, query: LogQuery) -> tuple[bytes, bytes]:
    """Return what a log holds of standard output and of standard error."""
    async with backend.logs(target, query) as log:
        assert log.container == target.clue.engine_id
        outputs = [output async for output in log.output()]
    return b"".join(one.data for one in outputs if not one.stderr), b"".join(one.data for one in outputs if one.stderr)


async def to_its_end(outputs: AsyncIterator[Output]) -> None:
    """Read what is left."""
    async for _ in outputs:
        pass


async def test_the_log_is_read_over_every_transport(backend: DockerBackend, talker: Talker) -> None:
    """Whole, each stream apart; of the last lines those that were asked for; none that are older than was asked."""
    assert await read(backend, talker.target, LogQuery(lines=None)) == (LINES, b"wrong\n")
    assert b"".join(await read(backend, talker.target, LogQuery(lines=2))).count(b"\n") == 2
    assert await read(backend, talker.target, LogQuery(since=86_400)) == (LINES, b"wrong\n")
    async with DockerBackend(now=lambda: 4e9) as later:
        assert await read(later, talker.target, LogQuery(since=60)) == (b"", b"")
    stamped, _ = await read(backend, talker.target, LogQuery(lines=6, timestamps=True))
    assert [line.partition(b" ")[2] for line in stamped.splitlines(keepends=True)] == LINES.splitlines(keepends=True)
    assert stamped.startswith(b"20")


async def test_a_follower_sees_each_line_and_the_end_of_the_container(backend: DockerBackend, talker: Talker) -> None:
    """What comes is there at once; when the container ends so does its log."""
    async with backend.logs(talker.target, LogQuery(follow=True)) as log, aclosing(log.output()) as outputs:
        seen = b""
        while seen.count(b"\n") < 6:
            seen += (await anext(outputs)).data
        for text in ("one", "two"):
            talker.say(text)
            assert (await anext(outputs)).data == f"{text}\n".encode()
        with talker.engine.api() as api:
            api.kill(talker.container)
        assert [output async for output in outputs] == []


async def test_a_megabyte_of_lines_is_whole(backend: DockerBackend, docker_engine: Engine) -> None:
    """An engine sends each line as a chunk and a frame of its own: none is lost or joined wrongly, on a terminal neither."""
    word = "0123456789" * 4
    says = ["/bin/sh", "-c", f"i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo {word} $i; done; read -r x"]
    expected = b"".join(f"{word} {number}\n".encode() for number in range(1, 20_001))
    for tty, whole in ((False, expected), (True, expected.replace(b"\n", b"\r\n"))):
        with docker_engine.container(says, host_config=ALONE, tty=tty, stdin_open=True) as container:
            target, seen = target_of(container, docker_engine.address), b""
            async with backend.logs(target, LogQuery(follow=True, lines=None)) as log, aclosing(log.output()) as outputs:
                while len(seen) < len(whole):
                    seen += (await anext(outputs)).data
            assert seen == whole


async def test_a_driver_that_keeps_nothing_is_told(backend: DockerBackend, docker_engine: Engine) -> None:
    """Where logs go elsewhere there is a sentence, not an empty log."""
    none = {**ALONE, "LogConfig": {"Type": "none", "Config": {}}}
    with docker_engine.container(SAYS, host_config=none) as container, pytest.raises(InvalidRequest) as caught:
        await read(backend, target_of(container, docker_engine.address), LogQuery())
    assert "logging driver" in caught.value.notice


async def test_a_connection_that_breaks_is_no_end_of_the_log(backend: DockerBackend, here: Talker) -> None:
    """Cut in the middle, or closed as if all was well: the reader learns that there may be more."""
    async with in_front_of(here.target.engine.url).serve() as proxy:
        target = msgspec.structs.replace(here.target, engine=EngineAddress(url=f"http://127.0.0.1:{proxy.port}"))
        for end in (proxy.cut, proxy.close):
            async with backend.logs(target, LogQuery(follow=True)) as log, aclosing(log.output()) as outputs:
                await anext(outputs)
                end()
                with pytest.raises(ContainerUnavailable):
                    await to_its_end(outputs)


async def test_an_engine_that_does_not_answer_is_given_up(here: Talker) -> None:
    """Who does not follow gets an answer in time, if only this one."""
    async with in_front_of(here.target.engine.url).serve() as proxy, DockerBackend(EngineLimits(call=1.0)) as backend:
        target = msgspec.structs.replace(here.target, engine=EngineAddress(url=f"http://127.0.0.1:{proxy.port}"))
        proxy.hang_at = re.compile(b"/logs")
        with pytest.raises(ContainerUnavailable):
            await read(backend, target, LogQuery())


async def test_a_container_that_is_gone_has_no_log(backend: DockerBackend, docker_engine: Engine) -> None:
    """As with commands."""
    with docker_engine.container(SAYS, host_config=ALONE) as container:
        target = target_of(container, docker_engine.address)
    with pytest.raises(ContainerUnavailable):
        await read(backend, target, LogQuery())


async def test_mesos_own_containers_keep_theirs_in_the_sandbox(backend: DockerBackend, here: Talker) -> None:
    """The sentence says where."""
    clue = ContainerClue(containerizer="mesos")
    mesos = EngineBackend(backend, MesosBackend())
    with pytest.raises(InvalidRequest) as caught:
        mesos.logs(msgspec.structs.replace(here.target, clue=clue), LogQuery())
    assert "sandbox" in caught.value.notice
    async with mesos.logs(here.target, LogQuery()) as log:
        assert log.container == here.container
