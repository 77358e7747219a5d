"""Coming in and going out: the login form, and the language switch beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from octopus.admin import access as at
from octopus.admin.access import TOKEN_FIELD, Access, NotLoggedIn
from octopus.admin.catalogue import LANGUAGES
from octopus.admin.ports import Ports
from octopus.admin.rendering import LANGUAGE, Pages
from octopus.admin.visits import Role
from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable, printable
from octopus.core.types import Identity

MAX_TYPED = 512
"""Characters kept of what somebody typed as a login."""
MAX_FIELD = 1 << 20
FORM = "login"
YEAR = 365 * 86_400
WRONG = "Login or password is wrong, or there were too many attempts."
NOBODY = "You are in none of the groups that may use these pages."
OUT_OF_DATE = "The form is out of date. Try again."
DOWN = "The directory does not answer. Try again later."


class Login:
    """The routes of coming and going. ``new_id`` gives random text that nobody can guess."""

    def __init__(self, ports: Ports, access: Access, pages: Pages, *, new_id: Callable[[], str]) -> None:
        self._ports = ports
        self._access = access
        self._pages = pages
        self._new_id = new_id

    def routes(self) -> list[Route]:
        """Return them."""
        return [
            Route("/login", self.form),
            Route("/login", self.log_in, methods=["POST"]),
            Route("/logout", self.log_out, methods=["POST"]),
            Route("/language/{language}", self.language),
        ]

    async def form(self, request: Request) -> Response:
        """Show the form."""
        return self._form(request)

    async def log_in(self, request: Request) -> Response:
        """Let somebody in who is proven and in a group; on the trail either way."""
        form = await fields(request)
        known = self._access.visits.marked(at.cookie(request, FORM))
        if not (at.own_site(request) and self._access.visits.fits(known, form.get(TOKEN_FIELD, ""))):
            return self._form(request, OUT_OF_DATE, 403)
        typed = form.get("login", "")
        try:
            identity = await self._ports.people.authenticate(typed, form.get("password", ""), at.address(request))
        except AuthenticationFailed as error:
            await self._tell(request, typed, outcome="refused", reason=printable(str(error)))
            return self._form(request, WRONG, 401, typed)
        except DirectoryUnavailable as error:
            await self._tell(request, typed, outcome="refused", reason=printable(str(error)))
            return self._form(request, DOWN, 503, typed)
        role = self._access.role(identity)
        if role is None:
            await self._tell(request, identity.login, outcome="refused", reason="in no group of [admin] viewers or operators")
            return self._form(request, NOBODY, 403, typed)
        return await self._welcome(request, identity, role)

    async def log_out(self, request: Request) -> Response:
        """End the visit, whatever page it was asked from."""
        response = RedirectResponse("/login", 303)
        try:
            visitor = await self._access.visitor(request)
        except NotLoggedIn:
            return response
        self._access.meant(visitor, request, (await fields(request)).get(TOKEN_FIELD, ""))
        self._access.visits.end(visitor.visit)
        at.set_cookie(request, response, "")
        return response

    async def language(self, request: Request) -> Response:
        """Remember the language and go back to where it was asked for."""
        language = str(request.path_params["language"])
        if language not in LANGUAGES:
            raise HTTPException(404, "there is no such language")
        response = RedirectResponse(own_path(request.query_params.get("next", "")), 303)
        at.set_cookie(request, response, language, LANGUAGE, max_age=YEAR)
        return response

    async def _welcome(self, request: Request, identity: Identity, role: Role) -> Response:
        await self._tell(request, identity.login, outcome="accepted", role=role.value)
        visit = self._access.visits.begin(identity, role)
        response = RedirectResponse(own_path(request.query_params.get("next", "")), 303)
        at.set_cookie(request, response, self._access.visits.mark(visit.id))
        at.set_cookie(request, response, "", FORM)
        return response

    def _form(self, request: Request, problem: str = "", status: int = 200, login: str = "") -> Response:
        visits = self._access.visits
        form = visits.marked(at.cookie(request, FORM)) or self._new_id()
        target = own_path(request.query_params.get("next", ""))
        response = self._pages.render(
            request, "login.html", status=status, problem=problem, token=visits.token(form), login=login[:MAX_TYPED], target=target
        )
        at.set_cookie(request, response, visits.mark(form), FORM)
        return response

    async def _tell(self, request: Request, login: str, **data: Any) -> None:
        await self._ports.trail.write("admin.login", login=login[:MAX_TYPED], client=at.client(request), method="password", **data)


async def fields(request: Request) -> dict[str, str]:
    """Return the fields of a form that are text; a file that was chosen is read as text too. Raise HTTPException."""
    form: FormData = await request.form(max_files=1, max_fields=20, max_part_size=MAX_FIELD)
    found: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            content = (await value.read()).decode("utf-8", "replace")
            if content:
                found[name] = content
        else:
            found.setdefault(name, value)
    await form.close()
    return found


def own_path(path: str) -> str:
    r"""Return a path of this site, ``/`` for anything that a browser could read as another (``//host``, ``/\host``)."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if plain else "/"
