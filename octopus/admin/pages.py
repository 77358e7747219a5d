"""The pages besides sessions and capacity: overview, tasks, UNIQUE apps, the audit trail."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from octopus.admin import asking
from octopus.admin.access import TOKEN_FIELD, Access
from octopus.admin.api import own
from octopus.admin.login import fields
from octopus.admin.ports import Ports, Wanted
from octopus.admin.rendering import Pages
from octopus.admin.web import PageProblem
from octopus.core.errors import OctopusError

GLANCE = 8
"""Entries of each list on the overview."""
REFUSALS = "auth.refused,session.denied"
Found = TypeVar("Found")


class PlainPages:
    """Their routes."""

    def __init__(self, ports: Ports, access: Access, pages: Pages) -> None:
        self._ports = ports
        self._access = access
        self._pages = pages

    def routes(self) -> list[Route]:
        """Return them."""
        return [
            Route("/", self.overview),
            Route("/tasks", self.tasks),
            Route("/unique", self.unique),
            Route("/unique/scale", self.scale, methods=["POST"]),
            Route("/audit", self.audit),
        ]

    async def overview(self, request: Request) -> Response:
        """Show how all of it is doing; a part that cannot be told leaves the others where they are."""
        visitor = await self._access.visitor(request)
        mine = own(visitor)
        refusals = Wanted(login=mine, event=REFUSALS)
        return self._pages.render(
            request,
            "overview.html",
            visitor,
            dependencies=await self._ports.dependencies(),
            live=await _if_known(self._ports.sessions.page(Wanted(outcome="live", login=mine), "", GLANCE)),
            report=await _if_known(self._ports.capacity.report()),
            unique=await _if_known(self._ports.unique.page("", "", 1000)),
            refusals=await _if_known(self._ports.trail.page(refusals, "", GLANCE, glance=True)),
            glance=GLANCE,
        )

    async def tasks(self, request: Request) -> Response:
        """Show what runs, and what the visitor may do there."""
        visitor = await self._access.visitor(request)
        text, host = asking.text(request, "text"), request.url.hostname or ""
        page = await self._ports.tasks.page(visitor.identity, text, asking.cursor(request), asking.limit(request, 50), host)
        return self._pages.render(request, "tasks.html", visitor, page=page)

    async def unique(self, request: Request) -> Response:
        """Show UNIQUE apps, or one of them with its hosts."""
        visitor = await self._access.visitor(request)
        app = asking.text(request, "app")
        page = await self._ports.unique.page(app, asking.cursor(request), asking.limit(request, 50))
        return self._pages.render(request, "unique.html", visitor, page=page, app=app, answer=None)

    async def scale(self, request: Request) -> Response:
        """Scale one and say what came of it."""
        visitor = await self._access.operator(request)
        form = await fields(request)
        self._access.meant(visitor, request, form.get(TOKEN_FIELD, ""))
        done = await self._ports.unique.scale(form.get("app", ""), visitor.login)
        page = await self._ports.unique.page(done.app, "", 50)
        return self._pages.render(request, "unique.html", visitor, page=page, app=done.app, answer=done)

    async def audit(self, request: Request) -> Response:
        """Show the trail."""
        visitor = await self._access.visitor(request)
        wanted = asking.wanted(request, own=own(visitor))
        page = await self._ports.trail.page(wanted, asking.cursor(request), asking.limit(request, 50))
        return self._pages.render(request, "audit.html", visitor, page=page)


async def _if_known(asked: Awaitable[Found]) -> Found | OctopusError:
    try:
        return await asked
    except OctopusError as error:
        return error


def problem_page(pages: Pages) -> PageProblem:
    """Return what answers a page that failed: the login where nobody is logged in, else a page that says why."""

    async def answer(request: Request, status: int, notice: str) -> Response:
        if status != 401:
            return pages.render(request, "problem.html", status=status, notice=notice, number=status)
        there = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        again = request.method == "GET" and there != "/"
        return RedirectResponse("/login?" + urlencode({"next": there}) if again else "/login", 303)

    return answer
