"""Agents and tasks as the master's v1 operator API writes them (Mesos 1.0 to 1.11), read into our values."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from octopus.core.inventory import Agent, Task
from octopus.core.resource_wire import Domain, DrainState, Resource, V1Attribute, attributes, in_all, kept
from octopus.core.resources import NOTHING, Amounts
from octopus.core.wire import ContainerType, IdValue, Label, PortRange, Status, address, place, ports


class AgentFacts(msgspec.Struct):
    """What an agent says of itself."""

    id: IdValue
    hostname: str = ""
    attributes: list[V1Attribute] = []
    domain: Domain | None = None


class _Time(msgspec.Struct):
    nanoseconds: int = 0


class V1Agent(msgspec.Struct):
    """An agent, as the master knows it."""

    agent_info: AgentFacts
    pid: str = ""
    total_resources: list[Resource] = []
    allocated_resources: list[Resource] = []
    offered_resources: list[Resource] = []
    active: bool = True
    deactivated: bool = False
    drain_info: DrainState | None = None
    registered_time: _Time | None = None


class _Labels(msgspec.Struct):
    labels: list[Label] = []


class V1Task(msgspec.Struct):
    """A task."""

    task_id: IdValue
    framework_id: IdValue
    agent_id: IdValue
    state: str
    name: str = ""
    executor_id: IdValue | None = None
    statuses: list[Status] = []
    labels: _Labels | None = None
    resources: list[Resource] = []
    container: ContainerType | None = None


def agent_of(item: V1Agent, used: Mapping[str, Amounts] | None = None) -> Agent:
    """Return an agent. ``used`` is what tasks use, by the agent's id; without it nothing is known of what others use."""
    prefix, ip, port = address(item.pid)
    found = item.agent_info
    return Agent(
        id=found.id.value,
        hostname=found.hostname,
        ip=ip,
        port=port,
        prefix=prefix,
        attributes=attributes(found.attributes),
        total=in_all(item.total_resources),
        reserved=kept(item.total_resources),
        reserved_used=kept(item.allocated_resources),
        others=NOTHING if used is None else in_all(item.allocated_resources) - used.get(found.id.value, NOTHING),
        offered=in_all(item.offered_resources),
        active=item.active,
        deactivated=item.deactivated,
        drain=item.drain_info.state if item.drain_info else "",
        region=found.domain.region if found.domain else "",
        zone=found.domain.zone if found.domain else "",
        registered=item.registered_time.nanoseconds / 1e9 if item.registered_time else 0.0,
    )


def task_of(item: V1Task) -> Task:
    """Return a task."""
    container, parents, started = place(item.statuses)
    amounts = in_all(item.resources)
    return Task(
        id=item.task_id.value,
        framework=item.framework_id.value,
        agent=item.agent_id.value,
        state=item.state,
        name=item.name,
        executor=item.executor_id.value if item.executor_id else "",
        started=started,
        container=container,
        parents=parents,
        containerizer=item.container.type.lower() if item.container else "mesos",
        ports=ports(PortRange(*each) for each in amounts.ports),
        labels={label.key: label.value for label in item.labels.labels} if item.labels else {},
        amounts=msgspec.structs.replace(amounts, ports=()),
        reserved=tuple(kept(item.resources).items()),
    )
