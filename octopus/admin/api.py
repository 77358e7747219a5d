"""/api/v1: what the pages show, as JSON, for scripts and other programs."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from octopus.admin import asking
from octopus.admin.access import TOKEN_HEADER, Access, Visitor
from octopus.admin.ports import Ports
from octopus.admin.shapes import Killed, SessionLine
from octopus.admin.web import answer
from octopus.core.errors import InvalidDocument, InvalidRequest, NoSuchTarget

MAX_REASON = 200


class _Kill(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class _Scale(msgspec.Struct, forbid_unknown_fields=True):
    app: str


class Api:
    """The calls; ``document`` is what is said of them."""

    def __init__(self, ports: Ports, access: Access, document: dict[str, Any]) -> None:
        self._ports = ports
        self._access = access
        self._document = document

    def mount(self) -> Mount:
        """Return its routes."""
        return Mount(
            "/api/v1",
            routes=[
                Route("/openapi.json", self.openapi),
                Route("/sessions", self.sessions),
                Route("/sessions/{session}", self.session),
                Route("/sessions/{session}/kill", self.kill, methods=["POST"]),
                Route("/tasks", self.tasks),
                Route("/capacity", self.capacity),
                Route("/capacity/simulate", self.simulate, methods=["POST"]),
                Route("/unique", self.unique),
                Route("/unique/scale", self.scale, methods=["POST"]),
                Route("/audit", self.audit),
            ],
        )

    async def openapi(self, request: Request) -> Response:
        """Describe the calls; there is nothing secret in it."""
        return _tagged(request, self._document)

    async def sessions(self, request: Request) -> Response:
        """Return sessions: an operator's are everybody's, a viewer's their own."""
        visitor = await self._access.visitor(request)
        wanted = asking.wanted(request, own=own(visitor))
        return answer(await self._ports.sessions.page(wanted, asking.cursor(request), asking.limit(request)))

    async def session(self, request: Request) -> Response:
        """Return one session."""
        return answer(await visible(self._ports, await self._access.visitor(request), asking.session(request)))

    async def kill(self, request: Request) -> Response:
        """End a session."""
        visitor = await self._change(request)
        session = asking.session(request)
        body = await _body(request, _Kill) if await request.body() else _Kill()
        await self._ports.sessions.kill(session, visitor.login, body.reason[:MAX_REASON])
        return answer(Killed(session=session))

    async def tasks(self, request: Request) -> Response:
        """Return tasks with what the caller may do there."""
        visitor = await self._access.visitor(request)
        host = request.url.hostname or ""
        page = await self._ports.tasks.page(
            visitor.identity, asking.text(request, "text"), asking.cursor(request), asking.limit(request), host
        )
        return answer(page)

    async def capacity(self, request: Request) -> Response:
        """Return the report of ``octopus capacity --json``, with a page of its agents."""
        await self._access.visitor(request)
        report = await self._ports.capacity.report()
        begin, limit = int(asking.cursor(request) or 0), asking.limit(request)
        return _tagged(request, msgspec.structs.replace(report, agents=report.agents[begin : begin + limit]))

    async def simulate(self, request: Request) -> Response:
        """Return the answer of ``octopus simulate --json``."""
        visitor = await self._access.visitor(request)
        self._access.meant(visitor, request, request.headers.get(TOKEN_HEADER, ""))
        _json(request)
        return answer(await self._ports.capacity.simulate(await request.body()))

    async def unique(self, request: Request) -> Response:
        """Return UNIQUE apps."""
        await self._access.visitor(request)
        return answer(await self._ports.unique.page(asking.text(request, "app"), asking.cursor(request), asking.limit(request)))

    async def scale(self, request: Request) -> Response:
        """Scale a UNIQUE app."""
        visitor = await self._change(request)
        body = await _body(request, _Scale)
        return answer(await self._ports.unique.scale(body.app, visitor.login))

    async def audit(self, request: Request) -> Response:
        """Return lines of the trail: an operator's are everybody's, a viewer's their own."""
        visitor = await self._access.visitor(request)
        wanted = asking.wanted(request, own=own(visitor))
        return answer(await self._ports.trail.page(wanted, asking.cursor(request), asking.limit(request)))

    async def _change(self, request: Request) -> Visitor:
        visitor = await self._access.operator(request)
        self._access.meant(visitor, request, request.headers.get(TOKEN_HEADER, ""))
        return visitor


def own(visitor: Visitor) -> str:
    """Return the only login whose sessions somebody may see, "" for everybody's."""
    return "" if visitor.operator else visitor.login


async def visible(ports: Ports, visitor: Visitor, session: str) -> SessionLine:
    """Return a session that this person may see. Raise NoSuchTarget for any other, whether or not there is one."""
    found = await ports.sessions.one(session)
    if own(visitor) not in ("", found.login):
        raise NoSuchTarget(notice="there is no such session")
    return found


def _json(request: Request) -> None:
    if request.headers.get("content-type", "").partition(";")[0].strip().casefold() != "application/json":
        raise HTTPException(415, "expected content-type: application/json")


async def _body(request: Request, kind: type[Any]) -> Any:
    _json(request)
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        raise InvalidDocument([(path.rstrip("`").replace(".", "/"), text)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"no JSON: {error}", notice="the body is no JSON") from error


def _tagged(request: Request, value: object) -> Response:
    """Return a value with its ETag, nothing but that where the caller has it already."""
    body = msgspec.json.encode(value)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    known = request.headers.get("if-none-match", "")
    if tag in known or known.strip() == "*":
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
