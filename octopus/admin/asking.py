"""What a request asks for, read strictly: a limit, a cursor, a text."""

from __future__ import annotations

import re

from starlette.requests import Request

from octopus.admin.ports import Wanted
from octopus.admin.shapes import LIMIT, MAX_TEXT, MOST
from octopus.core.errors import AccessDenied, InvalidRequest, printable

_NUMBER = re.compile(r"[0-9]{1,7}")
_CURSOR = re.compile(r"[0-9]{0,18}")
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


def text(request: Request, name: str) -> str:
    """Return a text of the query, "" where there is none. Raise InvalidRequest when it is too long."""
    value = request.query_params.get(name, "").strip()
    if len(value) > MAX_TEXT:
        raise InvalidRequest(notice=f"{name} is too long")
    return value


def limit(request: Request, default: int = LIMIT) -> int:
    """Return how many entries a page has. Raise InvalidRequest."""
    value = request.query_params.get("limit", "")
    if not value:
        return default
    if not _NUMBER.fullmatch(value) or not 1 <= int(value) <= MOST:
        raise InvalidRequest(notice=f"limit is a number from 1 to {MOST}")
    return int(value)


def cursor(request: Request) -> str:
    """Return where a page begins, "" for the first. Raise InvalidRequest."""
    value = request.query_params.get("cursor", "")
    if not _CURSOR.fullmatch(value):
        raise InvalidRequest(notice="cursor is what the page before gave as next")
    return value


def session(request: Request) -> str:
    """Return the session in the path. Raise InvalidRequest for what cannot be one."""
    value = str(request.path_params["session"])
    if not _SESSION.fullmatch(value):
        raise InvalidRequest(notice=f"not a session: {printable(value, 64)}")
    return value


def wanted(request: Request, *, own: str = "") -> Wanted:
    """Return which sessions or lines are asked for; ``own`` is the only login whose may be shown, "" for all.

    Raise AccessDenied for another's, rather than show what was not asked for.
    """
    login = text(request, "login")
    if own and login and login.casefold() != own.casefold():
        raise AccessDenied(
            f"{own} is no operator", notice=f"a viewer sees their own alone: leave login out, or ask for {printable(own, 64)}"
        )
    return Wanted(
        text=text(request, "text"),
        login=own or login,
        outcome=text(request, "outcome"),
        event=text(request, "event"),
        session=text(request, "session"),
    )
