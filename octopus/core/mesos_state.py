"""The master's ``/state`` (v0) in every shape from Mesos 0.19 to 1.11 and ClusterD, read into a Snapshot.

``completed_tasks`` and ``completed_frameworks``, most of the bytes, are not in the types below and so are skipped while decoding.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from octopus.core.inventory import LIVE_STATES, Agent, Snapshot, Task
from octopus.core.wire import ContainerType, Entries, Label, Status, address, place, port_ranges, ports, read_json


class _Agent(msgspec.Struct):
    id: str
    hostname: str = ""
    pid: str = ""


class _Resources(msgspec.Struct, gc=False):
    ports: str = ""


class _Task(msgspec.Struct):
    id: str
    framework_id: str
    slave_id: str
    state: str
    name: str = ""
    executor_id: str = ""
    statuses: list[Status] = []
    labels: list[Label] | None = None
    resources: _Resources | None = None
    container: ContainerType | None = None


class _Framework(msgspec.Struct):
    id: str
    name: str = ""
    tasks: list[msgspec.Raw] = []


class _State(msgspec.Struct):
    slaves: list[msgspec.Raw]
    frameworks: list[msgspec.Raw]
    version: str = ""
    leader: str = ""
    pid: str = ""
    elected_time: float | None = None
    recovered_slaves: list[msgspec.Raw] | None = None
    orphan_tasks: list[msgspec.Raw] = []


class _Tasks(msgspec.Struct):
    tasks: list[msgspec.Raw]


def names_containers(version: str) -> bool:
    """Whether a master of this version says which containerizer runs a task (0.27); an unreadable version is taken as new."""
    numbers = version.split("-")[0].split(".")
    return not (numbers[0] == "0" and len(numbers) > 1 and numbers[1].isdecimal() and int(numbers[1]) < 27)


def decode_state(body: bytes, source: str = "Mesos /state") -> Snapshot:
    """Return what a master's ``/state`` says. Raise BadUpstream when it is not one."""
    state = read_json(body, _State, source)
    entries = Entries()
    frameworks = entries.read(state.frameworks, _Framework)
    raws = (raw for framework in [*(item.tasks for item in frameworks), state.orphan_tasks] for raw in framework)
    recovered = None if state.recovered_slaves is None else [item.id for item in entries.read(state.recovered_slaves, _Agent)]
    return Snapshot(
        agents=[_agent(item) for item in entries.read(state.slaves, _Agent)],
        frameworks={item.id: item.name for item in frameworks},
        tasks=_tasks(entries.read(raws, _Task), state.version),
        recovered=recovered,
        elected=state.elected_time or 0.0,
        version=state.version,
        leader=state.leader,
        pid=state.pid,
        skipped=entries.skipped,
    )


def decode_tasks(body: bytes, source: str = "Mesos /tasks") -> list[Task]:
    """Return the live tasks of a master's ``/tasks?task_id=`` (1.4). Raise BadUpstream when it is not that."""
    return _tasks(Entries().read(read_json(body, _Tasks, source).tasks, _Task), version="")


def _agent(item: _Agent) -> Agent:
    prefix, ip, port = address(item.pid)
    return Agent(id=item.id, hostname=item.hostname, ip=ip, port=port, prefix=prefix)


def _tasks(items: Iterable[_Task], version: str) -> list[Task]:
    unsaid = "mesos" if names_containers(version) else "docker"
    return [_task(item, unsaid) for item in items if item.state in LIVE_STATES]


def _task(item: _Task, unsaid: str) -> Task:
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
    )
