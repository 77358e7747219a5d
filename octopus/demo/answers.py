"""HTTP answers as libprocess gives them: JSON with gzip, plain texts, basic authentication."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

GZIP_FROM = 1024
"""Bytes below which libprocess does not compress a body."""

TEXT = "text/plain; charset=utf-8"


async def json_answer(request: Request, body: Any, status: int = 200, content_type: str = "application/json") -> Response:
    """Return ``body`` as JSON, compressed when it is large and the client takes gzip."""
    data = msgspec.json.encode(body)
    headers = {"Content-Type": content_type}
    if len(data) >= GZIP_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        data = await asyncio.to_thread(gzip.compress, data, 1)
        headers["Content-Encoding"] = "gzip"
    return Response(data, status, headers)


def text_answer(text: str, status: int, **headers: str) -> Response:
    """Return a plain text; ``headers`` are named with ``_`` for ``-``."""
    return Response(text, status, {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Type": TEXT})


def not_found(_: Request, __: Exception) -> Response:
    """Return the 404 of libprocess."""
    return text_answer("404 Not Found.", 404)


def wrong_method(request: Request, _: Exception) -> Response:
    """Return the 405 of libprocess for a route that only takes POST."""
    text = f"405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{request.method}'."
    return text_answer(text, 405, Allow="POST")


def has_credentials(request: Request, credentials: tuple[str, str] | None) -> bool:
    """Whether the request carries these basic credentials, or none are asked for."""
    if credentials is None:
        return True
    wanted = "Basic " + base64.b64encode(":".join(credentials).encode()).decode("ascii")
    return hmac.compare_digest(request.headers.get("authorization", "").encode(), wanted.encode())


def unauthorized(realm: str) -> Response:
    """Return the 401 of libprocess."""
    return text_answer("401 Unauthorized.", 401, WWW_Authenticate=f'Basic realm="{realm}"')
