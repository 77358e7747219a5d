"""The Marathon half: apps and pods, the deployments that change them, and the loop that starts and stops instances."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any

from octopus.demo import app_model
from octopus.demo.app_model import App, Deployment, Instance, Invalid, Locked, Unknown, stamp
from octopus.demo.broadcast import Broadcast
from octopus.demo.launching import Launcher
from octopus.demo.marathon_events import MarathonEvents
from octopus.demo.mesos import Credentials, Mesos
from octopus.demo.model import Framework, Task
from octopus.demo.scheduler import Scheduler
from octopus.demo.versions import Version

GREGORIAN_OFFSET = 0x01B21DD213814000
"""100 ns steps between the epoch of UUIDs (1582) and 1970."""


class Marathon:
    """A Marathon of one version. ``start`` and ``stop`` are what the scheduler runs and ends tasks with.

    ``nodes`` are the ``host:port`` it is served at; ``lead`` says which of them leads.
    """

    def __init__(
        self,
        version: Version,
        mesos: Mesos,
        framework: Framework,
        rng: random.Random,
        start: Callable[[Task], None],
        stop: Callable[[Task], None],
        *,
        replace_unreachable: bool,
        credentials: Credentials | None = None,
    ) -> None:
        self.version, self.mesos, self.framework, self.credentials = version, mesos, framework, credentials
        self.nodes: list[str] = []
        self.leader: str | None = None
        self.stream = Broadcast(1024 if version.since(1, 8) else 50_000)
        self.events = MarathonEvents(version, mesos.clock, self.stream)
        launcher = Launcher(version, mesos, framework, self.uuid1, rng)
        self.scheduler = Scheduler(version, mesos, launcher, rng, self.events, start, stop, replace_unreachable)
        self.apps, self.deployments = self.scheduler.apps, self.scheduler.deployments
        self._last_stamp = 0.0
        self._uuids = 0

    def register(self) -> None:
        """Register with Mesos, with the capabilities of this version."""
        framework = self.framework
        framework.id = f"{self.mesos.masters[0].id}-0000"
        framework.webui_url = f"http://{self.nodes[0]}"
        if self.version.since(1, 4) and self.mesos.version.since(1, 4):
            multi_role = ("MULTI_ROLE",) if self.version.since(1, 9) else ()
            framework.capabilities = (*multi_role, "PARTITION_AWARE", "TASK_KILLING_STATE")
        self.mesos.add_framework(framework)

    def lead(self, node: str | None) -> None:
        """Let this node lead (None: nobody); event streams end."""
        self.stream.close_all()
        self.leader, self.scheduler.leads = node, node is not None
        self.scheduler.step()

    def uuid1(self) -> str:
        """Return a UUID of version 1, unique by a counter in its time."""
        self._uuids += 1
        ticks = int(self.mesos.clock() * 10_000_000) + GREGORIAN_OFFSET + self._uuids
        fields = (ticks & 0xFFFFFFFF, (ticks >> 32) & 0xFFFF, ((ticks >> 48) & 0x0FFF) | 0x1000)
        return str(uuid.UUID(fields=(*fields, 0x9C, 0x5B, 0x56847AFE9799)))

    def new_version(self) -> str:
        """Return the next version: an instant, later than every one before."""
        self._last_stamp = max(self.mesos.clock(), self._last_stamp + 0.001)
        return stamp(self._last_stamp)

    # what people ask for

    def app(self, app_id: str, *, pod: bool = False) -> App:
        """Return an app or a pod. Raise Unknown."""
        app_id = "/" + app_id.strip("/")
        app = self.apps.get(app_id)
        if app is None or app.pod != pod:
            raise Unknown(app_id)
        return app

    def put(self, app_id: str, change: dict[str, Any], *, force: bool = False, pod: bool = False) -> Deployment:
        """Create an app or change parts of it; a pod is replaced whole. Raise Invalid, Locked."""
        app_id = app_model.checked_id(app_id)
        app = self.apps.get(app_id)
        change = {name: value for name, value in change.items() if name not in ("id", "version")}
        if app is None:
            return self._create(app_id, change, pod=pod)
        if app.pod != pod:
            raise Invalid("an app and a pod cannot share an id")
        definition = change if pod else {**app.definition, **change}
        definition, instances = _checked(definition, pod=pod)
        self._unlock(app, force=force)
        previous, version = (app.definition, app.instances), self.new_version()
        scaled_only = _without_count(definition) == _without_count(app.definition)
        app.definition, app.instances, app.version, app.last_scaling_at = definition, instances, version, version
        if not scaled_only:
            app.last_config_change_at = version
        return self._deploy(app, "ScaleApplication" if scaled_only else "RestartApplication", previous)

    def _create(self, app_id: str, change: dict[str, Any], *, pod: bool) -> Deployment:
        definition, instances = _checked(change, pod=pod)
        version = self.new_version()
        app = App(app_id, definition, instances, version, version, version, pod)
        self.apps[app_id] = app
        return self._deploy(app, "StartApplication", None)

    def restart(self, app: App, *, force: bool = False) -> Deployment:
        """Replace every instance. Raise Locked."""
        self._unlock(app, force=force)
        app.version = app.last_config_change_at = self.new_version()
        return self._deploy(app, "RestartApplication", (app.definition, app.instances))

    def delete(self, app: App, *, force: bool = False) -> Deployment:
        """Stop an app and forget it. Raise Locked."""
        self._unlock(app, force=force)
        previous = (app.definition, app.instances)
        app.deleted, app.instances = True, 0
        return self._deploy(app, "StopApplication", previous)

    def kill(self, instances: list[Instance], *, scale: bool = False) -> Deployment | None:
        """Kill instances; they are replaced unless the app is scaled down by as many. Raise Locked."""
        deployment = None
        if scale and instances:
            app = self.apps[instances[0].app_id]
            self._unlock(app, force=False)
            previous = (app.definition, app.instances)
            app.instances = max(0, app.instances - len(instances))
            app.version = app.last_scaling_at = self.new_version()
            deployment = self._deploy(app, "ScaleApplication", previous, step=False)
        for instance in instances:
            self.scheduler.kill(instance)
        self.scheduler.step()
        return deployment

    def cancel(self, deployment_id: str, *, rollback: bool) -> Deployment | None:
        """Drop a deployment, and deploy what was before it if asked. Raise Unknown."""
        found = self.scheduler.drop(deployment_id)
        if found is None:
            raise Unknown(deployment_id)
        app = self.apps.get(found.app_id)
        if not rollback or app is None:
            return None
        app.deleted = False
        if found.previous is None:
            return self.delete(app)
        definition, instances = found.previous
        return self.put(app.id, {**definition, "instances": instances}, force=True, pod=app.pod)

    def instance(self, task_or_instance: str) -> Instance:
        """Return the instance with this id, or of the task with this id. Raise Unknown."""
        found = self.scheduler.instance_of(task_or_instance)
        if found is None:
            found = next((each for app in self.apps.values() for each in app.running.values() if each.id == task_or_instance), None)
        if found is None:
            raise Unknown(task_or_instance)
        return found

    def owner(self, task: Task) -> str:
        """Return the id of the app whose instance this task is of, "" when Marathon does not know it."""
        instance = self.scheduler.instance_of(task.id)
        return instance.app_id if instance else ""

    def locks(self, app_id: str) -> list[str]:
        """Return the ids of the deployments an app is in."""
        return [each.id for each in self.deployments.values() if each.app_id == app_id]

    def _unlock(self, app: App, *, force: bool) -> None:
        locks = self.locks(app.id)
        if locks and not force:
            raise Locked(locks)
        for lock in locks:
            self.scheduler.drop(lock)

    def _deploy(self, app: App, action: str, previous: tuple[dict[str, Any], int] | None, *, step: bool = True) -> Deployment:
        deployment = Deployment(self.mesos.new_uuid(), app.version, app.id, action, previous, app.pod)
        self.scheduler.begin(deployment)
        if step:
            self.scheduler.step()
        return deployment


def _checked(definition: dict[str, Any], *, pod: bool) -> tuple[dict[str, Any], int]:
    if pod:
        containers = definition.get("containers")
        if (
            not isinstance(containers, list)
            or not containers
            or not all(isinstance(each, dict) and each.get("name") for each in containers)
        ):
            raise Invalid("a pod needs containers with names")
        return definition, app_model.count_of(definition.get("scaling", {}).get("instances", 1))
    full = app_model.complete(definition)
    return full, app_model.count_of(full["instances"])


def _without_count(definition: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in definition.items() if name not in ("instances", "scaling")}
