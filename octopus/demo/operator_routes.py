"""A master's operator API v1 over HTTP: ``POST /api/v1``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from octopus.demo import master_v0, master_v1
from octopus.demo.answers import has_credentials, json_answer, text_answer, unauthorized
from octopus.demo.mesos import Master, Mesos

MAX_BODY = 1 << 20
"""Bytes of a call that are read."""

JSON = "application/json"


class Operator:
    """The calls that octopus and its tests make; other types are refused like unknown ones."""

    def __init__(self, master: Master, mesos: Mesos) -> None:
        self._master = master
        self._mesos = mesos
        self._calls: dict[str, Callable[[], dict[str, Any]]] = {
            "GET_STATE": lambda: master_v1.get_state(mesos),
            "GET_AGENTS": lambda: master_v1.get_agents(mesos),
            "GET_TASKS": lambda: master_v1.get_tasks(mesos),
            "GET_FRAMEWORKS": lambda: master_v1.get_frameworks(mesos),
            "GET_EXECUTORS": lambda: master_v1.get_executors(mesos),
            "GET_MASTER": lambda: master_v1.get_master(master, mesos),
            "GET_ROLES": self._roles,
            "GET_HEALTH": lambda: {"healthy": True},
            "GET_LOGGING_LEVEL": lambda: {"level": 0},
            "GET_VERSION": lambda: {"version_info": master_v0.version_v0(mesos.version)},
            "GET_FLAGS": lambda: {"flags": [{"name": k, "value": v} for k, v in master_v0.flags_v0(master, mesos).items()]},
            "GET_METRICS": lambda: {"metrics": [{"name": k, "value": v} for k, v in master_v0.metrics_v0(master, mesos).items()]},
        }

    async def call(self, request: Request) -> Response:
        """Answer one call."""
        if not has_credentials(request, self._mesos.credentials):
            return unauthorized("mesos-master-readwrite")
        if (refusal := self._not_leading(request)) is not None:
            return refusal
        if request.headers.get("content-type", "").partition(";")[0].strip() != JSON:
            return text_answer("Expecting 'Content-Type' of application/json or application/x-protobuf", 415)
        accept = request.headers.get("accept", "*/*")
        if JSON not in accept and "*/*" not in accept:
            return text_answer("Expecting 'Accept' to allow application/json or application/x-protobuf or application/recordio", 406)
        return await self._dispatch(request, await _body(request))

    async def _dispatch(self, request: Request, body: bytes) -> Response:
        try:
            call = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            near = body.lstrip(b"{")[:20].decode("utf-8", "replace")
            return text_answer(f"Failed to parse body into JSON: syntax error at line 1 near: {near}", 400)
        kind = call.get("type")
        if kind == "SUBSCRIBE":
            return self._subscribe()
        if kind == "READ_FILE" and "read_file" not in call:
            return text_answer("Failed to validate master::Call: Expecting 'read_file' to be present", 400)
        if not isinstance(kind, str) or kind not in self._calls:
            return text_answer("Failed to validate master::Call: Expecting 'type' to be present", 400)
        return await json_answer(request, {"type": kind, kind.lower(): self._calls[kind]()})

    def _subscribe(self) -> Response:
        mesos = self._mesos
        idle = mesos.heartbeat if mesos.version.since(1, 5) else 0.0
        stream = mesos.events.stream(master_v1.subscribed(mesos), idle, master_v1.HEARTBEAT)
        return StreamingResponse(stream, headers={"Content-Type": JSON})

    def _not_leading(self, request: Request) -> Response | None:
        leader = self._mesos.leader
        if leader is self._master:
            return None
        if leader is None:
            return text_answer("No leader elected", 503)
        return Response(status_code=307, headers={"Location": f"//{leader.hostname}:{leader.port}{request.url.path}"})

    def _roles(self) -> dict[str, Any]:
        roles = master_v0.roles_v0(self._master, self._mesos)["roles"]
        for role in roles:
            amounts = {name: value for name, value in role["resources"].items() if name in ("cpus", "disk", "mem")}
            resources = [{"name": name, "type": "SCALAR", "scalar": {"value": value}} for name, value in amounts.items()]
            role["frameworks"] = [{"value": framework} for framework in role["frameworks"]]
            role["resources"] = resources
            for name in ("quota", "allocated", "offered", "reserved"):
                role.pop(name, None)
        return {"roles": roles}


async def _body(request: Request) -> bytes:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            return b""
    return data
