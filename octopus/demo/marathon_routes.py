"""A Marathon's HTTP: who may ask, who leads, and everything that reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from octopus.demo import marathon_shapes
from octopus.demo.answers import has_credentials, json_answer, text_answer
from octopus.demo.app_model import Invalid, Locked, Unknown
from octopus.demo.marathon import Marathon
from octopus.demo.marathon_writes import MarathonWrites

Endpoint = Callable[[Request], Awaitable[Response]]
EVENTS_IDLE = 10.0
"""Seconds of silence after which an empty line keeps an event stream open."""


class MarathonRoutes:
    """The endpoints of one node of a Marathon; a node that does not lead answers for the one that does, as its proxy would."""

    def __init__(self, node: str, marathon: Marathon) -> None:
        self._node = node
        self._marathon = marathon

    def app(self) -> Starlette:
        """Return the application, with the paths that this version knows."""
        marathon, writes = self._marathon, MarathonWrites(self._marathon)
        table: list[tuple[str, str, Callable[[Request], Awaitable[Any]]]] = [
            ("GET", "/v2/apps", self._apps),
            ("POST", "/v2/apps", writes.create_app),
            ("GET", "/v2/tasks", self._tasks),
            ("POST", "/v2/tasks/delete", writes.kill_tasks),
            ("GET", "/v2/deployments", self._deployments),
            ("DELETE", "/v2/deployments/{id}", writes.cancel_deployment),
            ("GET", "/v2/queue", self._queue),
            ("GET", "/v2/groups", self._groups),
            ("GET", "/v2/groups/{path:path}", self._groups),
            ("GET", "/v2/info", self._info),
            ("GET", "/v2/leader", self._leader),
            ("POST", "/v2/apps/{path:path}/restart", writes.restart_app),
            ("GET", "/v2/apps/{path:path}/tasks", self._app_tasks),
            ("DELETE", "/v2/apps/{path:path}/tasks", writes.kill_app_tasks),
            ("DELETE", "/v2/apps/{path:path}/tasks/{task}", writes.kill_app_tasks),
            ("GET", "/v2/apps/{path:path}", self._app),
            ("PUT", "/v2/apps/{path:path}", writes.put_app),
            ("DELETE", "/v2/apps/{path:path}", writes.delete_app),
        ]
        if marathon.version.since(1, 4):
            table.append(("PATCH", "/v2/apps/{path:path}", writes.put_app))
            table += [("GET", "/v2/pods", self._pods), ("POST", "/v2/pods", writes.create_pod)]
            table += [("GET", "/v2/pods/{path:path}", self._pod), ("PUT", "/v2/pods/{path:path}", writes.put_pod)]
            table += [("GET", "/v2/pods::status", self._pods_status), ("DELETE", "/v2/pods/{path:path}", writes.delete_pod)]
        routes = [Route("/ping", self._ping)]
        if marathon.version.since(0, 9):
            routes.append(Route("/v2/events", self._guarded(self._events)))
        routes += [Route(path, self._guarded(self._answering(call)), methods=[method]) for method, path, call in table]
        return Starlette(routes=routes, exception_handlers={404: self._no_page})

    # around every call

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            if not has_credentials(request, self._marathon.credentials):
                response = await json_answer(request, {"message": "Invalid username or password."}, 401)
                response.headers["WWW-Authenticate"] = 'Basic realm="Mesosphere",charset="UTF-8"'
                return response
            if self._marathon.leader is None:
                return text_answer("Could not determine the current leader", 503)
            response = await endpoint(request)
            response.headers["X-Marathon-Leader"] = f"http://{self._marathon.leader}"
            if self._marathon.leader != self._node:
                response.headers["X-Marathon-Via"] = f"1.1 {self._node}"
            return response

        return guarded

    def _answering(self, call: Callable[[Request], Awaitable[Any]]) -> Endpoint:
        """Return the endpoint that answers with what ``call`` returns (a body, or a body and a status) or why it cannot."""
        kind = "application/json" if self._marathon.version.since(1, 5) else "application/json; qs=2"

        async def answering(request: Request) -> Response:
            try:
                body = await call(request)
            except Unknown as error:
                return await json_answer(request, {"message": f"App '{error.args[0]}' does not exist"}, 404, kind)
            except Locked as error:
                return await json_answer(request, _locked(error), 409, kind)
            except Invalid as error:
                details = [{"path": "/", "errors": [str(error)]}]
                status = 422 if self._marathon.version.since(0, 13) else 400
                return await json_answer(request, {"message": "Object is not valid", "details": details}, status, kind)
            if isinstance(body, Response):
                return body
            body, status = body if isinstance(body, tuple) else (body, 200)
            response = await json_answer(request, body, status, kind)
            if self._marathon.version.since(1, 4) and isinstance(body, dict) and "deploymentId" in body:
                response.headers["Marathon-Deployment-Id"] = body["deploymentId"]
            return response

        return answering

    async def _no_page(self, request: Request, _: Exception) -> Response:
        return await json_answer(request, {"message": "The requested resource could not be found."}, 404)

    # what reads

    async def _ping(self, _: Request) -> Response:
        return text_answer("pong", 200)

    async def _apps(self, request: Request) -> dict[str, Any]:
        embed, wanted = self._embed(request), request.query_params.get("id", "")
        apps = [app for app in self._marathon.apps.values() if not app.pod and wanted in app.id]
        return {"apps": [marathon_shapes.app_of(app, self._marathon, embed) for app in apps]}

    def _embed(self, request: Request) -> frozenset[str]:
        """Return what is asked for, without prefix; before 0.10 only one value counts."""
        values = request.query_params.getlist("embed")
        if not self._marathon.version.since(0, 10):
            values = values[-1:]
        names = {value.removeprefix("group.").removeprefix("apps.").removeprefix("app.") for value in values}
        return frozenset(names | {"tasks", "lastTaskFailure"} if "failures" in names else names)

    async def _app(self, request: Request) -> dict[str, Any]:
        path = request.path_params["path"]
        if path.endswith("/*"):
            apps = [app for app in self._marathon.apps.values() if not app.pod and app.id.startswith("/" + path[:-1])]
            return {"*": [marathon_shapes.app_of(app, self._marathon, self._embed(request)) for app in apps]}
        every = frozenset({"tasks", "lastTaskFailure"})
        return {"app": marathon_shapes.app_of(self._marathon.app(path), self._marathon, every)}

    async def _app_tasks(self, request: Request) -> dict[str, Any]:
        return {"tasks": marathon_shapes.tasks_of(self._marathon.app(request.path_params["path"]), self._marathon)}

    async def _tasks(self, request: Request) -> Any:
        """Return every task; before 1.10 as text unless JSON is asked for by name."""
        marathon, wanted = self._marathon, set(request.query_params.getlist("status") + request.query_params.getlist("status[]"))
        if not marathon.version.since(1, 10) and "application/json" not in request.headers.get("accept", ""):
            return text_answer(_tasks_text(marathon), 200)
        tasks = [
            task for app in marathon.apps.values() if not app.pod for task in marathon_shapes.tasks_of(app, marathon, service_ports=True)
        ]
        if wanted:
            tasks = [task for task in tasks if ("running" if task.get("startedAt") else "staging") in wanted]
        return {"tasks": tasks}

    async def _deployments(self, _: Request) -> list[dict[str, Any]]:
        return [marathon_shapes.deployment_of(each, self._marathon) for each in self._marathon.deployments.values()]

    async def _queue(self, _: Request) -> dict[str, Any]:
        return {"queue": marathon_shapes.queue_of(self._marathon)}

    async def _groups(self, request: Request) -> dict[str, Any]:
        path = "/" + request.path_params.get("path", "").strip("/")
        if path != "/" and not any(app.id.startswith(path + "/") for app in self._marathon.apps.values()):
            raise Unknown(path)
        return marathon_shapes.group_of(path, self._marathon)

    async def _info(self, _: Request) -> dict[str, Any]:
        return marathon_shapes.info_of(self._marathon, self._node)

    async def _leader(self, _: Request) -> dict[str, Any]:
        return {"leader": self._marathon.leader}

    async def _pods(self, _: Request) -> list[dict[str, Any]]:
        return [marathon_shapes.pod_of(app) for app in self._marathon.apps.values() if app.pod]

    async def _pods_status(self, _: Request) -> list[dict[str, Any]]:
        return [marathon_shapes.pod_status_of(app, self._marathon) for app in self._marathon.apps.values() if app.pod]

    async def _pod(self, request: Request) -> dict[str, Any]:
        path, status, _ = request.path_params["path"].partition("::status")
        app = self._marathon.app(path, pod=True)
        return marathon_shapes.pod_status_of(app, self._marathon) if status else marathon_shapes.pod_of(app)

    async def _events(self, request: Request) -> Response:
        """Stream events; a node that does not lead sends the client on since 1.7."""
        marathon = self._marathon
        if marathon.leader != self._node and marathon.version.since(1, 7):
            return Response(status_code=302, headers={"Location": f"http://{marathon.leader}/v2/events"})
        if "text/event-stream" not in request.headers.get("accept", "*/*").replace("*/*", "text/event-stream"):
            return text_answer("Not acceptable", 406)
        client = request.client.host if request.client else ""
        stream = marathon.stream.stream(marathon.events.attached(client), EVENTS_IDLE, b"\r\n")
        wanted = set(request.query_params.getlist("event_type")) if marathon.version.since(1, 4) else set()
        return StreamingResponse(_only(stream, wanted), headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})


async def _only(stream: AsyncIterator[bytes], wanted: set[str]) -> AsyncIterator[bytes]:
    """Yield the events of the wanted types (all when there are none) and the empty lines."""
    async for event in stream:
        kind = event.partition(b"\n")[0].removeprefix(b"event: ").decode()
        if not wanted or kind in wanted or not event.strip():
            yield event
            await asyncio.sleep(0)


def _tasks_text(marathon: Marathon) -> str:
    lines = []
    for app in marathon.apps.values():
        hosts = [f"{each.hostname}:{port}" for each in app.running.values() for task in each.tasks for port in task.ports]
        lines.append("\t".join([app.id.strip("/").replace("/", "_"), "0", *hosts]) + "\t\n")
    return "".join(lines)


def _locked(error: Locked) -> dict[str, Any]:
    text = (
        "App is locked by one or more deployments. Override with the option '?force=true'. "
        "View details at '/v2/deployments/<DEPLOYMENT_ID>'."
    )
    return {"message": text, "deployments": [{"id": each} for each in error.deployments]}
