"""Marathon's ``/v2/apps``, ``/v2/tasks``, ``/v2/pods::status`` and ``/v2/info`` (0.8 to 1.11), read into a MarathonSnapshot."""

from __future__ import annotations

import msgspec

from octopus.core.inventory import MarathonSnapshot, MarathonTask
from octopus.core.wire import Entries, read_json

Labels = dict[str, str]


class _App(msgspec.Struct):
    id: str
    labels: Labels | None = None


class _Apps(msgspec.Struct):
    apps: list[msgspec.Raw]


class _Task(msgspec.Struct, rename="camel"):
    id: str
    app_id: str
    slave_id: str | None = None


class _Tasks(msgspec.Struct):
    tasks: list[msgspec.Raw]


class _PodContainer(msgspec.Struct, rename="camel"):
    container_id: str = ""


class _PodInstance(msgspec.Struct, rename="camel"):
    agent_id: str | None = None
    containers: list[_PodContainer] = []


class _PodSpec(msgspec.Struct):
    labels: Labels | None = None


class _Pod(msgspec.Struct):
    id: str
    spec: _PodSpec | None = None
    instances: list[_PodInstance] = []


class _MarathonFacts(msgspec.Struct, rename="camel"):
    framework_id: str | None = None


def decode_marathon(apps: bytes, tasks: bytes, pods: bytes = b"[]", info: bytes = b"{}", source: str = "Marathon") -> MarathonSnapshot:
    """Return what Marathon's four answers say together. Raise BadUpstream when one is not what it should be."""
    entries = Entries()
    found_apps = entries.read(read_json(apps, _Apps, f"{source} /v2/apps").apps, _App)
    found_tasks = entries.read(read_json(tasks, _Tasks, f"{source} /v2/tasks").tasks, _Task)
    found_pods = entries.read(read_json(pods, list[msgspec.Raw], f"{source} /v2/pods::status"), _Pod)
    labels = {app.id: app.labels or {} for app in found_apps}
    labels |= {pod.id: (pod.spec.labels if pod.spec else None) or {} for pod in found_pods}
    placed = {task.id: MarathonTask(task.app_id, task.slave_id or "") for task in found_tasks}
    for pod in found_pods:
        placed |= {c.container_id: MarathonTask(pod.id, i.agent_id or "") for i in pod.instances for c in i.containers if c.container_id}
    framework = read_json(info, _MarathonFacts, f"{source} /v2/info").framework_id or ""
    return MarathonSnapshot(tasks=placed, labels=labels, framework=framework, skipped=entries.skipped)
