"""Usage on its timer, over engines that answer, fail, hang and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from octopus.core.cluster import Cluster
from octopus.core.errors import ContainerUnavailable
from octopus.core.inventory import RUNNING, Agent, MarathonSnapshot, MarathonTask, Snapshot, Task
from octopus.core.resources import Amounts
from octopus.core.types import ContainerClue
from octopus.core.usage import Reading
from octopus.fleet.metrics import Source
from octopus.fleet.usage import UsageReport, UsageSampler
from octopus.measuring import kept
from tests.unit.test_figures import scraped

NEEDS = Amounts(1000, 64_000)


def cluster(agents: int) -> Cluster:
    """Return agents with a task each: of /web/front on the even ones, of /ops/tool on the odd ones; one is not confirmed."""
    known = Cluster(marathon=True)
    tasks = [Task(f"t{at}", "fw", f"S{at}", RUNNING, containerizer="docker", amounts=NEEDS) for at in range(agents)]
    stranger = Task("stranger.x", "fw", "S0", RUNNING, containerizer="docker")
    listed = [Agent(f"S{at}", f"host-{at}") for at in range(agents)]
    known.replace(Snapshot(agents=listed, frameworks={"fw": "marathon"}, tasks=[*tasks, stranger]))
    told = {f"t{at}": MarathonTask("/ops/tool" if at % 2 else "/web/front", f"S{at}") for at in range(agents)}
    known.replace_marathon(MarathonSnapshot(tasks=told, framework="fw"))
    return known


class Engines:
    """Engines that count half a CPU second each second; ``hang`` and ``fail`` hold agents' ids."""

    def __init__(self) -> None:
        self.hang: set[str] = set()
        self.fail: set[str] = set()
        self.asked: list[str] = []
        self.busy = self.most = 0
        self.clock = 0.0

    async def read(self, agent: Agent, clues: Sequence[ContainerClue]) -> Mapping[int, tuple[str, Reading]]:
        """Answer for each clue."""
        self.asked.append(agent.id)
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await asyncio.sleep(0)
            if agent.id in self.hang:
                await asyncio.Event().wait()
            if agent.id in self.fail:
                raise ContainerUnavailable(f"{agent.hostname}: down\x1b")
        finally:
            self.busy -= 1
        self.clock += 1
        read = Reading(at=self.clock, cpu=round(self.clock * 5e8), memory=1000)
        return {at: (clue.task_id, read) for at, clue in enumerate(clues)}


class Ground:
    """A sampler that reads all the time."""

    def __init__(self, sampler: UsageSampler, engines: Engines) -> None:
        self.sampler, self.engines = sampler, engines

    async def until(self, fits: Callable[[UsageReport], bool]) -> UsageReport:
        """Wait for a report."""
        async with asyncio.timeout(60):
            while (found := self.sampler.latest) is None or not fits(found):  # noqa: ASYNC110  (what it waits for is what is tested)
                await asyncio.sleep(0.005)
        return found


@asynccontextmanager
async def sampling(agents: int, served: Engines, /, **options: object) -> AsyncIterator[Ground]:
    """Read usage of so many agents."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.001
        return now

    sampler = UsageSampler(cluster(agents), served.read, clock=clock, interval=0.01, grace=0.01, **options)  # type: ignore[arg-type]
    running = asyncio.create_task(sampler.run())
    try:
        yield Ground(sampler, served)
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_usage_stands_beside_what_is_reserved() -> None:
    """By app, of tasks whose app is certain; the names and units that monitoring reads."""
    async with sampling(4, Engines()) as ground:
        await ground.until(lambda found: all(use.rated == 2 for use in found.apps.values()) and len(found.apps) == 2)
        source: Source = ground.sampler.families
        told = scraped(source)
    assert told['octopus_app_containers{app="/web/front"}'] == 2
    assert 0 < told['octopus_app_cpus_used{app="/web/front"}'] <= 1
    assert told['octopus_app_cpus_reserved{app="/web/front"}'] == 2
    assert told['octopus_app_memory_used_bytes{app="/web/front"}'] == 2000
    assert told['octopus_app_memory_reserved_bytes{app="/web/front"}'] == 128 * 1024 * 1024
    assert told['octopus_app_cpu_seconds_total{app="/ops/tool"}'] > 0
    assert told['octopus_usage_engines{state="answered"}'] == 4
    assert told['octopus_cluster_busy{resource="cpus"}'] > 0
    assert (told["octopus_usage_unmatched_tasks"], "octopus_usage_age_seconds" in told) == (0, True)


async def test_only_apps_that_count_are_asked_about() -> None:
    """Agents without one of them are left alone."""
    async with sampling(4, Engines(), apps=["/ops/**"]) as ground:
        found = await ground.until(lambda found: "/ops/tool" in found.apps)
        assert list(found.apps) == ["/ops/tool"]
        assert set(ground.engines.asked) == {"S1", "S3"}


async def test_an_engine_that_hangs_delays_no_other() -> None:
    """The others' figures come round after round; it is not asked twice at once, counts as failed after its deadline, and may come back."""
    engines = Engines()
    engines.hang, engines.fail = {"S0"}, {"S1"}
    async with sampling(6, engines, engines=2, deadline=0.2) as ground:
        found = await ground.until(lambda found: len(found.agents) == 4 and found.failed == 2)
        assert found.answered == 4
        assert engines.asked.count("S5") > engines.asked.count("S0")
        engines.hang, engines.fail = set(), set()
        found = await ground.until(lambda found: found.failed == 0 and found.answered == 6)
        assert found.apps["/web/front"].containers == 3


async def test_only_so_many_engines_are_asked_at_a_time() -> None:
    """However many there are."""
    engines = Engines()
    async with sampling(50, engines, engines=4) as ground:
        await ground.until(lambda found: len(found.agents) == 50)
    assert engines.most <= 4


async def test_a_silent_engine_does_not_look_idle() -> None:
    """Neither use nor reservation of its tasks is told."""
    engines = Engines()
    engines.fail = {"S0"}
    async with sampling(2, engines) as ground:
        found = await ground.until(lambda found: found.failed == 1 and bool(found.apps))
        assert list(found.apps) == ["/ops/tool"]


async def test_a_bug_in_the_figures_ends_nothing_else() -> None:
    """They are begun again."""
    begun, fine = 0, asyncio.Event()

    async def run() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise ZeroDivisionError
        fine.set()
        await asyncio.Event().wait()

    keeping = asyncio.create_task(kept(run, pause=0.0))
    async with asyncio.timeout(30):
        await fine.wait()
    keeping.cancel()
    await asyncio.wait([keeping])
    assert begun == 3
