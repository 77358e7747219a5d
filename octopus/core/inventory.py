"""What runs in a cluster: agents, tasks, apps, and the snapshots of them that feeds hand to the Cluster.

Only what is used is kept, so that 100,000 tasks stay small.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from octopus.core.placement_app import App
from octopus.core.placement_rules import Rules
from octopus.core.resources import NOTHING, Amounts, Attribute, ranges
from octopus.core.types import ContainerClue

RUNNING = "TASK_RUNNING"
LIVE_STATES = frozenset({"TASK_STAGING", "TASK_STARTING", RUNNING, "TASK_KILLING"})
"""States of a task that has, or will have, a container. Only TASK_RUNNING can be entered."""

MAX_PORTS = 256
"""Host ports remembered of one task."""


class Agent(msgspec.Struct, frozen=True, gc=False):
    """A Mesos agent, or the one engine of a plain inventory. ``ip`` and ``port`` are from its pid, ``hostname`` as advertised.

    ``reserved`` is what of ``total`` is kept for a role; ``reserved_used`` what of that is used, None where the master does not say.
    ``others`` is what is used on it by no task: executors of frameworks' own. ``active`` is False while it is disconnected, ``drain``
    DRAINING or DRAINED (1.9). ``registered`` in seconds since 1970. ``maintenance``: the plan has it away now (the Cluster says so).
    """

    id: str
    hostname: str
    ip: str = ""
    port: int = 0
    prefix: str = ""
    attributes: dict[str, Attribute] = {}
    total: Amounts = NOTHING
    reserved: dict[str, Amounts] = {}
    reserved_used: dict[str, Amounts] | None = None
    others: Amounts = NOTHING
    offered: Amounts = NOTHING
    active: bool = True
    deactivated: bool = False
    drain: str = ""
    region: str = ""
    zone: str = ""
    registered: float = 0.0
    maintenance: bool = False


class Task(msgspec.Struct, frozen=True, gc=False):
    """A task that is not over. ``executor`` is "" for command tasks; ``started`` in seconds since 1970, 0 unknown.

    ``container`` is the Mesos container id ("" where the master does not say), ``parents`` a pod's outer containers, nearest first.
    ``app`` is what policy decides on, but only where ``confirmed``: otherwise it is a guess from the task's id, good for finding
    the task and for nothing else (see ``core.joining``). ``amounts`` is what it uses, without ``ports``; ``reserved`` what of both is
    of a reservation, by role, where the master says it (v1).
    """

    id: str
    framework: str
    agent: str
    state: str
    name: str = ""
    executor: str = ""
    started: float = 0.0
    container: str = ""
    parents: tuple[str, ...] = ()
    containerizer: str = "mesos"
    engine: str = ""
    ports: tuple[int, ...] = ()
    labels: dict[str, str] = {}
    app: str = ""
    confirmed: bool = False
    amounts: Amounts = NOTHING
    reserved: tuple[tuple[str, Amounts], ...] = ()

    @property
    def running(self) -> bool:
        """Whether the task can be entered."""
        return self.state == RUNNING

    @property
    def clue(self) -> ContainerClue:
        """What leads to the task's container on its agent."""
        return ContainerClue(
            agent_id=self.agent,
            framework_id=self.framework,
            executor_id=self.executor,
            task_id=self.id,
            container_id=self.container,
            parents=self.parents,
            containerizer=self.containerizer,
            engine_id=self.engine,
        )


def used_by_agent(tasks: Iterable[Task]) -> dict[str, Amounts]:
    """Return what the tasks on each agent use, ports included, by the agent's id."""
    found: dict[str, tuple[list[int], list[tuple[int, int]]]] = {}
    for task in tasks:
        sums, ports = found.setdefault(task.agent, ([0, 0, 0, 0], []))
        amounts = task.amounts
        sums[0] += amounts.cpus
        sums[1] += amounts.mem
        sums[2] += amounts.disk
        sums[3] += amounts.gpus
        ports.extend((port, port) for port in task.ports)
    return {agent: Amounts(sums[0], sums[1], sums[2], sums[3], ranges(ports)) for agent, (sums, ports) in found.items()}


class Snapshot(msgspec.Struct, frozen=True):
    """All of a Mesos cluster (or of one engine) at one moment.

    ``frameworks`` maps id to name. ``recovered`` are agents a new leader still waits for (Mesos 1.2), None where it does not say;
    ``elected`` is when the leader took over, seconds since 1970. ``leader`` and ``pid`` differ on a standby. ``skipped`` counts
    entries that could not be read. ``unattributed`` is used by executors of which the master does not say the agent (before 0.23);
    ``region`` is the master's own, "" for none.
    """

    agents: list[Agent] = []
    frameworks: dict[str, str] = {}
    tasks: list[Task] = []
    recovered: list[str] | None = None
    elected: float = 0.0
    version: str = ""
    leader: str = ""
    pid: str = ""
    skipped: int = 0
    unattributed: Amounts = NOTHING
    region: str = ""


class MarathonTask(msgspec.Struct, frozen=True, gc=False):
    """Marathon's word on one task: the app it belongs to, and the agent's id where Marathon says it (0.11).

    ``version`` is that of the app it was started from, ``host`` the agent's host name, ``state`` Mesos' word for it (1.3).
    """

    app: str
    agent: str = ""
    version: str = ""
    host: str = ""
    state: str = ""


class MarathonSnapshot(msgspec.Struct, frozen=True):
    """All Marathon says at one moment: tasks by id, labels by app (and pod) id, its own Mesos framework id ("" unknown).

    ``apps`` are what is asked for, by id, as far as placement goes; ``rules`` what Marathon of this version and set-up does with it.
    ``unread`` are those of which that cannot be told, and why.
    """

    tasks: dict[str, MarathonTask] = {}
    labels: dict[str, dict[str, str]] = {}
    framework: str = ""
    skipped: int = 0
    apps: dict[str, App] = {}
    rules: Rules = Rules()
    unread: dict[str, str] = {}


class FeedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a feed is doing. ``since``: last success, seconds since 1970, 0 never; ``age``: seconds since then, -1 never.

    ``error`` is "" while it works; ``complete`` is False while a new leader still waits for agents.
    """

    name: str
    source: str = ""
    since: float = 0.0
    age: float = -1.0
    error: str = ""
    complete: bool = False
