"""The loop of a Marathon: starts and stops instances until every app is what it should be, and ends deployments."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from octopus.demo import placing
from octopus.demo.app_model import App, Deployment, Instance, stamp
from octopus.demo.launching import Launcher
from octopus.demo.marathon_events import MarathonEvents
from octopus.demo.mesos import Mesos
from octopus.demo.model import Task
from octopus.demo.versions import Version


@dataclass(eq=False)
class Scheduler:
    """Holds apps, instances and deployments. ``start`` and ``stop`` run and end a task that Mesos has accepted; they report
    through ``mesos.update``. Nothing is started or ended while ``leads`` is False.
    """

    version: Version
    mesos: Mesos
    launcher: Launcher
    rng: random.Random
    events: MarathonEvents
    start: Callable[[Task], None]
    stop: Callable[[Task], None]
    replace_unreachable: bool
    leads: bool = False
    apps: dict[str, App] = field(default_factory=dict)
    deployments: dict[str, Deployment] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Listen to Mesos."""
        self._instances: dict[str, Instance] = {}
        self._unsettled: set[str] = set()
        self._stepping = self._again = False
        self.mesos.on_update.append(self._task_changed)
        self.mesos.on_agents.append(self.step)

    def instance_of(self, task_id: str) -> Instance | None:
        """Return the instance that this task belongs to."""
        return self._instances.get(task_id)

    def adopt(self, app: App, instance: Instance) -> None:
        """Take an instance into the books."""
        app.running[instance.id] = instance
        for task in instance.tasks:
            self._instances[task.id] = instance

    def begin(self, deployment: Deployment) -> None:
        """Take up a deployment; ``step`` carries it out."""
        app = self.apps[deployment.app_id]
        self.deployments[deployment.id] = deployment
        app.not_before, app.waiting_since, app.rejected = 0.0, self.mesos.clock(), {}
        self._unsettled.add(app.id)
        self.events.deployment_info(deployment, self.apps)

    def drop(self, deployment_id: str) -> Deployment | None:
        """Give a deployment up where it stands."""
        deployment = self.deployments.pop(deployment_id, None)
        if deployment is not None:
            self.events.deployment_ended(deployment, self.apps, success=False)
        return deployment

    def step(self) -> None:
        """Start and stop what is due and end the deployments that are through; does nothing without a leader on either side."""
        if self._stepping:
            self._again = True
            return
        self._stepping = True
        try:
            self._again = True
            while self._again and self.leads and self.mesos.leader:
                self._again = False
                for app_id in list(self._unsettled):
                    self._advance(self.apps[app_id])
                self._end_deployments()
        finally:
            self._stepping = False

    def _advance(self, app: App) -> None:
        if app.settled():
            self._unsettled.discard(app.id)
            return
        current, outdated = app.current(), app.outdated()
        while len(app.current()) < app.instances and self.mesos.clock() >= app.not_before:
            if not self._launch(app):
                break
        up = sum(each.running for each in current)
        for each in outdated[: max(0, len(outdated) - max(0, app.instances - up))]:
            self.kill(each)
        surplus = len(app.current()) - app.instances
        if surplus > 0:
            youngest = sorted(app.current(), key=lambda each: (each.running, -each.staged_at))
            for each in youngest[:surplus]:
                self.kill(each)

    def _launch(self, app: App) -> bool:
        """Launch one instance on the first agent, in random order, that takes it; False when none does."""
        placed = app.current() if self.version.since(1, 1) else [each for each in app.running.values() if not each.doomed]
        app.rejected = {}
        agents = list(self.mesos.registry.agents.values())
        self.rng.shuffle(agents)
        for agent in agents:
            reason = placing.refusal(app, agent, placed)
            if not reason:
                self._start(self.launcher.make(app, agent), app)
                return True
            app.rejected[reason] = app.rejected.get(reason, 0) + 1
        return False

    def _start(self, instance: Instance, app: App) -> None:
        self.adopt(app, instance)
        for task in instance.tasks:
            self.mesos.launch(task)
            self.events.status_update(task, instance, app)
        for task in instance.tasks:
            self.start(task)

    def kill(self, instance: Instance) -> None:
        """End an instance, once."""
        if instance.doomed:
            return
        instance.doomed = True
        for task in instance.tasks:
            if task.live:
                self.stop(task)

    def _task_changed(self, task: Task) -> None:
        instance = self._instances.get(task.id)
        if instance is None:
            return
        app = self.apps[instance.app_id]
        self._unsettled.add(app.id)
        self.events.status_update(task, instance, app)
        if instance.running and instance.started_at is None:
            instance.started_at, app.failures = self.mesos.clock(), 0
        if task.state == "TASK_UNREACHABLE" and not self.replace_unreachable:
            return
        if not task.live:
            self._task_ended(task, instance, app)
        self.step()

    def _task_ended(self, task: Task, instance: Instance, app: App) -> None:
        """Forget the instance once nothing of it is left; what failed by itself waits before it is replaced."""
        if task.state in ("TASK_FAILED", "TASK_LOST", "TASK_ERROR", "TASK_UNREACHABLE"):
            app.last_failure = _failure(task, instance, app)
        if not instance.doomed and task.state in ("TASK_FAILED", "TASK_FINISHED", "TASK_ERROR"):
            app.back_off(self.mesos.clock())
        if not instance.gone:
            self.kill(instance)
            return
        if app.running.pop(instance.id, None) is not None:
            app.waiting_since = self.mesos.clock()
            for each in instance.tasks:
                self._instances.pop(each.id, None)

    def _end_deployments(self) -> None:
        for deployment in list(self.deployments.values()):
            app = self.apps[deployment.app_id]
            if app.id in self._unsettled:
                continue
            del self.deployments[deployment.id]
            if app.deleted:
                del self.apps[app.id]
                self.events.app_terminated(app)
            self.events.deployment_ended(deployment, self.apps, success=True)


def _failure(task: Task, instance: Instance, app: App) -> dict[str, Any]:
    last = task.statuses[-1]
    return {
        "appId": app.id,
        "host": instance.hostname,
        "message": last.message,
        "state": task.state,
        "taskId": task.id,
        "timestamp": stamp(last.timestamp),
        "version": instance.version,
        "slaveId": task.agent_id,
    }
