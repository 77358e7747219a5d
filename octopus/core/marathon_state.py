"""Marathon's ``/v2/apps``, ``/v2/tasks``, ``/v2/pods::status`` and ``/v2/info`` (0.8 to 1.11), read into a MarathonSnapshot."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from octopus.core.errors import InvalidDocument
from octopus.core.inventory import MarathonSnapshot, MarathonTask
from octopus.core.placement_app import App, parse_app
from octopus.core.placement_rules import Rules, rules_of
from octopus.core.wire import Entries, read_json

Labels = dict[str, str]

MOST_FAULTS = 5
"""Told of one app."""
_CONSTRAINT = re.compile(r"/constraints\(([0-9]+)\)")


class _App(msgspec.Struct):
    id: str
    labels: Labels | None = None


class _Apps(msgspec.Struct):
    apps: list[msgspec.Raw]


class _Task(msgspec.Struct, rename="camel"):
    id: str
    app_id: str
    slave_id: str | None = None
    host: str | None = None
    version: str | None = None
    state: str | None = None


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


class _Configuration(msgspec.Struct):
    mesos_role: str | None = None
    features: list[str] | None = None
    maintenance_mode: bool | None = None


class _MarathonFacts(msgspec.Struct, rename="camel"):
    framework_id: str | None = None
    version: str = ""
    configuration: _Configuration = msgspec.field(name="marathon_config", default_factory=_Configuration)


def decode_marathon(
    apps: bytes,
    tasks: bytes,
    pods: bytes = b"[]",
    info: bytes = b"{}",
    source: str = "Marathon",
    default_roles: Sequence[str] = (),
) -> MarathonSnapshot:
    """Return what Marathon's four answers say together. Raise BadUpstream when one is not what it should be.

    ``default_roles`` are those of apps that name none, () for all that they may have.
    """
    entries = Entries()
    listed = read_json(apps, _Apps, f"{source} /v2/apps").apps
    found_apps = entries.read(listed, _App)
    found_tasks = entries.read(read_json(tasks, _Tasks, f"{source} /v2/tasks").tasks, _Task)
    found_pods = entries.read(read_json(pods, list[msgspec.Raw], f"{source} /v2/pods::status"), _Pod)
    facts = read_json(info, _MarathonFacts, f"{source} /v2/info")
    rules = _rules(facts, default_roles)
    definitions, unread = _definitions(listed, rules)
    labels = {app.id: app.labels or {} for app in found_apps}
    labels |= {pod.id: (pod.spec.labels if pod.spec else None) or {} for pod in found_pods}
    placed = _placed(found_tasks)
    for pod in found_pods:
        placed |= {c.container_id: MarathonTask(pod.id, i.agent_id or "") for i in pod.instances for c in i.containers if c.container_id}
    return MarathonSnapshot(
        tasks=placed,
        labels=labels,
        framework=facts.framework_id or "",
        skipped=entries.skipped,
        apps=definitions,
        unread=unread,
        rules=msgspec.structs.replace(rules, app_roles=frozenset(app.role for app in definitions.values() if app.role)),
    )


def _rules(facts: _MarathonFacts, default_roles: Sequence[str]) -> Rules:
    told = facts.configuration
    # Before 1.3 there are no features to be listed, and what is not told is not known.
    return rules_of(
        facts.version,
        role=told.mesos_role or "",
        features=told.features,
        default_roles=default_roles,
        maintenance=told.maintenance_mode,
    )


def _placed(tasks: Iterable[_Task]) -> dict[str, MarathonTask]:
    """Return tasks by id; texts that are alike are kept once."""
    share: dict[str, str] = {}

    def once(text: str | None) -> str:
        return share.setdefault(text, text) if text else ""

    return {
        task.id: MarathonTask(once(task.app_id), once(task.slave_id), once(task.version), once(task.host), once(task.state))
        for task in tasks
    }


def _definitions(apps: Iterable[msgspec.Raw], rules: Rules) -> tuple[dict[str, App], dict[str, str]]:
    """Return what each app asks for. Nothing is computed of one that cannot be read as Marathon's: of those, what is wrong with them."""
    found: dict[str, App] = {}
    unread: dict[str, str] = {}
    for raw in apps:
        try:
            document = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue
        try:
            app = parse_app(document, rules)
        except InvalidDocument as error:
            if isinstance(document, dict) and isinstance(name := document.get("id"), str):
                unread[name] = "; ".join(_fault(document, *fault) for fault in error.faults[:MOST_FAULTS])
        else:
            found[app.id] = app
    return found, unread


def _fault(document: dict[str, object], path: str, fault: str) -> str:
    """Return what is wrong in an app; of a constraint, also how it reads."""
    told, at = document.get("constraints"), _CONSTRAINT.fullmatch(path)
    which = f" {msgspec.json.encode(told[int(at[1])]).decode()}" if at and isinstance(told, list) else ""
    return f"{path.removeprefix('/') or 'all of it'}{which}: {fault}"
