"""Marathon's apps, pods, instances and deployments, and the forms of its ids."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from octopus.demo.model import Task
from octopus.demo.versions import Version

_SEGMENT = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_DEFAULTS: dict[str, Any] = {
    "cmd": None,
    "args": None,
    "user": None,
    "env": {},
    "instances": 1,
    "cpus": 1.0,
    "mem": 128.0,
    "disk": 0.0,
    "gpus": 0,
    "executor": "",
    "constraints": [],
    "uris": [],
    "fetch": [],
    "storeUrls": [],
    "backoffSeconds": 1,
    "backoffFactor": 1.15,
    "maxLaunchDelaySeconds": 3600,
    "container": None,
    "healthChecks": [],
    "readinessChecks": [],
    "dependencies": [],
    "labels": {},
    "acceptedResourceRoles": None,
    "ipAddress": None,
    "residency": None,
    "secrets": {},
    "taskKillGracePeriodSeconds": None,
    "requirePorts": False,
}


class Invalid(ValueError):
    """The definition is not one that Marathon takes."""


class Unknown(KeyError):
    """No such app, task or deployment."""


class Locked(Exception):
    """The app is in these deployments."""

    def __init__(self, deployments: list[str]) -> None:
        super().__init__(", ".join(deployments))
        self.deployments = deployments


def stamp(seconds: float) -> str:
    """Return an instant as Marathon writes it: ISO 8601, milliseconds, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def safe_path(app_id: str) -> str:
    """Return the app's path as it stands in task ids."""
    return app_id.strip("/").replace("/", "_")


def reversed_path(app_id: str) -> str:
    """Return the app's path as it stands in task names: ``logstash.logging``."""
    return ".".join(reversed(app_id.strip("/").split("/")))


def instance_id(app_id: str, version: Version, uuid1: str, *, pod: bool = False) -> str:
    """Return the id of an instance; before 1.8 that of an app's one task is the same."""
    marked = pod or version.since(1, 8)
    return f"{safe_path(app_id)}.{'instance-' if marked else ''}{uuid1}"


def task_id(instance: str, version: Version, container: str = "") -> str:
    """Return the id of an instance's task; ``container`` names it within a pod."""
    if container:
        return f"{instance}.{container}.1" if version.since(1, 8) else f"{instance}.{container}"
    return f"{instance}._app.1" if version.since(1, 8) else instance


def checked_id(app_id: object) -> str:
    """Return an absolute app id. Raise Invalid."""
    text = app_id if isinstance(app_id, str) else ""
    text = "/" + text.strip("/")
    if len(text) > 1000 or not all(_SEGMENT.fullmatch(segment) for segment in text[1:].split("/")):
        raise Invalid("id must fully match regular expression")
    return text


@dataclass(slots=True)
class Instance:
    """An instance of an app (one task) or of a pod (one task for each container)."""

    id: str
    app_id: str
    version: str
    hostname: str
    agent_id: str
    attributes: dict[str, str | float]
    staged_at: float
    tasks: list[Task]
    started_at: float | None = None
    doomed: bool = False

    @property
    def running(self) -> bool:
        """Whether every task of it runs."""
        return all(task.state == "TASK_RUNNING" for task in self.tasks)

    @property
    def gone(self) -> bool:
        """Whether no task of it is left."""
        return not any(task.live for task in self.tasks)


@dataclass(slots=True)
class App:
    """An app or a pod (``pod``: the definition is then a pod's) and its instances by id."""

    id: str
    definition: dict[str, Any]
    instances: int
    version: str
    last_scaling_at: str
    last_config_change_at: str
    pod: bool = False
    deleted: bool = False
    running: dict[str, Instance] = field(default_factory=dict)
    last_failure: dict[str, Any] | None = None
    not_before: float = 0.0
    failures: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    waiting_since: float = 0.0

    def current(self) -> list[Instance]:
        """Return the instances of the present configuration that are not being killed."""
        return [each for each in self.running.values() if each.version >= self.last_config_change_at and not each.doomed]

    def outdated(self) -> list[Instance]:
        """Return the instances of earlier configurations that are not being killed."""
        return [each for each in self.running.values() if each.version < self.last_config_change_at and not each.doomed]

    def settled(self) -> bool:
        """Whether there is nothing left to start or stop."""
        current = self.current()
        return len(self.running) == len(current) == self.instances and all(each.running for each in current)

    def back_off(self, now: float) -> None:
        """Wait before the next launch, longer after each failure."""
        delay = self.definition.get("backoffSeconds", 1) * self.definition.get("backoffFactor", 1.15) ** self.failures
        self.failures += 1
        self.not_before = now + min(float(delay), float(self.definition.get("maxLaunchDelaySeconds", 3600)))


@dataclass(slots=True)
class Deployment:
    """One change under way; ``previous`` is what a rollback restores (None: the app did not exist)."""

    id: str
    version: str
    app_id: str
    action: str
    previous: tuple[dict[str, Any], int] | None
    pod: bool = False


def complete(definition: dict[str, Any]) -> dict[str, Any]:
    """Return an app's definition with Marathon's defaults. Raise Invalid."""
    full = {**_DEFAULTS, **definition}
    image = (full["container"] or {}).get("docker", {}).get("image") if isinstance(full["container"] or {}, dict) else None
    if not (full["cmd"] or full["args"] or image):
        raise Invalid("AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")
    for name in ("cpus", "mem", "disk"):
        if not isinstance(full[name], int | float) or isinstance(full[name], bool) or full[name] < 0:
            raise Invalid(f"{name} must be a number that is not negative")
    full["upgradeStrategy"] = {"minimumHealthCapacity": 1.0, "maximumOverCapacity": 1.0, **(full.get("upgradeStrategy") or {})}
    count_of(full["instances"])
    return full


def count_of(instances: object) -> int:
    """Return a number of instances; 0.x clients send it as a string. Raise Invalid."""
    if isinstance(instances, str) and instances.isascii() and instances.isdigit():
        return int(instances)
    if not isinstance(instances, int) or isinstance(instances, bool) or instances < 0:
        raise Invalid("instances must be greater than or equal to 0")
    return instances


def mappings_of(definition: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an app's port mappings, from where either form of the container has them."""
    container = definition.get("container") or {}
    return container.get("portMappings") or container.get("docker", {}).get("portMappings") or []


def wanted_ports(definition: dict[str, Any]) -> list[int]:
    """Return the host ports an instance needs, 0 for any: one even for apps that never asked."""
    if mappings := mappings_of(definition):
        return [mapping.get("hostPort", 0) for mapping in mappings]
    if "portDefinitions" in definition or "ports" in definition:
        declared = definition.get("ports") or [each.get("port", 0) for each in definition.get("portDefinitions") or []]
        return [port if definition["requirePorts"] else 0 for port in declared]
    return [] if any(net.get("mode") == "container" for net in definition.get("networks") or []) else [0]
