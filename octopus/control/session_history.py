"""The sessions of an audit trail, live and past, each put together from its lines. Blocking."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from octopus.control.audit_file import open_files
from octopus.core.chain import CARRIED
from octopus.core.errors import AuditUnavailable, InvalidRequest
from octopus.core.globs import Glob
from octopus.core.types import TERMINAL_EVENTS, Value

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LIVE = "live"
_OUTCOMES = {"session.ended": "ended", "session.failed": "failed", "session.denied": "denied"}


class PastSession(Value, frozen=True, kw_only=True):
    """One session; times as the trail has them (UTC, RFC 3339), "" where not known.

    ``outcome`` is ``live`` while it has no terminal event (also where its gateway died and has not started again), else
    ``ended``, ``failed`` or ``denied``; ``recordings`` are paths below the recordings' directory.
    """

    session: str
    login: str
    client: str
    app: str
    task: str
    agent: str
    kind: str
    command: str
    began: str
    ended: str
    outcome: str
    exit_status: int | None
    reason: str
    recordings: tuple[str, ...]


class Wanted:
    """Which sessions are asked for; "" asks for all.

    ``app`` is a glob over app ids where it holds ``*`` or ``?``, else a part of one; ``client`` an address or a network; ``since``
    and ``until`` are times as the trail has them, between which the session was live. Raise InvalidRequest for no such thing.
    """

    def __init__(
        self, *, login: str = "", app: str = "", client: str = "", since: str = "", until: str = "", live: bool = False, session: str = ""
    ) -> None:
        self._login = login
        self._app = app
        self._since = since
        self._until = until
        self._live = live
        self._session = session
        try:
            self._glob = Glob(app) if set(app) & set("*?") else None
            self._network = ipaddress.ip_network(client, strict=False) if client else None
        except ValueError as error:
            raise InvalidRequest(str(error)) from error

    def fits(self, one: PastSession) -> bool:
        """Tell whether the session is asked for."""
        return (
            (not self._login or one.login == self._login)
            and (not self._session or one.session == self._session)
            and (self._glob.matches(one.app) if self._glob else self._app in one.app)
            and (not self._network or _within(one.client, self._network))
            and (not self._live or one.outcome == LIVE)
            and (not self._until or one.began <= self._until)
            and (not self._since or not one.ended or one.ended >= self._since)
        )


def sessions(directory: Path, wanted: Wanted, limit: int = 1000) -> list[PastSession] | None:
    """Return the latest sessions that fit, at most ``limit``, by their beginning; None where there is no trail. Raise AuditUnavailable."""
    found: deque[PastSession] = deque(maxlen=limit)
    try:
        with ExitStack() as stack:
            files = open_files(directory, stack) if directory.exists() else []
            for one in _told(chain.from_iterable(files)):
                if wanted.fits(one):
                    found.append(one)
    except OSError as error:
        raise AuditUnavailable(f"{error.filename or directory}: cannot be read: {error.strerror}") from error
    return sorted(found, key=lambda one: (one.began, one.session)) if files else None


class _Recording(msgspec.Struct, frozen=True):
    path: str = ""


class Line(msgspec.Struct, frozen=True):
    """A line, as far as a session is told by it."""

    event: str
    session: str = ""
    time: str = ""
    login: str = ""
    client: str = ""
    target: dict[str, str] = {}
    kind: str = ""
    command: str = ""
    seconds: float = 0.0
    exit_status: int | None = None
    reason: str = ""
    recordings: tuple[_Recording, ...] = ()


class _Open(msgspec.Struct, frozen=True):
    session: str
    login: str = ""
    client: str = ""
    target: dict[str, str] = {}


class _Carried(msgspec.Struct, frozen=True):
    open: tuple[_Open, ...] = ()


LINE = msgspec.json.Decoder(Line)
_CARRIED = msgspec.json.Decoder(_Carried)
_TOLD_BY = frozenset({"session.requested", "exec", "session.started"}) | TERMINAL_EVENTS


def _told(lines: Iterable[bytes]) -> Iterator[PastSession]:
    """Yield the sessions that are over, in the order of their ends, then the live ones."""
    open_sessions: dict[str, PastSession] = {}
    for raw in lines:
        try:
            line = LINE.decode(raw)
            if line.event == CARRIED:
                for one in _CARRIED.decode(raw).open:
                    open_sessions.setdefault(one.session, begun(one, began=""))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if line.event in _TOLD_BY:
            before = open_sessions.pop(line.session) if line.session in open_sessions else begun(line, began=line.time)
            known = told_more(before, line)
            if line.event in TERMINAL_EVENTS:
                yield known
            else:
                open_sessions[line.session] = known
    yield from open_sessions.values()


def begun(one: Line | _Open, *, began: str) -> PastSession:
    """Return a session as its first line tells of it."""
    return PastSession(
        session=one.session,
        login=one.login,
        client=one.client,
        app=one.target.get("app", ""),
        task=one.target.get("task", ""),
        agent=one.target.get("agent", ""),
        kind="",
        command="",
        began=began,
        ended="",
        outcome=LIVE,
        exit_status=None,
        reason="",
        recordings=(),
    )


def told_more(one: PastSession, line: Line) -> PastSession:
    """Return the session with what a later line of its adds; the one that ends it tells the outcome."""
    news: dict[str, Any] = {"kind": line.kind or one.kind, "command": line.command or one.command}
    if line.event in TERMINAL_EVENTS:
        paths = tuple(recording.path for recording in line.recordings)
        news |= {"ended": line.time, "outcome": _OUTCOMES[line.event], "exit_status": line.exit_status, "reason": line.reason}
        news |= {"recordings": paths}
    return msgspec.structs.replace(one, **news)


def _within(client: str, network: Network) -> bool:
    try:
        return ipaddress.ip_address(client.rpartition(":")[0].strip("[]").partition("%")[0]) in network
    except ValueError:
        return False
