"""The pages of sessions: who is in and who was, one session with its recording, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from octopus.admin import asking
from octopus.admin.access import TOKEN_FIELD, Access, NotLoggedIn, Visitor
from octopus.admin.api import MAX_REASON, own, visible
from octopus.admin.login import fields
from octopus.admin.ports import Ports, Wanted
from octopus.admin.rendering import HERE, Pages
from octopus.admin.shapes import SessionLine
from octopus.admin.watching import watched
from octopus.core.errors import TooManySessions

MAX_WATCHERS = 50
CHECK_WATCHERS = 2.0
"""Seconds after which it is looked at again whether somebody who watches still may."""
EVENTS = 200
"""Lines of the trail shown beside a session."""
PLAYER = HERE / "static" / "player" / "VERSION"
LIVE = "live"


class SessionPages:
    """Their routes."""

    def __init__(self, ports: Ports, access: Access, pages: Pages) -> None:
        self._ports = ports
        self._access = access
        self._pages = pages
        self._watchers = 0
        self._stopping = False
        self._player = PLAYER.is_file()

    def routes(self) -> list[Route]:
        """Return them."""
        return [
            Route("/sessions", self.all),
            Route("/sessions/{session}", self.one),
            Route("/sessions/{session}/kill", self.kill, methods=["POST"]),
            Route("/sessions/{session}/live", self.live),
            Route("/sessions/{session}/recording.cast", self.recording),
        ]

    def stop(self) -> None:
        """Let go of those who watch."""
        self._stopping = True

    async def all(self, request: Request) -> Response:
        """List sessions."""
        visitor = await self._access.visitor(request)
        wanted = asking.wanted(request, own=own(visitor))
        page = await self._ports.sessions.page(wanted, asking.cursor(request), asking.limit(request, 50))
        return self._pages.render(request, "sessions.html", visitor, page=page)

    async def one(self, request: Request) -> Response:
        """Show one session: its terminal, and what the trail has of it."""
        visitor, session = await self._visible(request)
        trail = await self._ports.trail.page(Wanted(session=session.session), "", EVENTS)
        file = await self._file(session)
        return self._pages.render(
            request, "session.html", visitor, session=session, trail=trail, recorded=file is not None, player=self._player
        )

    async def kill(self, request: Request) -> Response:
        """End it and show it."""
        visitor = await self._access.operator(request)
        form = await fields(request)
        self._access.meant(visitor, request, form.get(TOKEN_FIELD, ""))
        session = asking.session(request)
        await self._ports.sessions.kill(session, visitor.login, form.get("reason", "")[:MAX_REASON])
        return RedirectResponse(f"/sessions/{session}", 303)

    async def live(self, request: Request) -> Response:
        """Stream a live terminal; that somebody watches is on the trail. 204 once it is over: a browser then asks no more."""
        visitor, session = await self._visible(request)
        file = await self._file(session)
        if session.outcome != LIVE or file is None:
            return Response(status_code=204)
        if self._watchers >= MAX_WATCHERS:
            raise TooManySessions(notice=f"{MAX_WATCHERS} people are watching already")
        await self._tell("admin.watched", visitor, session)
        return StreamingResponse(self._watch(file, request, session), headers={"x-accel-buffering": "no"}, media_type="text/event-stream")

    async def recording(self, request: Request) -> Response:
        """Give the recording, for the page to play or to take away; that it was given is on the trail."""
        visitor, session = await self._visible(request)
        file = await self._file(session)
        if file is None or file.suffix != ".cast":
            raise HTTPException(404, "there is no recording")
        await self._tell("admin.replayed", visitor, session)
        name = f"{session.session}.cast" if "download" in request.query_params else None
        return FileResponse(file, filename=name, media_type="application/x-asciicast", headers={"cache-control": "private, no-cache"})

    async def _watch(self, file: Path, request: Request, session: SessionLine) -> AsyncIterator[bytes]:
        """Yield what is written, for as long as whoever watches may: they may log out meanwhile, or be nobody any more."""
        now = asyncio.get_running_loop().time
        checked = now()
        self._watchers += 1
        try:
            async for event in watched(file, file.exists, lambda: self._stopping):
                yield event
                if now() - checked >= CHECK_WATCHERS:
                    checked = now()
                    if not await self._still_may(request, session):
                        break
        finally:
            self._watchers -= 1

    async def _still_may(self, request: Request, session: SessionLine) -> bool:
        try:
            return own(await self._access.visitor(request)) in ("", session.login)
        except NotLoggedIn:
            return False

    async def _visible(self, request: Request) -> tuple[Visitor, SessionLine]:
        visitor = await self._access.visitor(request)
        return visitor, await visible(self._ports, visitor, asking.session(request))

    async def _file(self, session: SessionLine) -> Path | None:
        return await run_in_threadpool(self._ports.sessions.recording, session)

    async def _tell(self, event: str, visitor: Visitor, session: SessionLine) -> None:
        await self._ports.trail.write(event, login=visitor.login, client=visitor.client, of=session.session)
