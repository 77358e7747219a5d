"""A Marathon's HTTP: everything that changes something."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request

from octopus.demo import marathon_shapes
from octopus.demo.app_model import Deployment, Invalid, Unknown
from octopus.demo.marathon import Marathon

MAX_BODY = 1 << 20
"""Bytes of a definition that are read."""


class MarathonWrites:
    """The writing endpoints of a Marathon; each returns a body, or a body and a status."""

    def __init__(self, marathon: Marathon) -> None:
        self._marathon = marathon

    async def create_app(self, request: Request) -> Any:
        """``POST /v2/apps``: 201 with the app; 409 when there is one."""
        body = await _object(request)
        app_id = body.get("id", "")
        if isinstance(app_id, str) and "/" + app_id.strip("/") in self._marathon.apps:
            return {"message": f"An app with id [/{app_id.strip('/')}] already exists."}, 409
        deployment = self._marathon.put(app_id, body)
        app = self._marathon.apps[deployment.app_id]
        self._told(request, deployment)
        return marathon_shapes.app_of(app, self._marathon, frozenset({"tasks"})), 201

    async def put_app(self, request: Request) -> Any:
        """``PUT`` or ``PATCH /v2/apps/{id}``: parts change, the rest stays; PUT creates what is not there."""
        app_id, force = request.path_params["path"], _flag(request, "force")
        known = "/" + app_id.strip("/") in self._marathon.apps
        if not known and request.method == "PATCH":
            raise Unknown("/" + app_id)
        deployment = self._marathon.put(app_id, await _object(request), force=force)
        self._told(request, deployment)
        return _accepted(deployment), 200 if known else 201

    async def delete_app(self, request: Request) -> Any:
        """``DELETE /v2/apps/{id}``."""
        app = self._marathon.app(request.path_params["path"])
        return _accepted(self._marathon.delete(app, force=_flag(request, "force")))

    async def restart_app(self, request: Request) -> Any:
        """``POST /v2/apps/{id}/restart``."""
        app = self._marathon.app(request.path_params["path"])
        return _accepted(self._marathon.restart(app, force=_flag(request, "force")))

    async def kill_app_tasks(self, request: Request) -> Any:
        """``DELETE /v2/apps/{id}/tasks[/{task}]?host=&scale=``."""
        app, task_id = self._marathon.app(request.path_params["path"]), request.path_params.get("task", "")
        host = request.query_params.get("host", "")
        if task_id:
            chosen = [self._marathon.instance(task_id)]
            if chosen[0].app_id != app.id:
                raise Unknown(task_id)
        else:
            chosen = [each for each in app.running.values() if not host or each.hostname == host]
        before = [
            task for task in marathon_shapes.tasks_of(app, self._marathon) if any(task["id"] == t.id for c in chosen for t in c.tasks)
        ]
        if deployment := self._marathon.kill(chosen, scale=_flag(request, "scale")):
            return _accepted(deployment)
        return {"task": before[0]} if task_id else {"tasks": before}

    async def kill_tasks(self, request: Request) -> Any:
        """``POST /v2/tasks/delete``."""
        ids = (await _object(request)).get("ids", [])
        if not isinstance(ids, list):
            raise Invalid("ids must be a list")
        by_app: dict[str, list[Any]] = {}
        for each in ids:
            instance = self._marathon.instance(str(each))
            by_app.setdefault(instance.app_id, []).append(instance)
        deployments = [self._marathon.kill(instances, scale=_flag(request, "scale")) for instances in by_app.values()]
        made = [deployment for deployment in deployments if deployment]
        return _accepted(made[0]) if made else {"tasks": [{"id": str(each)} for each in ids]}

    async def cancel_deployment(self, request: Request) -> Any:
        """``DELETE /v2/deployments/{id}``: a rollback by a new deployment, or with ``force`` nothing more (202)."""
        rollback = not _flag(request, "force")
        try:
            deployment = self._marathon.cancel(request.path_params["id"], rollback=rollback)
        except Unknown as error:
            return {"message": f"DeploymentPlan {error.args[0]} does not exist"}, 404
        return _accepted(deployment) if deployment else ({}, 202)

    async def create_pod(self, request: Request) -> Any:
        """``POST /v2/pods``."""
        body = await _object(request)
        return await self._write_pod(body.get("id", ""), body, request)

    async def put_pod(self, request: Request) -> Any:
        """``PUT /v2/pods/{id}``: the whole definition, scaling included."""
        return await self._write_pod(request.path_params["path"], await _object(request), request)

    async def _write_pod(self, pod_id: str, body: dict[str, Any], request: Request) -> Any:
        known = "/" + str(pod_id).strip("/") in self._marathon.apps
        deployment = self._marathon.put(pod_id, body, force=_flag(request, "force"), pod=True)
        return marathon_shapes.pod_of(self._marathon.apps[deployment.app_id]), 200 if known else 201

    async def delete_pod(self, request: Request) -> Any:
        """``DELETE /v2/pods/{id}``: 202."""
        app = self._marathon.app(request.path_params["path"], pod=True)
        return _accepted(self._marathon.delete(app, force=_flag(request, "force"))), 202

    def _told(self, request: Request, deployment: Deployment) -> None:
        app = self._marathon.apps.get(deployment.app_id)
        if app is not None:
            self._marathon.events.api_post(app, request.client.host if request.client else "", request.url.path)


def _accepted(deployment: Deployment) -> dict[str, Any]:
    return {"version": deployment.version, "deploymentId": deployment.id}


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name) == "true"


async def _object(request: Request) -> dict[str, Any]:
    """Return the JSON object of the request's body. Raise Invalid."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise Invalid("the body is too large")
    try:
        body = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"Invalid JSON: {error}") from error
    return body
