"""The supervisor's half of the plane: its calls as HTTP on a unix socket that only this user can reach."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from octopus.control.plane import (
    AdmitCall,
    AttachCall,
    AuthAttempt,
    CandidatesCall,
    Command,
    KillCall,
    Operator,
    Plane,
    RecordsCall,
    ReplacementCall,
    ScaleCall,
)
from octopus.core.errors import ControlUnavailable, InvalidRequest, OctopusError
from octopus.core.failures import Failure, describe
from octopus.core.types import AuditEvent, Value

MAX_BODY = 16 << 20
"""Bytes of one call: a worker that attaches tells all its sessions at once."""

CALL_TIMEOUT = 50.0
"""Seconds an answer may take: a little less than a worker waits, so that it learns why."""

Call = TypeVar("Call", bound=Value)

_log = structlog.get_logger(__name__)


class PlaneServer:
    """Serves a plane, and an operator's calls, at ``path`` (0600). ``grace`` is how many seconds calls under way get when it stops."""

    def __init__(self, plane: Plane, path: Path, *, operator: Operator | None = None, grace: int = 5) -> None:
        self._path = path
        config = uvicorn.Config(
            plane_app(plane, operator),
            http=_SameUser,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=3600,
            timeout_graceful_shutdown=grace,
        )
        self._server = _Server(config)

    async def run(self) -> None:
        """Serve until ``stop``."""
        with _listening(self._path) as sock:
            await self._server.serve(sockets=[sock])

    def stop(self) -> None:
        """Take no more calls, finish those under way, then let ``run`` return."""
        self._server.should_exit = True


def plane_app(plane: Plane, operator: Operator | None = None) -> Starlette:
    """Return the ASGI application of the plane's calls and, where there is one, the operator's."""
    return Starlette(routes=[*_of_workers(plane), *(_of_operators(operator) if operator else ()), _attaching(plane)])


def _of_workers(plane: Plane) -> list[Route]:
    async def admit(call: AdmitCall) -> object:
        return await plane.admit(call.session, call.identity, call.connection, call.name, call.request)

    async def candidates(call: CandidatesCall) -> object:
        return await plane.candidates(call.identity, call.name, call.limit)

    async def replacement(call: ReplacementCall) -> object:
        return await plane.replacement(call.identity, call.target)

    async def records(call: RecordsCall) -> object:
        return await asyncio.gather(*(_recorded(plane, event) for event in call.events))

    return [
        _route("/authenticate", AuthAttempt, plane.authenticate),
        _route("/admit", AdmitCall, admit),
        _route("/candidates", CandidatesCall, candidates),
        _route("/replacement", ReplacementCall, replacement),
        _route("/record", AuditEvent, plane.record),
        _route("/records", RecordsCall, records),
    ]


def _of_operators(operator: Operator) -> list[Route]:
    return [_route("/kill", KillCall, operator.kill), _route("/scale", ScaleCall, operator.scale)]


def _attaching(plane: Plane) -> Route:
    async def attach(request: Request) -> Response:
        try:
            call = await _read(request, AttachCall)
            # The first command tells whether the worker could be attached at all, so it decides the status.
            commands = plane.attach(call.worker, call.pid, call.sessions)
            first = await anext(commands, None)
        except Exception as error:
            return _failed("attach", error)
        return StreamingResponse(_lines(first, commands), media_type="application/x-ndjson")

    return Route("/attach", attach, methods=["POST"])


async def _recorded(plane: Plane, event: AuditEvent) -> Failure | None:
    """Record one of several events; return what kept it off the trail."""
    try:
        await plane.record(event)
    except OctopusError as error:
        return describe(error)
    return None


def _route(path: str, kind: type[Call], answer: Callable[[Call], Awaitable[object]]) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                result = await answer(await _read(request, kind))
        except TimeoutError:
            return _failed(request.url.path, ControlUnavailable(f"no answer within {CALL_TIMEOUT:g} s"))
        except Exception as error:
            return _failed(request.url.path, error)
        return Response(msgspec.json.encode(result), media_type="application/json")

    return Route(path, endpoint, methods=["POST"])


async def _read(request: Request, kind: type[Call]) -> Call:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise InvalidRequest(f"a call of more than {MAX_BODY} bytes")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Without its cause: the body of a call may hold a password.
        raise InvalidRequest(f"not a {kind.__name__}") from (error if kind is not AuthAttempt else None)


def _failed(call: str, error: Exception) -> Response:
    if not isinstance(error, OctopusError):
        _log.error("bug in a call of the plane", call=call, exc_info=error)
        error = OctopusError(type(error).__name__)
    return Response(msgspec.json.encode(describe(error)), status_code=error.http_status, media_type="application/json")


async def _lines(first: Command | None, commands: AsyncIterator[Command]) -> AsyncIterator[bytes]:
    if first is not None:
        yield msgspec.json.encode(first) + b"\n"
    async for command in commands:
        yield msgspec.json.encode(command) + b"\n"


class _Server(uvicorn.Server):
    """Leaves the process' signals to the supervisor."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _SameUser(H11Protocol):
    """Serves only processes of this very user, whatever the modes of the directories above the socket are."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer: Any = transport.get_extra_info("socket")
        _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        super().connection_made(transport)
        if uid != os.getuid():
            _log.warning("a call of another user was refused", uid=uid)
            transport.abort()


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        # Bound by its final name only when its mode is right: there is no moment in which others could connect.
        bound = path.with_name(path.name + ".new")
        bound.unlink(missing_ok=True)
        sock.bind(str(bound))
        bound.chmod(0o600)
        sock.listen(1024)
        bound.rename(path)
        yield sock
