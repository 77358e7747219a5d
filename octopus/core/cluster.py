"""The cluster in memory: what the feeds keep up to date and everybody else reads.

A snapshot is applied only when it is whole. It is applied in slices, so that nobody waits for 100,000 tasks; between two slices each
entry is true of the old moment or of the new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from octopus.core.inventory import LIVE_STATES, RUNNING, Agent, MarathonSnapshot, Snapshot, Task, used_by_agent
from octopus.core.joining import joined
from octopus.core.maintenance import Plan
from octopus.core.mesos_events import (
    AgentAdded,
    AgentRemoved,
    FrameworkChanged,
    MesosEvent,
    TaskAdded,
    TaskUpdated,
)
from octopus.core.placement_offers import Window
from octopus.core.resources import NOTHING, Amounts
from octopus.core.task_index import TaskIndex

SLICE = 1000
"""Entries applied between two yields: about 2 ms."""

Reserved = tuple[tuple[str, Amounts], ...]
"""What a task uses of reservations, by role."""

REREGISTRATION = 600.0
"""Seconds a new leader gives agents to come back (Mesos' own default), where it does not list those it waits for."""


def awaited_agents(snapshot: Snapshot, known: Mapping[str, Agent], now: float) -> frozenset[str]:
    """Return the known agents that a new leader may still be waiting for: their tasks are not gone, only not told yet.

    From Mesos 1.2 the leader lists them (``recovered``). Before, every known agent it does not list counts, for ten minutes after its
    election. A task kept too long harms nobody: its container is checked against the engine before anybody enters.
    """
    listed = {agent.id for agent in snapshot.agents}
    if snapshot.recovered is not None:
        return frozenset(snapshot.recovered) - listed
    fresh = snapshot.elected > 0 and abs(now - snapshot.elected) < REREGISTRATION
    return frozenset(known) - listed if fresh else frozenset()


class Cluster:
    """Agents, tasks and apps. ``marathon`` says whether a Marathon is configured, and so is the authority on apps.

    ``awaited`` are the agents that have not come back since a failover: what is known of them is from before it. ``begun`` counts the
    snapshots that were begun to be applied.
    """

    def __init__(self, *, marathon: bool = False) -> None:
        self.tasks = TaskIndex()
        self.agents: dict[str, Agent] = {}
        self.awaited: set[str] = set()
        self.unattributed = NOTHING
        self.region = ""
        self._frameworks: dict[str, str] = {}
        self._marathon = MarathonSnapshot() if marathon else None
        self._strings: dict[str, str] = {}
        self._amounts: dict[Amounts, Amounts] = {}
        self._read: set[str] = set()
        self.begun = self._whole = 0
        self._plan = Plan()
        self._now = 0.0

    @property
    def ready(self) -> bool:
        """Whether every configured source has been read once. What was known before it went away goes on being served."""
        return self._read >= ({"mesos"} if self._marathon is None else {"mesos", "marathon"})

    @property
    def whole(self) -> bool:
        """Whether agents and tasks are of one moment: no snapshot of them is half applied."""
        return self.begun == self._whole

    def agent(self, task: Task) -> Agent | None:
        """Return the agent a task runs on, None while it is not known."""
        return self.agents.get(task.agent)

    @property
    def marathon(self) -> MarathonSnapshot:
        """What Marathon said last; nothing where none is configured."""
        return self._marathon or MarathonSnapshot()

    def labels(self, task: Task) -> Mapping[str, str]:
        """Return the labels that count for a task: its app's in Marathon where one is configured, else its own in Mesos."""
        if self._marathon is None or not task.confirmed:
            return task.labels
        return self._marathon.labels.get(task.app, task.labels)

    def replace(self, snapshot: Snapshot, now: float = 0.0) -> None:
        """Apply a whole snapshot at once; see ``replacing``."""
        deque(self.replacing(snapshot, now), maxlen=0)

    def replacing(self, snapshot: Snapshot, now: float = 0.0) -> Iterator[None]:
        """Apply a whole snapshot of Mesos (or of one engine), yielding after each slice. ``now`` in seconds since 1970."""
        self.begun += 1
        awaited = awaited_agents(snapshot, self.agents, now)
        self._frameworks = {**self._frameworks, **snapshot.frameworks} if awaited else dict(snapshot.frameworks)
        self._strings, self._amounts = {}, {}
        self.awaited = set(awaited)
        self.unattributed, self.region = snapshot.unattributed, snapshot.region or self.region
        self._now = now
        self.agents = {agent.id: self._planned(agent) for agent in (*self._kept(awaited), *snapshot.agents)}
        self.tasks.begin_bulk()
        seen: dict[str, set[str]] = {}
        for count, task in enumerate(snapshot.tasks):
            self._put(task)
            seen.setdefault(task.framework, set()).add(task.id)
            if count % SLICE == SLICE - 1:
                yield
        for count, task in enumerate(self.tasks):
            if task.id not in seen.get(task.framework, ()) and task.agent not in awaited:
                self.tasks.remove(task.framework, task.id)
            if count % SLICE == SLICE - 1:
                yield
        self.tasks.end_bulk()
        self._whole = self.begun
        self._read.add("mesos")

    def plan(self, windows: Iterable[Window], now: float) -> None:
        """Take up a plan of maintenance: agents that are away by it are marked, now and as they come. ``now``: seconds since 1970."""
        self._plan, self._now = Plan(windows), now
        self.agents = {agent.id: self._planned(agent) for agent in self.agents.values()}

    def replace_marathon(self, snapshot: MarathonSnapshot) -> None:
        """Apply a whole reading of Marathon at once; see ``replacing_marathon``."""
        deque(self.replacing_marathon(snapshot), maxlen=0)

    def replacing_marathon(self, snapshot: MarathonSnapshot) -> Iterator[None]:
        """Apply a whole reading of Marathon, yielding after each slice: tasks change their app, or become confirmed."""
        self._marathon = snapshot
        self.tasks.begin_bulk()
        for count, task in enumerate(self.tasks):
            self._rejoin(task)
            if count % SLICE == SLICE - 1:
                yield
        self.tasks.end_bulk()
        self._read.add("marathon")

    def learn(self, tasks: list[Task]) -> None:
        """Add tasks looked up one by one, between two snapshots."""
        for task in tasks:
            self._put(task)

    def apply(self, event: MesosEvent) -> None:
        """Apply one event of the master's stream.

        An unreachable agent shows only as TASK_UNREACHABLE of its tasks; when it is back its tasks are added before it is.
        """
        match event:
            case TaskAdded(task):
                self._added(task)
            case TaskUpdated():
                self._updated(event)
            case AgentAdded(agent, allocated):
                self.agents[agent.id] = self._planned(self._with_others(agent, allocated))
                self.awaited.discard(agent.id)
            case AgentRemoved(agent_id):
                self.agents.pop(agent_id, None)
                self.awaited.discard(agent_id)
                self._remove_where("agent", agent_id)
            case FrameworkChanged(framework, name):
                self._rename(framework, name)
            case _:
                self._frameworks.pop(event.framework, None)
                self._remove_where("framework", event.framework)

    def _added(self, task: Task) -> None:
        if task.state in LIVE_STATES:
            known = self.tasks.get(task.framework, task.id)
            self._put(task)
            self._reserve(task.agent, () if known is None else known.reserved, task.reserved)

    def _updated(self, event: TaskUpdated) -> None:
        task = self.tasks.get(event.framework, event.task)
        if task is None:
            return
        if event.state not in LIVE_STATES:
            self._over(task)
            if event.agent_lost:
                self._lost(task.agent)
            return
        changed = msgspec.structs.replace(task, state=event.state)
        if event.container:
            changed = msgspec.structs.replace(changed, container=event.container, parents=event.parents)
        if event.state == RUNNING and not task.started:
            changed = msgspec.structs.replace(changed, started=event.at)
        self.tasks.put(changed)

    def _planned(self, agent: Agent) -> Agent:
        away = self._plan.covers(agent, self._now)
        return agent if agent.maintenance is away else msgspec.structs.replace(agent, maintenance=away)

    def _put(self, task: Task) -> None:
        name = self._frameworks.get(task.framework, "")
        known = joined(task, name, self._marathon)
        if known == self.tasks.get(task.framework, task.id):
            return
        share = self._strings.setdefault
        self.tasks.put(
            msgspec.structs.replace(
                known,
                framework=share(known.framework, known.framework),
                agent=share(known.agent, known.agent),
                app=share(known.app, known.app),
                name=share(known.name, known.name),
                amounts=self._amounts.setdefault(known.amounts, known.amounts),
            )
        )

    def _rejoin(self, task: Task) -> None:
        if task.engine:
            return
        self._put(msgspec.structs.replace(task, app="", confirmed=False))

    def _rename(self, framework: str, name: str) -> None:
        if self._frameworks.get(framework) == name:
            return
        self._frameworks[framework] = name
        for task in self.tasks:
            if task.framework == framework:
                self._rejoin(task)

    def _remove_where(self, field: str, value: str) -> None:
        for task in self.tasks:
            if getattr(task, field) == value:
                self._over(task)

    def _over(self, task: Task) -> None:
        self.tasks.remove(task.framework, task.id)
        self._reserve(task.agent, task.reserved, ())

    def _reserve(self, agent_id: str, before: Reserved, after: Reserved) -> None:
        """Keep what is used of an agent's reservations true between two snapshots."""
        agent = self.agents.get(agent_id)
        if agent is None or agent.reserved_used is None or before == after:
            return
        used = dict(agent.reserved_used)
        for role, amounts in before:
            used[role] = used.get(role, NOTHING) - amounts
        for role, amounts in after:
            used[role] = used.get(role, NOTHING) + amounts
        self.agents[agent_id] = msgspec.structs.replace(agent, reserved_used=used)

    def _with_others(self, agent: Agent, allocated: Amounts) -> Agent:
        """Return an agent that is back with what no task uses on it; in a failover all is read anew soon, and 10,000 come at once."""
        if allocated == NOTHING or self.awaited:
            return agent
        used = used_by_agent(task for task in self.tasks if task.agent == agent.id)
        return msgspec.structs.replace(agent, others=allocated - used.get(agent.id, NOTHING))

    def _lost(self, agent_id: str) -> None:
        """Take an agent for disconnected until it is added again, or removed: its tasks are gone, and what they used is not free."""
        if agent := self.agents.get(agent_id):
            self.agents[agent_id] = msgspec.structs.replace(agent, active=False)

    def _kept(self, awaited: frozenset[str]) -> Iterator[Agent]:
        return (agent for agent_id, agent in self.agents.items() if agent_id in awaited)
