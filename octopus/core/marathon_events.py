"""What Marathon tells on its event stream, as far as a history needs it (Marathon ``docs/event-bus.md``, 0.8 to 1.11)."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec

from octopus.core.errors import printable
from octopus.core.types import Value

MOST_APPS = 20
"""Apps named of one deployment."""


class EventKind(StrEnum):
    """What an event is about."""

    DEPLOYMENT = "deployment"
    CHANGE = "change"
    FAILURE = "failure"
    HEALTH = "health"
    SCHEDULER = "scheduler"


KINDS = {
    "deployment_success": EventKind.DEPLOYMENT,
    "deployment_failed": EventKind.DEPLOYMENT,
    "deployment_step_failure": EventKind.DEPLOYMENT,
    "group_change_success": EventKind.CHANGE,
    "group_change_failed": EventKind.CHANGE,
    "api_post_event": EventKind.CHANGE,
    "pod_created_event": EventKind.CHANGE,
    "pod_updated_event": EventKind.CHANGE,
    "pod_deleted_event": EventKind.CHANGE,
    "app_terminated_event": EventKind.CHANGE,
    "status_update_event": EventKind.FAILURE,
    "health_status_changed_event": EventKind.HEALTH,
    "unhealthy_task_kill_event": EventKind.HEALTH,
    "unhealthy_instance_kill_event": EventKind.HEALTH,
    "failed_health_check_event": EventKind.HEALTH,
    "scheduler_registered_event": EventKind.SCHEDULER,
    "scheduler_reregistered_event": EventKind.SCHEDULER,
    "scheduler_disconnected_event": EventKind.SCHEDULER,
}
"""Of ``instance_changed_event`` and ``instance_health_changed_event`` (1.4) nothing is taken: these tell the same of apps."""

HEARD = frozenset(KINDS)
COUNTED_ONLY = frozenset({"failed_health_check_event"})
"""So frequent while an app is ill that they would be all that a history holds."""

FAILED = frozenset(
    {"TASK_FAILED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_UNREACHABLE", "TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_UNKNOWN"}
)
"""States of a task that went wrong."""


class MarathonEvent(Value, frozen=True, kw_only=True):
    """One event. ``time`` is when it came (seconds since 1970), ``name`` Marathon's; the rest is "" where it does not say.

    ``apps`` are those concerned, ``state`` a task's (TASK_FAILED), ``healthy`` or ``unhealthy``, ``detail`` a message, a reason, a
    deployment's id, or who asked for what. All of it is harmless to a terminal.
    """

    time: float
    kind: EventKind
    name: str
    apps: tuple[str, ...] = ()
    task: str = ""
    host: str = ""
    state: str = ""
    detail: str = ""


class _Plan(msgspec.Struct):
    id: str = ""
    steps: list[Any] = []


class _Data(msgspec.Struct, rename="camel"):
    id: str = ""
    plan: _Plan | None = None
    app_id: str = ""
    group_id: str = ""
    task_id: str = ""
    instance_id: str = ""
    host: str = ""
    task_status: str = ""
    message: str = ""
    reason: str = ""
    alive: bool | None = None
    client_ip: str = ""
    uri: str = ""


def read_event(name: str, data: bytes, time: float) -> MarathonEvent | None:
    """Return an event that is told of, None for the others; of one whose data cannot be read only the name is known."""
    kind = KINDS.get(name)
    if kind is None:
        return None
    try:
        told = msgspec.json.decode(data, type=_Data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = _Data()
    plan = told.plan or _Plan()
    apps = [each for each in (told.app_id, told.group_id) if each] or list(dict.fromkeys(_apps(plan.steps)))
    asked = f"{told.client_ip} {told.uri}".strip()
    return MarathonEvent(
        time=time,
        kind=kind,
        name=name,
        apps=tuple(printable(each) for each in apps[:MOST_APPS]),
        task=printable(told.task_id or told.instance_id),
        host=printable(told.host),
        state=printable(told.task_status) or ("" if told.alive is None else "healthy" if told.alive else "unhealthy"),
        detail=printable(told.message or told.reason or told.id or plan.id or asked),
    )


def is_kept(event: MarathonEvent) -> bool:
    """Whether an event belongs into a history: of tasks only those that went wrong."""
    if event.name in COUNTED_ONLY:
        return False
    return event.name != "status_update_event" or event.state in FAILED


def _apps(steps: list[Any]) -> Iterator[str]:
    """Yield the apps and pods in a plan's steps, in each form they have had: actions, lists of them, or objects that hold them."""
    for step in steps:
        actions = step.get("actions", [step]) if isinstance(step, dict) else step
        for action in actions if isinstance(actions, list) else ():
            named = action.get("app") or action.get("pod") if isinstance(action, dict) else None
            if isinstance(named, str):
                yield named
