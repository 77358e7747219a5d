"""What monitoring asks, without a login: whether the process lives, what it waits for, and its figures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """Something the gateway cannot do without. ``age``: seconds since it was known to work, None where that is not known.

    ``why`` it is not ready, in words for anybody. ``error`` is for the operator, and is told to nobody who has not logged in.
    """

    name: str
    ready: bool
    age: float | None = None
    why: str = ""
    error: str = ""


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """What a stranger is told of a dependency."""

    name: str
    ready: bool
    age: float | None
    why: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether sessions can begin now, and what of it all is missing."""

    ready: bool
    dependencies: tuple[Named, ...]


Dependencies = Callable[[], Awaitable[Sequence[Dependency]]]


def routes(dependencies: Dependencies, registry: CollectorRegistry) -> list[Route]:
    """Return ``/healthz``, ``/readyz`` (503 while something is missing) and ``/metrics``."""

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readiness(request: Request) -> Response:
        found = await dependencies()
        named = tuple(_named(one) for one in found)
        answer = Readiness(ready=all(one.ready for one in found), dependencies=named)
        return Response(msgspec.json.encode(answer), 200 if answer.ready else 503, media_type="application/json")

    async def metrics(request: Request) -> Response:
        text = await run_in_threadpool(generate_latest, registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", health), Route("/readyz", readiness), Route("/metrics", metrics)]


def _named(one: Dependency) -> Named:
    age = None if one.age is None else round(one.age, 1)
    return Named(name=one.name, ready=one.ready, age=age, why="" if one.ready else one.why)
