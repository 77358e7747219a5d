"""The admin as an ASGI application: its routes, and what holds for every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from octopus.core.errors import InvalidDocument, OctopusError, printable

MAX_BODY = 16 << 20
"""Bytes of a request: a group of apps as Marathon takes it."""

BODY_TIME = 120.0
"""Seconds that a request's body may take."""

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing of another host. The terminal of a replay is WebAssembly of our own files."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
STATIC = "/static/"
HSTS = "max-age=31536000"

_log = structlog.get_logger(__name__)


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a call was not answered: the words for a person and, of a document, each fault with its place in it."""

    error: str
    errors: tuple[Fault, ...] = ()


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong in a document."""

    path: str
    error: str


PageProblem = Callable[[Request, int, str], Awaitable[Response]]
"""Answers a page that failed: its status and the words for the person."""
API = "/api/"


def application(routes: Sequence[BaseRoute], page_problem: PageProblem | None = None, *, body_time: float = BODY_TIME) -> Starlette:
    """Return the application over these routes; what fails is answered as JSON, a page by ``page_problem``.

    ``body_time`` is how many seconds the body of a request may take.
    """

    async def problem(request: Request, error: Exception) -> Response:
        if page_problem is None or request.url.path.startswith(API):
            return _problem(error)
        if isinstance(error, HTTPException):
            response = await page_problem(request, error.status_code, printable(str(error.detail)))
            response.headers.update(error.headers or {})
            return response
        return await page_problem(request, *_known(error))

    app = Starlette(
        routes=list(routes),
        middleware=[Middleware(_Guarded, body_time)],
        exception_handlers={HTTPException: problem, OctopusError: problem},
    )
    app.router.redirect_slashes = False  # it would lead to whatever host the request names
    return app


class _Guarded:
    """Bounds what comes in, adds the headers to what goes out, and lets no bug of ours through to the server."""

    def __init__(self, app: ASGIApp, body_time: float) -> None:
        self._app = app
        self._body_time = body_time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received, more, begun = 0, True, False
        until = asyncio.get_running_loop().time() + self._body_time

        async def bounded() -> Message:
            nonlocal received, more
            try:
                async with asyncio.timeout_at(until if more else None):  # what comes after a body is the client's leave
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, "the request took too long", headers={"connection": "close"}) from error
            received += len(message.get("body", b""))
            more = message.get("more_body", False)
            if received > MAX_BODY:
                raise HTTPException(413, f"more than {MAX_BODY} bytes")
            return message

        async def headed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-cache" if scope["path"].startswith(STATIC) else "no-store")
                if scope["scheme"] == "https":
                    headers.setdefault("strict-transport-security", HSTS)
            await send(message)

        try:
            await self._app(scope, bounded, headed)
        except ClientDisconnect:  # in the middle of what it sends: nobody is left to answer
            return
        except Exception as error:
            _log.error("bug in the admin", path=printable(scope["path"]), exc_info=error)
            if not begun:
                await answer(Problem(error="internal error"), 500)(scope, bounded, headed)


def answer(value: object, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _known(error: Exception) -> tuple[int, str]:
    known = error if isinstance(error, OctopusError) else OctopusError()
    return known.http_status, known.notice


def _problem(error: Exception) -> Response:
    if isinstance(error, HTTPException):
        response = answer(Problem(error=printable(str(error.detail))), error.status_code)
        response.headers.update(error.headers or {})
        return response
    status, notice = _known(error)
    faults = error.faults if isinstance(error, InvalidDocument) else ()
    errors = tuple(Fault(path=printable(path), error=printable(text, 1000)) for path, text in faults)
    response = answer(Problem(error=notice, errors=errors), status)
    if status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response
