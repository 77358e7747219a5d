"""What the UNIQUE daemon stands between, in memory: a Marathon of one number for each app, a lock, a trail, and the cluster it judges."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from octopus.core.cluster import Cluster
from octopus.core.errors import AppLocked, AuditUnavailable, NoSuchTarget, OctopusError
from octopus.core.inventory import Agent, FeedStatus, MarathonSnapshot, MarathonTask, Snapshot
from octopus.core.placement_app import App
from octopus.core.placement_operators import Constraint
from octopus.core.placement_rules import Rules, rules_of
from octopus.core.resources import Amounts
from octopus.core.types import AuditEvent
from octopus.core.unique_actions import Lead, Rescaled
from octopus.fleet.unique_scaler import UniqueScaler

NOW = 1_000_000.0
STATSD = App(
    id="/ops/statsd",
    instances=2,
    needs=Amounts(1000, 64_000),
    constraints=(Constraint("hostname", "UNIQUE"),),
    version="v01",
    configured="v01",
)


class FakeScaling:
    """Marathon's numbers: ``apps`` as they are, ``written`` what was set; ``fails`` is raised by the next writes, ``reasons`` by app."""

    def __init__(self, *apps: App) -> None:
        self.apps = {app.id: app for app in apps}
        self.written: list[tuple[str, int]] = []
        self.writes: asyncio.Queue[str] = asyncio.Queue()
        self.reasons: dict[str, str] = {}
        self.fails: Exception | None = None
        self.unreadable: OctopusError | None = None

    async def read(self, app: str, rules: Rules) -> App:
        """Return the app as it is."""
        if self.unreadable is not None:
            raise self.unreadable
        if app not in self.apps:
            raise NoSuchTarget(f"no app {app}")
        return self.apps[app]

    async def scale(self, app: str, instances: int, rules: Rules) -> Rescaled:
        """Set the number; the app gets another version and is being deployed."""
        if self.fails is not None:
            raise self.fails
        known = await self.read(app, rules)
        if known.deploying:
            raise AppLocked(f"{app} is locked")
        self.change(app, instances=instances, deploying=True)
        self.written.append((app, instances))
        self.writes.put_nowait(app)
        return Rescaled(deployment=f"d-{len(self.written)}", version=self.apps[app].version)

    async def waiting(self, app: str) -> str:
        """Return why it waits."""
        return self.reasons.get(app, "")

    def change(self, app: str, **fields: Any) -> None:
        """Change an app, as anybody might: its version grows."""
        known = self.apps[app]
        self.apps[app] = msgspec.structs.replace(known, version=f"v{int(known.version[1:]) + 1:02}", **fields)


class FakeLeadership:
    """A lock that is given or not: ``mine`` says; ``resigned`` counts. With ``left`` it is given so many times more, then ``lost``.

    ``bug`` is raised by the next question.
    """

    def __init__(self, *, mine: bool = True, who: str = "") -> None:
        self.told = Lead(mine=mine, who=who)
        self.resigned = 0
        self.left: int | None = None
        self.bug: Exception | None = None
        self.lost = Lead(mine=False)

    async def lead(self) -> Lead:
        """Tell who leads."""
        if self.bug is not None:
            bug, self.bug = self.bug, None
            raise bug
        if self.left is None:
            return self.told
        self.left -= 1
        return self.told if self.left >= 0 else self.lost

    async def resign(self) -> None:
        """Let go."""
        self.resigned += 1

    async def aclose(self) -> None:
        """Let go."""
        await self.resign()


class FakeTrail:
    """An audit log that keeps events; ``full`` refuses them, and ``refused`` has their names."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.refused: asyncio.Queue[str] = asyncio.Queue()
        self.full = False

    async def append(self, event: AuditEvent) -> None:
        """Keep an event."""
        if self.full:
            self.refused.put_nowait(event.event)
            raise AuditUnavailable("the disk is full")
        self.events.append(event)

    def told(self) -> list[tuple[str, str]]:
        """Return each event's name and reason."""
        return [(event.event, event.data["why"]) for event in self.events]


def agent(name: str, cpus: float = 4, **more: Any) -> Agent:
    """Return an agent that has been there for long."""
    made = Agent(f"{name}-S", name, total=Amounts(round(cpus * 1000), 4_096_000), attributes={"rack": "r1"}, registered=1.0)
    return msgspec.structs.replace(made, **more)


class Town:
    """A cluster, a Marathon and the daemon between them. ``run_on`` says on which hosts each app runs; ``read`` is what feeds do."""

    def __init__(
        self, *agents: Agent, apps: tuple[App, ...] = (STATSD,), globs: tuple[str, ...] = ("/**",), version: str = "1.8.222", **options: Any
    ) -> None:
        self.now = NOW
        self.agents = {each.hostname: each for each in agents}
        self.scaling = FakeScaling(*apps)
        self.leadership = FakeLeadership()
        self.trail = FakeTrail()
        self.cluster = Cluster(marathon=True)
        self.rules = rules_of(version)
        self.status = FeedStatus(name="mesos", since=1.0, age=0.0, complete=True)
        self.recovered: list[str] = []
        self.on: dict[str, list[str]] = {}
        self._ids = iter(range(10_000))
        settings: dict[str, Any] = {"mode": "apply", "interval": 0.01, "apps": globs, **options}
        self.scaler = UniqueScaler(
            self.cluster,
            scaling=self.scaling,
            leadership=self.leadership,
            log=self.trail,
            statuses=lambda: [self.status],
            clock=lambda: self.now,
            new_id=lambda: str(next(self._ids)),
            **settings,
        )

    def run_on(self, app: str, *hosts: str) -> None:
        """Let instances of an app run on these hosts and nowhere else."""
        self.on[app] = list(hosts)

    def read(self) -> None:
        """Let the cluster be as Mesos and Marathon are now."""
        agents = [each for each in self.agents.values() if each.id not in self.recovered]
        self.cluster.replace(Snapshot(agents=agents, recovered=self.recovered), self.now)
        tasks = {f"{app}.{host}": MarathonTask(app, f"{host}-S", host=host) for app, hosts in self.on.items() for host in hosts}
        self.cluster.replace_marathon(MarathonSnapshot(tasks=tasks, apps=dict(self.scaling.apps), rules=self.rules))

    async def look(self, *, read: bool = True, after: float = 0.0) -> None:
        """Let time pass, the feeds read, and the daemon look once."""
        self.now += after
        if read:
            self.read()
        await self.scaler.look()

    def deployed(self, app: str = "/ops/statsd", *hosts: str) -> None:
        """Let the deployment end; the app runs on these hosts."""
        self.scaling.apps[app] = msgspec.structs.replace(self.scaling.apps[app], deploying=False)
        self.run_on(app, *hosts)
