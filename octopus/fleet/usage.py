"""What apps really use, read from every agent's engine on a timer. An engine that is slow or dead delays no other.

Engines that failed last time wait for places of their own. What comes late counts in the next round: nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import msgspec
import structlog

from octopus.core.cluster import Cluster
from octopus.core.errors import OctopusError, printable
from octopus.core.globs import Glob
from octopus.core.inventory import Agent, Task
from octopus.core.types import ContainerClue
from octopus.core.usage import Measured, Reading, Spent, UsageBook, Use
from octopus.fleet.figures import Family, labelled, single

Stats = Callable[[Agent, Sequence[ContainerClue]], Awaitable[Mapping[int, tuple[str, Reading]]]]
"""Reads the containers of one agent: container and Reading by the clue's place. Raises ContainerUnavailable."""

SUSPECTS = 8
"""Engines that failed last time and are asked at a time."""

GRACE = 5.0
"""Seconds that a round waits for engines before it is told."""

SLICE = 2000
_log = structlog.get_logger(__name__)


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What apps (by id) and agents (by id) use, as of ``at`` (seconds since 1970).

    ``answered`` and ``failed`` count engines in their last reading, ``unmatched`` tasks of those that answered without a container.
    """

    at: float
    apps: dict[str, Use] = {}
    spent: dict[str, Spent] = {}
    agents: dict[str, Use] = {}
    answered: int = 0
    failed: int = 0
    unmatched: int = 0


class UsageSampler:
    """Reads usage every ``interval`` seconds, of at most ``engines`` at a time, each within ``deadline`` seconds in all.

    ``apps`` are globs over those that count. ``clock`` gives seconds since 1970.
    """

    def __init__(
        self,
        cluster: Cluster,
        stats: Stats,
        *,
        clock: Callable[[], float],
        interval: float = 60.0,
        engines: int = 32,
        deadline: float = 30.0,
        grace: float = GRACE,
        apps: Sequence[str] = ("/**",),
    ) -> None:
        self.latest: UsageReport | None = None
        self._cluster = cluster
        self._stats = stats
        self._clock = clock
        self._interval = interval
        self._deadline = deadline
        self._grace = min(grace, interval)
        self._apps = [Glob(each) for each in apps]
        self._healthy = asyncio.Semaphore(engines)
        self._suspect = asyncio.Semaphore(SUSPECTS)
        self._book = UsageBook()
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._failing: dict[str, str] = {}
        self._unmatched: dict[str, int] = {}

    async def run(self) -> None:
        """Read for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._round(group)
                await asyncio.sleep(max(0.0, self._interval - self._grace))

    async def _round(self, group: asyncio.TaskGroup) -> None:
        wanted = await self._tasks()
        for gone in set(self._failing) - set(wanted):
            del self._failing[gone]
        self._unmatched = {agent: count for agent, count in self._unmatched.items() if agent in wanted}
        for agent_id, tasks in wanted.items():
            agent = self._cluster.agents.get(agent_id)
            if agent is not None and agent_id not in self._reading:
                self._reading[agent_id] = group.create_task(self._sample(agent, tasks))
        # What is being read when the grace is over goes on, into the next round's figures.
        await asyncio.sleep(self._grace)
        self._tell(wanted)

    async def _tasks(self) -> dict[str, list[Task]]:
        """Return the running tasks that may have a container, by agent; the app must be certain, as for entering it."""
        found: dict[str, list[Task]] = {}
        counts: dict[str, bool] = {}
        for number, task in enumerate(self._cluster.tasks):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            if not (task.running and task.confirmed):
                continue
            wanted = counts.get(task.app)
            if wanted is None:
                wanted = counts[task.app] = any(glob.matches(task.app) for glob in self._apps)
            if wanted:
                found.setdefault(task.agent, []).append(task)
        return found

    async def _sample(self, agent: Agent, tasks: Sequence[Task]) -> None:
        try:
            async with self._suspect if agent.id in self._failing else self._healthy:
                await self._read(agent, tasks)
        finally:
            del self._reading[agent.id]

    async def _read(self, agent: Agent, tasks: Sequence[Task]) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                found = await self._stats(agent, [task.clue for task in tasks])
        except (OctopusError, TimeoutError) as error:
            why = printable(str(error) or f"no answer within {self._deadline:g} s")
            if agent.id not in self._failing:
                _log.warning("the usage of an agent cannot be read", agent=printable(agent.hostname), error=why)
            self._failing[agent.id] = why
            return
        self._failing.pop(agent.id, None)
        measured = [
            Measured(container=container, app=tasks[at].app, reserved=tasks[at].amounts, reading=reading)
            for at, (container, reading) in found.items()
        ]
        docker = sum(task.containerizer == "docker" or bool(task.engine) for task in tasks)
        self._unmatched[agent.id] = max(0, docker - len(measured))
        self._book.take(agent.id, measured, self._clock())

    def _tell(self, wanted: Mapping[str, object]) -> None:
        now = self._clock()
        self._book.forget(now - 2 * self._interval - self._deadline, now)
        agents = self._book.by_agent()
        self.latest = UsageReport(
            at=now,
            apps=self._book.by_app(),
            spent=self._book.spent(),
            agents=agents,
            answered=len(agents.keys() & wanted.keys() - self._failing.keys()),
            failed=len(self._failing),
            unmatched=sum(self._unmatched.values()),
        )

    def families(self) -> Iterator[Family]:
        """Yield the latest figures."""
        if self.latest is not None:
            yield from usage_families(self.latest, self._clock())


def usage_families(found: UsageReport, now: float) -> Iterator[Family]:
    """Yield what apps use beside what they have reserved, and how much of the cluster was read."""
    yield single("usage_age_seconds", max(0.0, now - found.at), "seconds since usage was summed up")
    yield labelled("usage_engines", "state", {"answered": found.answered, "failed": found.failed}, "agents' engines by their last reading")
    yield single("usage_unmatched_tasks", found.unmatched, "Docker tasks of engines that answered, without a container")
    apps = found.apps.items()
    yield labelled("app_containers", "app", {app: use.containers for app, use in apps}, "containers that were read")
    yield labelled("app_cpus_used", "app", {app: use.cpus for app, use in apps if use.rated}, "CPUs that they use")
    yield labelled("app_cpus_reserved", "app", {app: use.reserved.cpus / 1000 for app, use in apps}, "CPUs that their tasks reserve")
    yield labelled("app_memory_used_bytes", "app", {app: use.memory for app, use in apps}, "memory that they use, without the page cache")
    reserved = {app: use.reserved.mem * 1024 * 1024 / 1000 for app, use in apps}
    yield labelled("app_memory_reserved_bytes", "app", reserved, "memory that their tasks reserve")
    for name, field, text in _TOTALS:
        values = {app: float(getattr(spent, field)) for app, spent in found.spent.items()}
        yield labelled(f"app_{name}_total", "app", values, text, counter=True)
    busy = {
        "cpus": sum(use.cpus for use in found.agents.values()),
        "mem": sum(use.memory for use in found.agents.values()) / (1024 * 1024),
    }
    yield labelled("cluster_busy", "resource", busy if found.agents else {}, "really used by the containers that were read")


_TOTALS = (
    ("cpu_seconds", "cpu", "CPU time of its containers"),
    ("network_received_bytes", "received", "network, in"),
    ("network_sent_bytes", "sent", "network, out"),
    ("block_read_bytes", "read", "block devices, read"),
    ("block_written_bytes", "written", "block devices, written"),
)
