"""Who asks, and whether they may: by a browser's cookie or a machine's token; a change takes proof that it was meant."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from octopus.admin.ports import People
from octopus.admin.tokens import Tokens
from octopus.admin.visits import Role, Visit, Visits
from octopus.core.errors import AccessDenied, AuthenticationFailed, DirectoryUnavailable
from octopus.core.types import Identity, Value

CHECK_AGAIN = 60.0
"""Seconds after which the directory is asked again whether a person is still who they were."""
COOKIE, SECURE_COOKIE = "octopus", "__Host-octopus"
BEARER = "bearer "
TOKEN_FIELD, TOKEN_HEADER = "token", "x-csrf-token"


class NotLoggedIn(AuthenticationFailed):
    """Nobody is logged in here: a page leads to the login, the API answers 401."""

    default_notice = "log in first"


class Visitor(Value, frozen=True, kw_only=True):
    """Who asks. ``visit`` is "" for a machine, which has no browser that could be misled; ``token`` is for changes."""

    identity: Identity
    role: Role
    client: str
    visit: str = ""
    token: str = ""

    @property
    def login(self) -> str:
        """Their name on the trail."""
        return self.identity.login

    @property
    def operator(self) -> bool:
        """Whether they may look at everything and change it."""
        return self.role is Role.OPERATOR


class Access:
    """``viewers`` and ``operators`` are groups; case does not count in them, as in directories. ``clock`` is that of the ``visits``."""

    def __init__(
        self,
        people: People,
        visits: Visits,
        tokens: Tokens,
        *,
        viewers: Collection[str],
        operators: Collection[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._people = people
        self.visits = visits
        self._tokens = tokens
        self._viewers = {group.casefold() for group in viewers}
        self._operators = {group.casefold() for group in operators}
        self._clock = clock

    def role(self, identity: Identity) -> Role | None:
        """Return what somebody may do here, None for nothing."""
        groups = {group.casefold() for group in identity.groups}
        if groups & self._operators:
            return Role.OPERATOR
        return Role.VIEWER if groups & self._viewers else None

    async def visitor(self, request: Request) -> Visitor:
        """Return who asks. Raise NotLoggedIn."""
        header = request.headers.get("authorization", "")
        if header:
            return self._machine(header, request)
        visit = self.visits.find(cookie(request))
        if visit is None:
            raise NotLoggedIn("no visit")
        visit = await self._checked(visit)
        return Visitor(identity=visit.identity, role=visit.role, client=client(request), visit=visit.id, token=self.visits.token(visit.id))

    async def operator(self, request: Request) -> Visitor:
        """Return who asks. Raise NotLoggedIn, AccessDenied when they are no operator."""
        visitor = await self.visitor(request)
        if not visitor.operator:
            raise AccessDenied(f"{visitor.login} is no operator", notice="this takes an operator")
        return visitor

    def meant(self, visitor: Visitor, request: Request, token: str) -> None:
        """Hold a change to its proof. Raise AccessDenied for one that another site may have asked for."""
        if not visitor.visit:
            return
        if not (own_site(request) and self.visits.fits(visitor.visit, token)):
            raise AccessDenied("a change without its token", notice="this page is out of date: load it again")

    def _machine(self, header: str, request: Request) -> Visitor:
        token = self._tokens.find(header[len(BEARER) :].strip()) if header.casefold().startswith(BEARER) else None
        if token is None:
            raise NotLoggedIn("no token of ours")
        return Visitor(identity=token.identity, role=token.role, client=client(request))

    async def _checked(self, visit: Visit) -> Visit:
        """Ask the directory now and then; while it does not answer, the person stays who they were."""
        now = self._clock()
        if now - visit.checked < CHECK_AGAIN:
            return visit
        try:
            identity = await self._people.look_up(visit.identity.login)
            role = self.role(identity)
        except DirectoryUnavailable:
            return visit
        except AuthenticationFailed:
            role = None
        if role is None:
            self.visits.end(visit.id)
            raise NotLoggedIn("the account may not be used any more")
        return self.visits.keep(msgspec.structs.replace(visit, identity=identity, role=role, checked=now))


def client(request: Request) -> str:
    """Return where a request comes from, as the trail names it."""
    if request.client is None:
        return ""
    host, port = request.client.host, request.client.port
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address(request: Request) -> str:
    """Return the address a request comes from."""
    return request.client.host if request.client else ""


def own_site(request: Request) -> bool:
    """Tell whether a browser says that this site asks, or says nothing (Origin, Sec-Fetch-Site)."""
    origin = request.headers.get("origin", "")
    if origin and _host(origin) != request.headers.get("host", ""):
        return False
    return request.headers.get("sec-fetch-site", "same-origin") in {"same-origin", "none"}


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # it is none
        return None


def cookie(request: Request, name: str = "") -> str:
    """Return a cookie of ours."""
    return request.cookies.get(_named(request, name), "")


def set_cookie(request: Request, response: Response, value: str, name: str = "", *, max_age: int | None = None) -> None:
    """Give the browser a cookie that no script reads and no other site sends; "" takes it back."""
    secure = request.url.scheme == "https"
    full = _named(request, name)
    if value:
        response.set_cookie(full, value, max_age=max_age, path="/", secure=secure, httponly=True, samesite="strict")
    else:
        response.delete_cookie(full, path="/", secure=secure, httponly=True, samesite="strict")


def _named(request: Request, name: str) -> str:
    base = SECURE_COOKIE if request.url.scheme == "https" else COOKIE
    return f"{base}-{name}" if name else base
