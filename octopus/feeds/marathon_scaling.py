"""Sets an app's number of instances through Marathon's API, and nothing else of it (mesos-marathon.md 3.3). Never by force."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from octopus.core.errors import (
    AccessDenied,
    AppLocked,
    BadUpstream,
    InvalidDocument,
    InvalidRequest,
    NoSuchTarget,
    OctopusError,
    OrchestratorUnavailable,
    printable,
)
from octopus.core.placement_app import App, parse_app
from octopus.core.placement_rules import Rules
from octopus.core.unique_actions import Rescaled
from octopus.core.wire import read_json
from octopus.feeds.http import Http, in_time
from octopus.feeds.masters import last_error

JSON = {"Accept": "application/json", "Content-Type": "application/json"}
MAX_ANSWER = 4 * 1024 * 1024
MAX_QUEUE = 64 * 1024 * 1024
PATCH_SINCE = (1, 4, 0)
"""PUT makes an app that is not there; PATCH, since 1.4, does not."""
_ID = re.compile(r"(?:/[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)+")
MOST_REASONS = 5

Result = TypeVar("Result")


class _One(msgspec.Struct):
    app: msgspec.Raw


class _Deployed(msgspec.Struct, rename="camel"):
    deployment_id: str = ""
    version: str = ""


class _Message(msgspec.Struct):
    message: str = ""


class _Rejected(msgspec.Struct):
    reason: str = ""
    declined: int = 0


class _Offers(msgspec.Struct, rename="camel"):
    reject_summary_last_offers: list[_Rejected] = []


class _Ref(msgspec.Struct):
    id: str = ""


class _Queued(msgspec.Struct, rename="camel"):
    app: _Ref | None = None
    processed_offers_summary: _Offers | None = None


class _Queue(msgspec.Struct):
    queue: list[_Queued] = []


class MarathonScaling:
    """The ``AppScaling`` port over Marathon. ``urls`` are tried in order, the last that answered first; ``timeout`` in seconds a call.

    What is written goes to the one that was read last, and is never sent twice: whether it was carried out may be unknown.
    """

    def __init__(self, http: Http, urls: Sequence[str], *, timeout: float = 10.0) -> None:
        if not urls:
            raise ValueError("a Marathon has a URL")
        self._http = http
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._timeout = timeout
        self._last = self._urls[0]

    async def read(self, app: str, rules: Rules) -> App:
        """See ``AppScaling``."""
        path = _path(app)
        body = await self._any(lambda base: self._call("GET", base + path))
        raw = read_json(body, _One, f"{self._last}{path}").app
        try:
            found = parse_app(msgspec.json.decode(raw), rules)
        except (InvalidDocument, msgspec.DecodeError, RecursionError) as error:
            raise BadUpstream(self._last, f"an app that is none: {printable(str(error))}") from error
        if found.id != app:
            raise BadUpstream(self._last, f"another app than {app}", found.id)
        return found

    async def scale(self, app: str, instances: int, rules: Rules) -> Rescaled:
        """See ``AppScaling``."""
        url, content = self._last + _path(app), msgspec.json.encode({"instances": instances})
        method = "PATCH" if rules.version >= PATCH_SINCE else "PUT"
        answer = read_json(await self._call(method, url, content), _Deployed, url)
        if not answer.deployment_id:
            raise BadUpstream(url, "no deployment: it is not known whether it was taken")
        return Rescaled(deployment=answer.deployment_id, version=answer.version)

    async def waiting(self, app: str) -> str:
        """See ``AppScaling``; before 1.4 Marathon does not say."""
        body = await self._any(lambda base: self._call("GET", f"{base}/v2/queue", limit=MAX_QUEUE))
        for queued in read_json(body, _Queue, f"{self._last}/v2/queue").queue:
            if queued.app is not None and queued.app.id == app and queued.processed_offers_summary is not None:
                declined = [each for each in queued.processed_offers_summary.reject_summary_last_offers if each.declined > 0]
                declined.sort(key=lambda each: -each.declined)
                return ", ".join(f"{each.declined} offers declined: {printable(each.reason)}" for each in declined[:MOST_REASONS])
        return ""

    async def _any(self, call: Callable[[str], Awaitable[Result]]) -> Result:
        """Return the first answer of any Marathon; only one that cannot be asked, or answers nonsense, is passed over."""
        errors: list[OctopusError] = []
        for base in dict.fromkeys([self._last, *self._urls]):
            try:
                found = await call(base)
            except (OrchestratorUnavailable, BadUpstream) as error:
                errors.append(error)
            else:
                self._last = base
                return found
        raise last_error(errors)

    async def _call(self, method: str, url: str, content: bytes | None = None, *, limit: int = MAX_ANSWER) -> bytes:
        async with in_time(self._timeout, url), self._http.open(method, url, trusted=True, headers=JSON, content=content) as answer:
            body = await answer.body(limit)
            if answer.status == 200:
                return body
            raise _refusal(url, answer.status, body)


def _path(app: str) -> str:
    """Return the path of an app, whose id leads nowhere else. Raise InvalidRequest."""
    if not _ID.fullmatch(app):
        raise InvalidRequest(f"{printable(app)!r} is no id of an app", notice="that is no id of an app")
    return f"/v2/apps{app}"


def _refusal(url: str, status: int, body: bytes) -> OctopusError:
    """Return the error for a status; what Marathon says about it is for the operator."""
    said = _said(body)
    text = f"{url}: HTTP {status}" + (f": {said}" if said else "")
    if status == 404:
        return NoSuchTarget(text, notice="Marathon has no such app")
    if status == 409:
        return AppLocked(text)
    if status in {400, 422}:
        return InvalidRequest(text, notice=f"Marathon does not take it: HTTP {status}")
    if status in {401, 403}:
        return AccessDenied(text, notice=f"Marathon does not let us: HTTP {status}")
    if status == 201:
        return BadUpstream(url, "it made an app anew that was gone")
    return OrchestratorUnavailable(text, notice=f"Marathon does not answer as it should: HTTP {status}")


def _said(body: bytes) -> str:
    try:
        return printable(msgspec.json.decode(body, type=_Message).message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
