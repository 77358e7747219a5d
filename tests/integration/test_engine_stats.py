"""What containers use, read from real engines, one of which hangs; and answers of engines of all ages."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from octopus.core.cluster import Cluster
from octopus.core.errors import ContainerUnavailable
from octopus.core.inventory import RUNNING, Agent, MarathonSnapshot, MarathonTask, Snapshot, Task
from octopus.core.resources import Amounts
from octopus.core.types import ContainerClue, EngineAddress
from octopus.engine.identify import matched
from octopus.engine.limits import EngineLimits
from octopus.engine.stats import EngineStats, Stats, reading
from octopus.engine.wire import Listed, Mount
from octopus.fleet.usage import UsageReport, UsageSampler
from tests.parts.engines import Engine

BUSY = ["sh", "-c", "while :; do :; done"]


@pytest.fixture
async def stats() -> AsyncIterator[EngineStats]:
    """A reader of engines that waits long, since the machine may be busy."""
    one = EngineStats(EngineLimits(call=60), clock=time.time)
    yield one
    await one.aclose()


def sandbox(tmp_path: Path, task: str) -> tuple[Path, ContainerClue]:
    """Make a task's sandbox as an agent does, and return its clue as of a Mesos that does not say the container."""
    folder = tmp_path / f"slaves/m-S0/frameworks/fw/executors/{task}/runs/08b1b972-b5e5-4f63-9c55-4133894bb591"
    folder.mkdir(parents=True)
    return folder, ContainerClue(agent_id="m-S0", framework_id="fw", task_id=task)


async def test_a_busy_container_counts(docker_engine: Engine, stats: EngineStats, tmp_path: Path) -> None:
    """Found by its sandbox, as a session would find it; its CPU time grows; a task without a container is left out."""
    folder, clue = sandbox(tmp_path, "busy.1")
    other = ContainerClue(agent_id="m-S0", framework_id="fw", task_id="none.1")
    binds = {"NetworkMode": "none", "Binds": [f"{folder}:/mnt/mesos/sandbox"]}
    with docker_engine.container(BUSY, host_config=binds, environment={"MESOS_TASK_ID": "none.1"}) as container:
        first = await stats.read("agent", docker_engine.address, [other, clue])
        assert {at: name for at, (name, _) in first.items()} == {1: container}
        async with asyncio.timeout(60):
            while True:
                after = await stats.read("agent", docker_engine.address, [other, clue])
                if after[1][1].cpu > first[1][1].cpu and after[1][1].at > first[1][1].at:
                    break
        assert after[1][1].memory > 0


async def test_containers_of_a_plain_engine(docker_engine: Engine, stats: EngineStats) -> None:
    """By their id."""
    with docker_engine.container(["sleep", "1000"], host_config={"NetworkMode": "none"}) as container:
        found = await stats.read("agent", docker_engine.address, [ContainerClue(engine_id=container), ContainerClue(engine_id="gone")])
        assert {at: name for at, (name, _) in found.items()} == {0: container}


async def test_an_engine_that_is_not_there(stats: EngineStats) -> None:
    """It is said."""
    with pytest.raises(ContainerUnavailable):
        await stats.read("agent", EngineAddress(url="unix:///no/such/socket"), [])


async def test_one_of_two_engines_hangs(docker_engine: Engine, stats: EngineStats, tmp_path: Path) -> None:
    """The figures of the other come; the one that takes connections and never answers counts as failed."""
    folder, clue = sandbox(tmp_path, "busy.1")
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    known = Cluster(marathon=True)
    tasks = [Task(f"busy.{at}", "fw", f"m-S{at - 1}", RUNNING, containerizer="docker", amounts=Amounts(1000, 64_000)) for at in (1, 2)]
    agents = [Agent("m-S0", "works"), Agent("m-S1", "hangs")]
    known.replace(Snapshot(agents=agents, frameworks={"fw": "marathon"}, tasks=tasks))
    told = {task.id: MarathonTask("/busy", task.agent) for task in tasks}
    known.replace_marathon(MarathonSnapshot(tasks=told, framework="fw"))
    hanging = EngineStats(EngineLimits(call=1), clock=time.time)

    async def read(agent: Agent, clues: object) -> object:
        if agent.hostname == "hangs":
            return await hanging.read(agent.hostname, EngineAddress(url=f"http://127.0.0.1:{port}"), [clue])
        return await stats.read(agent.hostname, docker_engine.address, [clue])

    sampler = UsageSampler(known, read, clock=time.time, interval=0.2, deadline=60)  # type: ignore[arg-type]
    binds = {"NetworkMode": "none", "Binds": [f"{folder}:/mnt/mesos/sandbox"]}
    with docker_engine.container(BUSY, host_config=binds):
        running = asyncio.create_task(sampler.run())
        found: UsageReport | None = None
        async with asyncio.timeout(90):
            while found is None or not found.failed or not found.apps.get("/busy") or not found.apps["/busy"].cpus:
                await asyncio.sleep(0.05)
                found = sampler.latest
        running.cancel()
        await asyncio.wait([running])
    await hanging.aclose()
    silent.close()
    assert (found.apps["/busy"].containers, found.apps["/busy"].reserved.cpus, found.answered, found.failed) == (1, 1000, 1, 1)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b'{"memory_stats":{"usage":100,"stats":{"inactive_file":30,"cache":60}}}', (70, 0, 0, 0, 0)),
        (b'{"memory_stats":{"usage":100,"stats":{"total_inactive_file":20,"cache":60}}}', (80, 0, 0, 0, 0)),
        (b'{"memory_stats":{"usage":100,"stats":{"cache":60}},"networks":null}', (40, 0, 0, 0, 0)),
        (b'{"networks":{"eth0":{"rx_bytes":1,"tx_bytes":2},"eth1":{"rx_bytes":10,"tx_bytes":20}}}', (0, 11, 22, 0, 0)),
        (
            b'{"blkio_stats":{"io_service_bytes_recursive":[{"major":8,"op":"Read","value":3},{"op":"read","value":4},{"op":"Write","value":5},'
            b'{"op":"Total","value":12}]}}',
            (0, 0, 0, 7, 5),
        ),
        (b'{"blkio_stats":{"io_service_bytes_recursive":null}}', (0, 0, 0, 0, 0)),
    ],
)
def test_answers_of_all_ages(answer: bytes, expected: tuple[int, ...]) -> None:
    """cgroup v1 and v2, with and without networks and devices."""
    found = reading(msgspec.json.decode(answer, type=Stats), 2e9)
    assert found is not None
    assert (found.at, found.memory, found.received, found.sent, found.read, found.written) == (2e9, *expected)


def test_a_container_that_has_ended_is_no_reading() -> None:
    """Its time is the year 1; a time that cannot be read is ours."""
    assert reading(Stats(read="0001-01-01T00:00:00Z"), 2e9) is None
    found = reading(Stats(read="2026-01-02T03:04:05.123456789Z"), 2e9)
    assert found is not None
    assert found.at == pytest.approx(1767323045.123456)


def test_containers_are_matched_by_what_the_agent_mounted() -> None:
    """Not by names; a link says the container only; the executor's own container is not the task's."""

    def listed(name: str, source: str) -> Listed:
        return Listed(id=name, names=(f"/{name}",), mounts=(Mount(type="bind", source=source, destination="/mnt/mesos/sandbox"),))

    run = "/w/slaves/S0/frameworks/fw/executors/{}/runs/{}"
    there = [
        listed("a", run.format("t1", "c1")),
        listed("a.executor", run.format("t1", "c1")),
        listed("b", "/w/docker/links/c2"),
        Listed(id="c", mounts=None),
    ]
    clues = [
        ContainerClue(agent_id="S0", framework_id="fw", task_id="t1"),
        ContainerClue(agent_id="S0", framework_id="fw", task_id="t:2", container_id="c2"),
        ContainerClue(agent_id="S0", framework_id="other", task_id="t1"),
        ContainerClue(agent_id="S0", framework_id="fw", task_id="t3"),
    ]
    assert matched(clues, there) == {0: "a", 1: "b"}
