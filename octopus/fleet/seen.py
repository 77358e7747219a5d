"""A cluster as it is at one moment, in the terms of placement: offers, what apps run where, and what is not known."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

import msgspec

from octopus.core.capacity_whatif import Running
from octopus.core.errors import InvalidDocument, NoSuchTarget, printable
from octopus.core.inventory import Agent, MarathonSnapshot, MarathonTask, Task, used_by_agent
from octopus.core.placement import View, counted_instances, placed_on
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed
from octopus.core.placement_deployment import Old
from octopus.core.placement_offers import offers
from octopus.core.resources import NOTHING, Amounts, ranges, shown

MOST_UNREAD = 5
"""Apps that cannot be judged, told one by one."""
MAX_FAULT = 500


class State(Protocol):
    """What of a cluster placement is computed from; a ``Cluster`` is one."""

    @property
    def agents(self) -> Mapping[str, Agent]:
        """Agents by id."""
        ...

    @property
    def tasks(self) -> Iterable[Task]:
        """Every task that is not over."""
        ...

    @property
    def marathon(self) -> MarathonSnapshot:
        """What Marathon said last."""
        ...

    @property
    def awaited(self) -> Collection[str]:
        """Agents that have not come back since a failover."""
        ...

    @property
    def unattributed(self) -> Amounts:
        """What is used by executors of which the master does not say the agent."""
        ...

    @property
    def region(self) -> str:
        """The master's own, "" unknown."""
        ...


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster at one moment, to be handed to another process: a ``State`` of plain values."""

    agents: dict[str, Agent] = {}
    tasks: list[Task] = []
    marathon: MarathonSnapshot = MarathonSnapshot()
    awaited: tuple[str, ...] = ()
    unattributed: Amounts = NOTHING
    region: str = ""


class Seen:
    """A cluster as it is now, in the terms of placement."""

    def __init__(self, cluster: State) -> None:
        self.cluster = cluster
        self.rules = cluster.marathon.rules
        self.agents: Mapping[str, Agent] = cluster.agents
        tasks = list(cluster.tasks)
        self.used = used_by_agent(tasks)
        self.view = View(offers=tuple(offers(self.agents.values(), tasks, self.rules)), rules=self.rules, region=cluster.region)
        self._by_host = {agent.hostname: agent for agent in self.agents.values()}
        framework = cluster.marathon.framework
        self._known = {task.id: task for task in tasks if task.framework == framework}
        self._tasks: dict[str, list[tuple[str, MarathonTask]]] = {}
        for task_id, task in cluster.marathon.tasks.items():
            self._tasks.setdefault(task.app, []).append((task_id, task))

    @property
    def complete(self) -> bool:
        """Whether every agent has come back since the last failover."""
        return not self.cluster.awaited

    def notes(self) -> tuple[str, ...]:
        """Return what the figures rest on, where that is not all."""
        found = []
        if not self.complete:
            found.append(f"incomplete: {len(self.cluster.awaited)} agents have not come back to the new Mesos leader yet")
        if self.cluster.unattributed != NOTHING:
            what = f"{shown(self.cluster.unattributed.cpus)} CPUs and {shown(self.cluster.unattributed.mem)} MB"
            found.append(f"approximate: {what} are used by executors of which this Mesos does not say the agent")
        unread = [_unread(*each) for each in sorted(self.cluster.marathon.unread.items())]
        found += unread[:MOST_UNREAD]
        if len(unread) > MOST_UNREAD:
            found.append(f"and {len(unread) - MOST_UNREAD} more apps that cannot be judged")
        return tuple(found)

    def named(self, name: str) -> list[App]:
        """Return the app of this id, or all of the group. Raise NoSuchTarget, InvalidDocument when one of them cannot be judged."""
        path = "/" + name.strip("/")
        apps, unread = self.cluster.marathon.apps, self.cluster.marathon.unread
        group = sorted(app for app in (*apps, *unread) if app == path or app.startswith(path.rstrip("/") + "/"))
        if faults := [(app, cannot_be_judged(unread[app])) for app in group if app in unread]:
            raise InvalidDocument(faults)
        if not group:
            raise NoSuchTarget(notice=f"Marathon has no app and no group '{printable(path)}'")
        return [apps[app] for app in group]

    def placed(self, app: App) -> list[Placed]:
        """Return the instances of an app that its constraints look at."""
        tasks = [task for _, task in self._tasks.get(app.id, ())]
        return placed_on(counted_instances(app, tasks, self.rules), self.agents, self._by_host)

    def old(self, app: App) -> list[Old]:
        """Return an app's running instances with what they use, in the order of their tasks' ids."""
        found = []
        for task_id, task in sorted(self._tasks.get(app.id, ())):
            known = self._known.get(task_id)
            uses = NOTHING if known is None else known.amounts + Amounts(ports=ranges((port, port) for port in known.ports))
            [placed] = placed_on([task], self.agents, self._by_host)
            found.append(Old(agent=task.agent or (known.agent if known else ""), placed=placed, uses=uses))
        return found

    def running(self) -> list[Running]:
        """Return every app and where its instances are."""
        found = []
        for app in self.cluster.marathon.apps.values():
            on: dict[str, tuple[Placed, ...]] = {}
            for each in self.old(app):
                on[each.agent] = (*on.get(each.agent, ()), each.placed)
            found.append(Running(app=app, on=on))
        return found


def cannot_be_judged(why: str) -> str:
    """Say what is the matter with an app that Marathon has and that cannot be read here."""
    return f"cannot be judged: {printable(why, MAX_FAULT)}"


def _unread(app: str, why: str) -> str:
    return f"left out: {printable(app)} {cannot_be_judged(why)}"
