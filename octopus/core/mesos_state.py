"""The master's ``/state`` (v0) in every shape from Mesos 0.19 to 1.11 and ClusterD, read into a Snapshot.

``completed_tasks`` and ``completed_frameworks``, most of the bytes, are not in the types below and so are skipped while decoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

import msgspec

from octopus.core.inventory import LIVE_STATES, Agent, Snapshot, Task, used_by_agent
from octopus.core.resource_wire import Domain, DrainState, Resource, V0Resources, kept
from octopus.core.resources import MOST, NOTHING, Amounts, Attribute, total
from octopus.core.wire import ContainerType, Entries, Label, Status, address, place, port_ranges, ports, read_json


class _Agent(msgspec.Struct):
    id: str
    hostname: str = ""
    pid: str = ""
    attributes: dict[str, object] = {}
    resources: V0Resources | None = None
    used_resources: V0Resources | None = None
    offered_resources: V0Resources | None = None
    reserved_resources: dict[str, V0Resources] = {}
    used_resources_full: list[Resource] | None = None
    reserved_resources_full: dict[str, list[Resource]] | None = None
    unreserved_resources_full: list[Resource] | None = None
    active: bool = True
    deactivated: bool = False
    drain_info: DrainState | None = None
    domain: Domain | None = None
    registered_time: float = 0.0


class _AwaitedAgent(msgspec.Struct):
    id: str


class _Task(msgspec.Struct):
    id: str
    framework_id: str
    slave_id: str
    state: str
    name: str = ""
    executor_id: str = ""
    statuses: list[Status] = []
    labels: list[Label] | None = None
    resources: V0Resources | None = None
    container: ContainerType | None = None


class _Framework(msgspec.Struct):
    id: str
    name: str = ""
    tasks: list[msgspec.Raw] = []
    used_resources: V0Resources | None = None


class _State(msgspec.Struct):
    slaves: list[msgspec.Raw]
    frameworks: list[msgspec.Raw]
    version: str = ""
    leader: str = ""
    pid: str = ""
    elected_time: float | None = None
    recovered_slaves: list[msgspec.Raw] | None = None
    orphan_tasks: list[msgspec.Raw] = []
    domain: Domain | None = None


class _Tasks(msgspec.Struct):
    tasks: list[msgspec.Raw]


def names_containers(version: str) -> bool:
    """Whether a master of this version says which containerizer runs a task (0.27); an unreadable version is taken as new."""
    numbers = version.split("-")[0].split(".")
    return not (numbers[0] == "0" and len(numbers) > 1 and len(numbers[1]) < 3 and numbers[1].isdecimal() and int(numbers[1]) < 27)


def decode_state(body: bytes, source: str = "Mesos /state") -> Snapshot:
    """Return what a master's ``/state`` says. Raise BadUpstream when it is not one."""
    state = read_json(body, _State, source)
    entries = Entries()
    frameworks = entries.read(state.frameworks, _Framework)
    raws = (raw for framework in [*(item.tasks for item in frameworks), state.orphan_tasks] for raw in framework)
    recovered = None if state.recovered_slaves is None else [item.id for item in entries.read(state.recovered_slaves, _AwaitedAgent)]
    tasks = _tasks(entries.read(raws, _Task), state.version)
    agents, used = entries.read(state.slaves, _Agent), used_by_agent(tasks)
    told = any(item.used_resources is not None for item in agents)
    return Snapshot(
        agents=[_agent(item, used.get(item.id, NOTHING)) for item in agents],
        frameworks={item.id: item.name for item in frameworks},
        tasks=tasks,
        recovered=recovered,
        elected=state.elected_time or 0.0,
        version=state.version,
        leader=state.leader,
        pid=state.pid,
        skipped=entries.skipped,
        unattributed=NOTHING if told else _of_no_task(frameworks, tasks),
        region=state.domain.region if state.domain else "",
    )


def decode_tasks(body: bytes, source: str = "Mesos /tasks") -> list[Task]:
    """Return the live tasks of a master's ``/tasks?task_id=`` (1.4). Raise BadUpstream when it is not that."""
    return _tasks(Entries().read(read_json(body, _Tasks, source).tasks, _Task), version="")


def _agent(item: _Agent, by_tasks: Amounts) -> Agent:
    prefix, ip, port = address(item.pid)
    reserved, reserved_used = _reserved(item)
    return Agent(
        id=item.id,
        hostname=item.hostname,
        ip=ip,
        port=port,
        prefix=prefix,
        attributes=_attributes(item.attributes),
        total=_amounts(item.resources),
        reserved=reserved,
        reserved_used=reserved_used,
        others=_amounts(item.used_resources) - by_tasks,
        offered=_amounts(item.offered_resources),
        active=item.active,
        deactivated=item.deactivated,
        drain=item.drain_info.state if item.drain_info else "",
        region=item.domain.region if item.domain else "",
        zone=item.domain.zone if item.domain else "",
        registered=item.registered_time,
    )


def _attributes(told: Mapping[str, object]) -> dict[str, Attribute]:
    """Return what can be compared; anything else an agent might have is no reason not to know the agent."""
    # JSON knows whole numbers that no float holds; a scalar of Mesos is none.
    return {
        name: value for name, value in told.items() if isinstance(value, str | float) or (isinstance(value, int) and abs(value) <= MOST)
    }


def _reserved(item: _Agent) -> tuple[dict[str, Amounts], dict[str, Amounts] | None]:
    """Return what is kept for each role, and what of that is used; None where used resources are told without their roles."""
    if item.used_resources_full is not None and item.reserved_resources_full is not None:
        listed = [*chain.from_iterable(item.reserved_resources_full.values()), *(item.unreserved_resources_full or ())]
        return kept(listed), kept(item.used_resources_full)
    reserved = {role: each.amounts() for role, each in item.reserved_resources.items()}
    if item.used_resources_full is None:
        return reserved, None if reserved else {}
    return reserved, kept(item.used_resources_full, apart=False)


def _amounts(resources: V0Resources | None) -> Amounts:
    return resources.amounts() if resources else NOTHING


def _of_no_task(frameworks: Iterable[_Framework], tasks: Iterable[Task]) -> Amounts:
    """Return what frameworks use beyond their tasks: executors of their own, on agents the master does not name (before 0.23)."""
    by_tasks = {item.id: NOTHING for item in frameworks}
    for task in tasks:
        by_tasks[task.framework] = by_tasks.get(task.framework, NOTHING) + task.amounts
    return total(_amounts(item.used_resources) - by_tasks[item.id] for item in frameworks)


def _tasks(items: Iterable[_Task], version: str) -> list[Task]:
    unsaid = "mesos" if names_containers(version) else "docker"
    alike: dict[Amounts, Amounts] = {}
    return [_task(item, unsaid, alike) for item in items if item.state in LIVE_STATES]


def _task(item: _Task, unsaid: str, alike: dict[Amounts, Amounts]) -> Task:
    amounts = item.resources.amounts(ports=False) if item.resources else NOTHING
    container, parents, started = place(item.statuses)
    return Task(
        id=item.id,
        framework=item.framework_id,
        agent=item.slave_id,
        state=item.state,
        name=item.name,
        executor=item.executor_id,
        started=started,
        container=container,
        parents=parents,
        containerizer=item.container.type.lower() if item.container else unsaid,
        ports=ports(port_ranges(item.resources.ports)) if item.resources else (),
        labels={label.key: label.value for label in item.labels or ()},
        amounts=alike.setdefault(amounts, amounts),
    )
