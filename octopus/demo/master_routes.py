"""A master's HTTP: the v0 endpoints, who leads, and authentication."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from octopus.demo import master_v0
from octopus.demo.answers import has_credentials, json_answer, not_found, text_answer, unauthorized, wrong_method
from octopus.demo.mesos import Master, Mesos
from octopus.demo.operator_routes import Operator
from octopus.demo.parts_v0 import task_raw

Page = Callable[[Request], Any]
DEFAULT_LIMIT = 100
"""Tasks that ``/tasks`` returns unless it is asked for more."""


class MasterRoutes:
    """The endpoints of one master of a cluster."""

    def __init__(self, master: Master, mesos: Mesos) -> None:
        self._master = master
        self._mesos = mesos

    def app(self) -> Starlette:
        """Return the application, with the paths that this version knows."""
        version = self._mesos.version
        pages: list[tuple[str, Page, tuple[int, int]]] = [
            ("state", lambda _: master_v0.state_v0(self._master, self._mesos), (0, 0)),
            ("slaves", lambda request: master_v0.slaves_v0(self._master, self._mesos, request.query_params.get("slave_id", "")), (0, 22)),
            ("tasks", self._tasks, (0, 0)),
            ("roles", lambda _: self._roles(), (0, 0)),
            ("frameworks", self._frameworks, (0, 26)),
            ("state-summary", lambda _: master_v0.summary_v0(self._master, self._mesos), (0, 23)),
        ]
        routes = [Route("/health", self._health), Route("/master/health", self._health)]
        for name, page, since in pages:
            if version.since(*since):
                routes += [Route(prefix + name + suffix, self._behind(page)) for prefix, suffix in self._spellings(name)]
        for name, endpoint in (("redirect", self._redirect), ("version", self._version)):
            routes += [Route(f"/{name}", endpoint), Route(f"/master/{name}", endpoint)]
        routes += [Route("/metrics/snapshot", self._metrics), Route("/flags", self._flags), Route("/master/flags", self._flags)]
        if version.since(1, 0):
            routes.append(Route("/api/v1", Operator(self._master, self._mesos).call, methods=["POST"]))
            routes.append(Route("/master/api/v1", Operator(self._master, self._mesos).call, methods=["POST"]))
        return Starlette(routes=routes, exception_handlers={404: not_found, 405: wrong_method})

    def _spellings(self, name: str) -> list[tuple[str, str]]:
        version, suffixes = self._mesos.version, []
        if not version.since(1, 8) and name in ("state", "tasks", "roles"):
            suffixes.append(".json")
        if version.since(0, 25) or name not in ("state", "tasks", "roles"):
            suffixes.append("")
        return [(prefix, suffix) for prefix in ("/", "/master/") for suffix in suffixes]

    def _behind(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return self._refusal(request) or await json_answer(request, page(request))

        return endpoint

    def _refusal(self, request: Request) -> Response | None:
        """Return why this master does not answer itself: no credentials, not the leader; from 1.0 on."""
        if not has_credentials(request, self._mesos.credentials):
            return unauthorized("mesos-master-readonly")
        leader = self._mesos.leader
        if leader is self._master or not self._mesos.version.since(1, 0):
            return None
        if leader is None:
            return text_answer("No leader elected", 503)
        keeps_query = self._mesos.version.since(1, 1) and request.url.query
        query = f"?{request.url.query}" if keeps_query else ""
        return Response(status_code=307, headers={"Location": f"//{leader.hostname}:{leader.port}{request.url.path}{query}"})

    async def _health(self, _: Request) -> Response:
        return Response(status_code=200)

    async def _version(self, request: Request) -> Response:
        return await json_answer(request, master_v0.version_v0(self._mesos.version))

    async def _redirect(self, _: Request) -> Response:
        leader = self._mesos.leader
        if leader is None and self._mesos.version.since(1, 0):
            return text_answer("No leader elected", 503)
        leader = leader or self._master
        return Response(status_code=307, headers={"Location": f"//{leader.hostname}:{leader.port}"})

    async def _flags(self, request: Request) -> Response:
        if not has_credentials(request, self._mesos.credentials):
            return unauthorized("mesos-master-readonly")
        return await json_answer(request, {"flags": master_v0.flags_v0(self._master, self._mesos)})

    async def _metrics(self, request: Request) -> Response:
        if not has_credentials(request, self._mesos.credentials):
            return unauthorized("mesos-master-readonly")
        return await json_answer(request, master_v0.metrics_v0(self._master, self._mesos))

    def _tasks(self, request: Request) -> dict[str, Any]:
        """Return ``/tasks``: newest first unless ``order=asc``; the filters exist since 1.4."""
        query, mesos = request.query_params, self._mesos
        tasks = [task for framework in mesos.seen_by(self._master).frameworks.values() for task in framework.every_task()]
        if mesos.version.since(1, 4):
            tasks = [task for task in tasks if query.get("framework_id", task.framework_id) == task.framework_id]
            tasks = [task for task in tasks if query.get("task_id", task.id) == task.id]
        tasks.sort(key=lambda task: task.statuses[0].timestamp if task.statuses else 0.0, reverse=query.get("order") != "asc")
        limit, offset = _number(query.get("limit"), DEFAULT_LIMIT), _number(query.get("offset"), 0)
        return {"tasks": [task_raw(task, mesos.version) for task in tasks[offset : offset + limit]]}

    def _frameworks(self, request: Request) -> dict[str, Any]:
        wanted = request.query_params.get("framework_id", "") if self._mesos.version.since(1, 4) else ""
        frameworks = [each for each in self._mesos.seen_by(self._master).frameworks.values() if not wanted or each.id == wanted]
        shown: dict[str, Any] = {"frameworks": [master_v0.framework_v0(each, self._mesos) for each in frameworks]}
        return {**shown, "completed_frameworks": [], "unregistered_frameworks": []}

    def _roles(self) -> dict[str, Any]:
        return master_v0.roles_v0(self._master, self._mesos)


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else default
