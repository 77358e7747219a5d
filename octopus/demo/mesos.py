"""The Mesos half: masters, one of which leads, and what happens to agents and tasks."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from octopus.demo import master_v1
from octopus.demo.broadcast import Broadcast
from octopus.demo.model import Agent, Framework, Registry, Status, Task
from octopus.demo.resources import Resources
from octopus.demo.versions import Version

Credentials = tuple[str, str]


@dataclass(slots=True, eq=False)
class Master:
    """One master process."""

    id: str
    host: str
    port: int
    start_time: float
    hostname: str = ""
    elected_time: float = 0.0

    @property
    def pid(self) -> str:
        """Its libprocess address."""
        return f"master@{self.host}:{self.port}"


@dataclass(eq=False)
class Mesos:
    """A Mesos cluster. ``on_update`` hears of every change of a task's state, after the operator API's subscribers."""

    version: Version
    clock: Callable[[], float]
    rng: random.Random
    name: str = "demo"
    heartbeat: float = 15.0
    credentials: Credentials | None = None
    backlog: int = 20_000
    masters: list[Master] = field(default_factory=list)
    leader: Master | None = None
    registry: Registry = field(default_factory=Registry)
    counters: dict[str, int] = field(default_factory=dict)
    on_update: list[Callable[[Task], None]] = field(default_factory=list)
    on_agents: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Open the operator API's stream."""
        self.events = Broadcast(self.backlog)
        self._agents_seen = 0

    def new_uuid(self) -> str:
        """Return a random UUID, from ``rng``."""
        bits = self.rng.getrandbits(128)
        text = f"{bits:032x}"  # RFC 9562 5.4; uuid.UUID takes four times as long, which 100,000 tasks feel
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[bits >> 60 & 3]}{text[17:20]}-{text[20:]}"

    # masters

    def elect(self, master: Master | None) -> None:
        """Let ``master`` lead (None: nobody). All agents are then recovered ones until they register again."""
        previous, self.leader = self.leader, master
        self.events.close_all()
        if master is None:
            return
        master.elected_time = self.clock()
        if previous is not None or self.registry.agents:
            self.registry.recovered |= self.registry.agents
            self.registry.agents = {}

    def reregister(self, agents: Iterable[Agent] | None = None) -> None:
        """Let recovered agents (None: all) and frameworks find the new leader."""
        now = self.clock()
        for framework in self.registry.frameworks.values():
            framework.reregistered_time = now
        for agent in list(self.registry.recovered.values()) if agents is None else list(agents):
            self.registry.recovered.pop(agent.id, None)
            self._come_back(agent)

    def seen_by(self, master: Master) -> Registry:
        """Return what this master knows: everything when it leads, nothing otherwise."""
        return self.registry if master is self.leader else Registry()

    # agents

    def add_agent(self, agent: Agent) -> None:
        """Register a new agent."""
        self.registry.agents[agent.id] = agent
        self._publish("AGENT_ADDED", lambda: {"agent": master_v1.agent_v1(agent)})
        self._agents_changed()

    def next_agent_id(self) -> str:
        """Return the id the leading master gives to the next agent."""
        master = self.leader or self.masters[0]
        number, self._agents_seen = self._agents_seen, self._agents_seen + 1
        return f"{master.id}-S{number}"

    def lose_agent(self, agent: Agent) -> None:
        """Mark an agent unreachable: no AGENT_REMOVED, only updates of its tasks (TASK_LOST before 1.2)."""
        self.registry.agents.pop(agent.id)
        self.registry.unreachable[agent.id] = agent
        state = "TASK_UNREACHABLE" if self.version.since(1, 2) else "TASK_LOST"
        for task in list(agent.tasks.values()):
            self.update(task, state, message="health check timed out", reason="REASON_AGENT_REMOVED", from_master=True)
        self._agents_changed()

    def find_agent(self, agent: Agent) -> None:
        """Let an unreachable agent return: each task is added anew, running, before the agent is; no update follows."""
        self.registry.unreachable.pop(agent.id)
        self._come_back(agent)

    def _come_back(self, agent: Agent) -> None:
        agent.reregistered_time = self.clock()
        for task in agent.tasks.values():
            framework = self.registry.frameworks[task.framework_id]
            framework.unreachable.pop(task.id, None)
            framework.tasks[task.id] = task
            task.readded = True
            if not task.live:
                task.state, task.encoded = task.statuses[-2].state, None
                task.statuses.pop()
            self._publish("TASK_ADDED", functools.partial(self._task_added, task))
        self.registry.agents[agent.id] = agent
        self._publish("AGENT_ADDED", lambda: {"agent": master_v1.agent_v1(agent)})
        self._agents_changed()

    def _task_added(self, task: Task) -> object:
        return {"task": master_v1.task_v1(task, self.version)}

    def remove_agent(self, agent: Agent) -> None:
        """Let an agent unregister: its tasks are lost, then it is gone."""
        for standing in (self.registry.agents, self.registry.unreachable, self.registry.recovered):
            standing.pop(agent.id, None)
        message = f"Agent {agent.hostname} removed: the agent unregistered"
        for task in list(agent.tasks.values()):
            self.update(task, "TASK_LOST", message=message, reason="REASON_AGENT_REMOVED", from_master=True)
        self._publish("AGENT_REMOVED", lambda: {"agent_id": {"value": agent.id}})
        self._agents_changed()

    def agent(self, agent_id: str) -> Agent:
        """Return a known agent of any standing. Raise KeyError."""
        registry = self.registry
        for standing in (registry.agents, registry.unreachable, registry.recovered):
            if agent_id in standing:
                return standing[agent_id]
        raise KeyError(agent_id)

    # frameworks and tasks

    def task(self, task_id: str) -> Task | None:
        """Return the live task with this id, None when there is none."""
        return next((each.tasks[task_id] for each in self.registry.frameworks.values() if task_id in each.tasks), None)

    def add_framework(self, framework: Framework) -> None:
        """Register a framework."""
        self.registry.frameworks[framework.id] = framework
        self._publish("FRAMEWORK_ADDED", lambda: {"framework": master_v1.framework_added_v1(framework)})

    def used_by(self, framework: Framework) -> Resources:
        """Return what the framework's visible tasks and executors hold."""
        parts = [task.resources for task in self.registry.visible_tasks(framework)]
        return Resources.total([*parts, *(executor.resources for executor in self.registry.visible_executors(framework))])

    def launch(self, task: Task) -> None:
        """Accept a task: it is TASK_STAGING, without a status."""
        self.registry.frameworks[task.framework_id].tasks[task.id] = task
        self.registry.agents[task.agent_id].tasks[task.id] = task
        if task.executor and not task.executor.first_task:
            task.executor.first_task = task.id
        self._count("staged")
        self._publish("TASK_ADDED", functools.partial(self._task_added, task))

    def update(self, task: Task, state: str, *, message: str = "", reason: str = "", from_master: bool = False) -> None:
        """Append a status, move the task to where its state belongs, and tell everybody."""
        status = Status(state, self.clock(), "" if from_master else self.new_uuid(), message, reason, from_master)
        task.state, task.encoded = state, None
        task.statuses.append(status)
        if not task.live:
            self._settle(task)
        self._publish("TASK_UPDATED", lambda: master_v1.task_updated_v1(task, status, self.version))
        for listener in list(self.on_update):
            listener(task)

    def _settle(self, task: Task) -> None:
        framework = self.registry.frameworks[task.framework_id]
        framework.tasks.pop(task.id, None)
        if task.state == "TASK_UNREACHABLE":
            framework.unreachable[task.id] = task
            return
        framework.unreachable.pop(task.id, None)
        framework.completed.append(task)
        self._count(task.state.removeprefix("TASK_").lower())
        try:
            agent = self.agent(task.agent_id)
        except KeyError:
            return
        agent.tasks.pop(task.id, None)
        agent.completed.append(task)

    def _count(self, what: str) -> None:
        self.counters[what] = self.counters.get(what, 0) + 1

    def _agents_changed(self) -> None:
        for listener in list(self.on_agents):
            listener()

    def _publish(self, kind: str, body: Callable[[], object]) -> None:
        since = master_v1.EVENT_SINCE[kind]
        if self.version >= since:
            self.events.publish(lambda: master_v1.record(msgspec.json.encode({"type": kind, kind.lower(): body()})))
