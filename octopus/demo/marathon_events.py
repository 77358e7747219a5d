"""What Marathon says on ``/v2/events``, in the shape of each version (Marathon ``docs/event-bus.md``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from octopus.demo.app_model import App, Deployment, Instance, stamp
from octopus.demo.broadcast import Broadcast
from octopus.demo.model import Task
from octopus.demo.versions import Version

CONDITIONS = {
    "TASK_STAGING": "Staging",
    "TASK_STARTING": "Starting",
    "TASK_RUNNING": "Running",
    "TASK_KILLING": "Killing",
    "TASK_KILLED": "Killed",
    "TASK_FINISHED": "Finished",
    "TASK_FAILED": "Failed",
    "TASK_ERROR": "Error",
    "TASK_LOST": "Gone",
    "TASK_UNREACHABLE": "Unreachable",
}


def framed(event: dict[str, Any]) -> bytes:
    """Return an event as server-sent event."""
    return f"event: {event['eventType']}\n".encode() + b"data: " + msgspec.json.encode(event) + b"\n\n"


def plan_of(deployment: Deployment, version: Version) -> dict[str, Any]:
    """Return a deployment's one step, as plans and ``/v2/deployments`` hold it."""
    kind = "pod" if deployment.pod else "app"
    action = deployment.action.replace("Application", "Pod") if deployment.pod else deployment.action
    step = {"action": action, kind: deployment.app_id}
    return {"steps": [{"actions": [step]}] if version.since(1, 0) else [[step]], "action": step}


class MarathonEvents:
    """Writes the events of one Marathon to its stream."""

    def __init__(self, version: Version, clock: Callable[[], float], stream: Broadcast) -> None:
        self._version = version
        self._clock = clock
        self._stream = stream

    def attached(self, address: str) -> bytes:
        """Return the event that a new listener sees first."""
        return framed({"remoteAddress": address, "eventType": "event_stream_attached", "timestamp": stamp(self._clock())})

    def _send(self, kind: str, body: Callable[[], dict[str, Any]]) -> None:
        self._stream.publish(lambda: framed({**body(), "eventType": kind, "timestamp": stamp(self._clock())}))

    def status_update(self, task: Task, instance: Instance, app: App) -> None:
        """Tell of a task's state; since 1.4 of its instance's condition too."""
        self._send("status_update_event", lambda: self._status(task, instance, app))
        if self._version.since(1, 4):
            self._send("instance_changed_event", lambda: _instance_changed(task, instance, app))

    def _status(self, task: Task, instance: Instance, app: App) -> dict[str, Any]:
        message = task.statuses[-1].message if task.statuses else ""
        body: dict[str, Any] = {"slaveId": task.agent_id, "taskId": task.id, "taskStatus": task.state, "message": message, "appId": app.id}
        body |= {"host": instance.hostname, "ports": list(task.ports), "version": instance.version}
        if self._version.since(1, 0):
            body["ipAddresses"] = [{"ipAddress": task.ip, "protocol": "IPv4"}]
        return body

    def api_post(self, app: App, client: str, uri: str) -> None:
        """Tell that somebody wrote an app."""
        body = {"clientIp": client, "uri": uri, "appDefinition": {**app.definition, "id": app.id, "version": app.version}}
        self._send("api_post_event", lambda: body)

    def app_terminated(self, app: App) -> None:
        """Tell that an app is no more."""
        self._send("app_terminated_event", lambda: {"appId": app.id})

    def deployment_info(self, deployment: Deployment, apps: dict[str, App]) -> None:
        """Tell that a deployment begins."""
        self._send("deployment_info", lambda: self._progress(deployment, apps))

    def deployment_ended(self, deployment: Deployment, apps: dict[str, App], *, success: bool) -> None:
        """Tell that a deployment and its one step are over."""
        step = "deployment_step_success" if success else "deployment_step_failure"
        self._send(step, lambda: self._progress(deployment, apps))
        self._send("deployment_success" if success else "deployment_failed", lambda: self._over(deployment, apps))

    def _over(self, deployment: Deployment, apps: dict[str, App]) -> dict[str, Any]:
        return {"id": deployment.id, **({"plan": self._plan(deployment, apps)} if self._version.since(1, 0) else {})}

    def _progress(self, deployment: Deployment, apps: dict[str, App]) -> dict[str, Any]:
        action = plan_of(deployment, self._version)["action"]
        step = {"actions": [{"type": action["action"], **{k: v for k, v in action.items() if k != "action"}}]}
        return {"plan": self._plan(deployment, apps), "currentStep": step}

    def _plan(self, deployment: Deployment, apps: dict[str, App]) -> dict[str, Any]:
        """Return the plan; before 1.6 with the whole tree of apps before and after, which makes it heavy."""
        plan: dict[str, Any] = {"id": deployment.id, "version": deployment.version, "steps": plan_of(deployment, self._version)["steps"]}
        if not self._version.since(1, 6):
            tree: dict[str, Any] = {"id": "/", "groups": [], "dependencies": [], "version": deployment.version}
            tree["apps"] = [{**app.definition, "id": app.id, "version": app.version} for app in apps.values() if not app.pod]
            plan |= {"original": tree, "target": tree}
        return plan


def _instance_changed(task: Task, instance: Instance, app: App) -> dict[str, Any]:
    body: dict[str, Any] = {"instanceId": instance.id, "condition": CONDITIONS[task.state], "runSpecId": app.id}
    return {**body, "agentId": instance.agent_id, "host": instance.hostname, "runSpecVersion": instance.version}
