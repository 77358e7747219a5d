"""The master's v1 operator API: ``GET_STATE`` and the events of ``SUBSCRIBE`` (Mesos 1.0 to 1.11), read into our values.

A status's ``data`` (the output of ``docker inspect``, secrets included) is not in the types below: it is never decoded.
"""

from __future__ import annotations

import msgspec

from octopus.core.errors import BadUpstream
from octopus.core.inventory import LIVE_STATES, Agent, Snapshot, Task, used_by_agent
from octopus.core.mesos_v1_wire import AgentFacts, V1Agent, V1Task, agent_of, task_of
from octopus.core.resource_wire import in_all
from octopus.core.resources import NOTHING, Amounts
from octopus.core.wire import Entries, IdValue, Status, container_ids, read_json

AGENT_LOST = frozenset({"REASON_AGENT_REMOVED", "REASON_SLAVE_REMOVED"})
"""The master's reason for TASK_UNREACHABLE, or TASK_LOST for frameworks that know no such state (``markUnreachable``)."""


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
    """A task's new state; ``container`` is "" where the status names none. ``at`` in seconds since 1970.

    ``agent_lost``: it is so because its agent cannot be reached, which is told by no event of its own.
    """

    framework: str
    task: str
    state: str
    at: float = 0.0
    container: str = ""
    parents: tuple[str, ...] = ()
    agent_lost: bool = False


class AgentAdded(msgspec.Struct, frozen=True):
    """An agent that is new, or back; ``allocated`` is all that is used on it, by tasks that were added before and by executors."""

    agent: Agent
    allocated: Amounts = NOTHING


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
    task: V1Task


class _UpdatedStatus(Status):
    task_id: IdValue = msgspec.field(default_factory=IdValue)
    reason: str = ""


class _TaskUpdated(msgspec.Struct):
    framework_id: IdValue
    status: _UpdatedStatus
    state: str = ""


class _AgentAdded(msgspec.Struct):
    agent: V1Agent


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
        return TaskAdded(task_of(event.task_added.task))
    if event.agent_added:
        added = event.agent_added.agent
        return AgentAdded(agent_of(added), in_all(added.allocated_resources))
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
        agent_lost=status.reason in AGENT_LOST,
    )


def _snapshot(state: _State) -> Snapshot:
    entries = Entries()
    frameworks = entries.read(state.get_frameworks.frameworks, _Framework)
    found = entries.read([*state.get_tasks.tasks, *state.get_tasks.orphan_tasks], V1Task)
    tasks = [task_of(item) for item in found if item.state in LIVE_STATES]
    used = used_by_agent(tasks)
    return Snapshot(
        agents=[agent_of(item, used) for item in entries.read(state.get_agents.agents, V1Agent)],
        frameworks={item.framework_info.id.value: item.framework_info.name for item in frameworks},
        tasks=tasks,
        recovered=[item.id.value for item in entries.read(state.get_agents.recovered_agents, AgentFacts)],
        skipped=entries.skipped,
    )
