"""The master's v1 operator API: ``GET_STATE`` and the events of ``SUBSCRIBE`` (Mesos 1.0 to 1.11), read into our values.

A status's ``data`` (the output of ``docker inspect``, secrets included) is not in the types below: it is never decoded.
"""

from __future__ import annotations

import msgspec

from octopus.core.errors import BadUpstream
from octopus.core.inventory import LIVE_STATES, Agent, Snapshot, Task
from octopus.core.wire import (
    ContainerType,
    Entries,
    IdValue,
    Label,
    PortRange,
    Status,
    address,
    container_ids,
    place,
    ports,
    read_json,
)


class _AgentInfo(msgspec.Struct):
    id: IdValue
    hostname: str = ""


class _Agent(msgspec.Struct):
    agent_info: _AgentInfo
    pid: str = ""


class _Ranges(msgspec.Struct):
    range: list[PortRange] = []


class _Resource(msgspec.Struct):
    name: str = ""
    ranges: _Ranges | None = None


class _Labels(msgspec.Struct):
    labels: list[Label] = []


class _Task(msgspec.Struct):
    task_id: IdValue
    framework_id: IdValue
    agent_id: IdValue
    state: str
    name: str = ""
    executor_id: IdValue | None = None
    statuses: list[Status] = []
    labels: _Labels | None = None
    resources: list[_Resource] = []
    container: ContainerType | None = None


class _FrameworkInfo(msgspec.Struct):
    id: IdValue
    name: str = ""


class _Framework(msgspec.Struct):
    framework_info: _FrameworkInfo


class _GetTasks(msgspec.Struct):
    tasks: list[msgspec.Raw] = []
    orphan_tasks: list[msgspec.Raw] = []


class _GetFrameworks(msgspec.Struct):
    frameworks: list[msgspec.Raw] = []


class _GetAgents(msgspec.Struct):
    agents: list[msgspec.Raw] = []
    recovered_agents: list[msgspec.Raw] = []


class _State(msgspec.Struct):
    get_tasks: _GetTasks
    get_agents: _GetAgents
    get_frameworks: _GetFrameworks


class _Subscribed(msgspec.Struct):
    get_state: _State
    heartbeat_interval_seconds: float = 0.0


class _SubscribedEvent(msgspec.Struct):
    subscribed: _Subscribed


class _GetStateAnswer(msgspec.Struct):
    get_state: _State


class TaskAdded(msgspec.Struct, frozen=True):
    """A task that is new, or back with its agent."""

    task: Task


class TaskUpdated(msgspec.Struct, frozen=True):
    """A task's new state; ``container`` is "" where the status names none. ``at`` in seconds since 1970."""

    framework: str
    task: str
    state: str
    at: float = 0.0
    container: str = ""
    parents: tuple[str, ...] = ()


class AgentAdded(msgspec.Struct, frozen=True):
    """An agent that is new, or back."""

    agent: Agent


class AgentRemoved(msgspec.Struct, frozen=True):
    """An agent that is gone, and with it its tasks."""

    agent: str


class FrameworkChanged(msgspec.Struct, frozen=True):
    """A framework that registered or changed."""

    framework: str
    name: str


class FrameworkRemoved(msgspec.Struct, frozen=True):
    """A framework that is gone, and with it its tasks."""

    framework: str


MesosEvent = TaskAdded | TaskUpdated | AgentAdded | AgentRemoved | FrameworkChanged | FrameworkRemoved


class _TaskAdded(msgspec.Struct):
    task: _Task


class _UpdatedStatus(Status):
    task_id: IdValue = msgspec.field(default_factory=IdValue)


class _TaskUpdated(msgspec.Struct):
    framework_id: IdValue
    status: _UpdatedStatus
    state: str = ""


class _AgentAdded(msgspec.Struct):
    agent: _Agent


class _AgentRemoved(msgspec.Struct):
    agent_id: IdValue


class _FrameworkAdded(msgspec.Struct):
    framework: _Framework


class _Event(msgspec.Struct):
    type: str
    task_added: _TaskAdded | None = None
    task_updated: _TaskUpdated | None = None
    agent_added: _AgentAdded | None = None
    agent_removed: _AgentRemoved | None = None
    framework_added: _FrameworkAdded | None = None
    framework_updated: _FrameworkAdded | None = None
    framework_removed: _Framework | None = None


class _EventType(msgspec.Struct):
    type: str = ""


def decode_subscribed(body: bytes, source: str = "Mesos SUBSCRIBE") -> Snapshot:
    """Return the cluster as a stream's first record tells it. Raise BadUpstream when that is no SUBSCRIBED."""
    return _snapshot(read_json(body, _SubscribedEvent, source).subscribed.get_state)


def decode_get_state(body: bytes, source: str = "Mesos GET_STATE") -> Snapshot:
    """Return the cluster as ``GET_STATE`` tells it. Raise BadUpstream when it is not that."""
    return _snapshot(read_json(body, _GetStateAnswer, source).get_state)


def decode_event(record: bytes, source: str = "Mesos event") -> MesosEvent | None:
    """Return what a record says, None where it is nothing to us (HEARTBEAT, kinds not known). Raise BadUpstream."""
    try:
        event = msgspec.json.decode(record, type=_Event)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        kind = read_json(record, _EventType, source).type
        raise BadUpstream(source, f"an event that cannot be read ({error})", kind) from error
    return _event(event)


def _event(event: _Event) -> MesosEvent | None:
    if event.task_updated:
        return _task_updated(event.task_updated)
    if event.task_added:
        return TaskAdded(_task(event.task_added.task))
    if event.agent_added:
        return AgentAdded(_agent(event.agent_added.agent))
    if event.agent_removed:
        return AgentRemoved(event.agent_removed.agent_id.value)
    if changed := event.framework_added or event.framework_updated:
        return FrameworkChanged(changed.framework.framework_info.id.value, changed.framework.framework_info.name)
    if event.framework_removed:
        return FrameworkRemoved(event.framework_removed.framework_info.id.value)
    return None


def _task_updated(update: _TaskUpdated) -> TaskUpdated:
    status = update.status
    container, parents = container_ids(status)
    return TaskUpdated(
        framework=update.framework_id.value,
        task=status.task_id.value,
        state=update.state or status.state,
        at=status.timestamp,
        container=container,
        parents=parents,
    )


def _snapshot(state: _State) -> Snapshot:
    entries = Entries()
    frameworks = entries.read(state.get_frameworks.frameworks, _Framework)
    tasks = entries.read([*state.get_tasks.tasks, *state.get_tasks.orphan_tasks], _Task)
    return Snapshot(
        agents=[_agent(item) for item in entries.read(state.get_agents.agents, _Agent)],
        frameworks={item.framework_info.id.value: item.framework_info.name for item in frameworks},
        tasks=[_task(item) for item in tasks if item.state in LIVE_STATES],
        recovered=[item.id.value for item in entries.read(state.get_agents.recovered_agents, _AgentInfo)],
        skipped=entries.skipped,
    )


def _agent(item: _Agent) -> Agent:
    prefix, ip, port = address(item.pid)
    return Agent(id=item.agent_info.id.value, hostname=item.agent_info.hostname, ip=ip, port=port, prefix=prefix)


def _task(item: _Task) -> Task:
    container, parents, started = place(item.statuses)
    ranges = [entry for resource in item.resources if resource.name == "ports" and resource.ranges for entry in resource.ranges.range]
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
        ports=ports(ranges),
        labels={label.key: label.value for label in item.labels.labels} if item.labels else {},
    )
