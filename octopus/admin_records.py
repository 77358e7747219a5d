"""What the admin shows of the record: sessions, the audit trail, recordings, people; each read beside the event loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from octopus.admin.ports import Wanted
from octopus.admin.shapes import AuditPage, SessionLine, SessionsPage
from octopus.control.control_plane import Authenticator
from octopus.control.live import LiveSessions
from octopus.control.operator_calls import OperatorCalls
from octopus.control.plane import KillCall, LiveSession
from octopus.control.session_history import PastSession
from octopus.control.session_pages import past_sessions
from octopus.control.trail_pages import MAX_BYTES
from octopus.control.trail_pages import page as trail_page
from octopus.core.errors import InvalidRequest, NoSuchTarget
from octopus.core.ports import AuditLog, Directory
from octopus.core.times import rfc3339
from octopus.core.types import AuditEvent, Identity

LIVE = "live"
OUTCOMES = frozenset({"", LIVE, "ended", "failed", "denied"})
MAX_ONE = 4 << 30
"""Bytes of trail that are looked through for one session that is asked for by its name."""
MAX_GLANCE = 8 << 20
"""Bytes of trail that are looked through for what the overview shows at once."""
_RECORDING = re.compile(r"[0-9]{4}/[0-9]{2}/[0-9]{2}/[A-Za-z0-9][A-Za-z0-9-]{0,63}\.cast")
_TEXTS = ("time", "event", "session", "login", "client")
ALTERED = "(no line of ours)"
"""The event of a line that cannot be read."""
Found = TypeVar("Found")


class Reading:
    """A thread or two for files: many pages at once wait for one another, and for nothing else."""

    def __init__(self, threads: int = 2) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="admin")

    async def __call__(self, call: Callable[[], Found]) -> Found:
        """Return what ``call`` returns, from a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """Release the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class PeopleBehind:
    """The gateway's own authenticator and directory: the same limits for ssh and for the pages."""

    def __init__(self, authenticator: Authenticator, directory: Directory) -> None:
        self._authenticator = authenticator
        self._directory = directory

    async def authenticate(self, login: str, password: str, address: str) -> Identity:
        """See ``People``."""
        return await self._authenticator.authenticate(
            method="password", login=login, password=password, fingerprint="", principals=(), address=address
        )

    async def look_up(self, login: str) -> Identity:
        """See ``People``."""
        return await self._directory.look_up(login, "password")


class TrailOnDisk:
    """The trail in ``directory``, written by ``log``."""

    def __init__(self, directory: Path, log: AuditLog, reading: Reading, new_id: Callable[[], str]) -> None:
        self._directory = directory
        self._log = log
        self._reading = reading
        self._new_id = new_id

    async def page(self, wanted: Wanted, cursor: str, limit: int, *, glance: bool = False) -> AuditPage:
        """See ``Trail``."""
        look = partial(
            trail_page,
            self._directory,
            _line_filter(wanted),
            before=int(cursor or 0),
            limit=limit,
            max_bytes=MAX_GLANCE if glance else MAX_BYTES,
            is_first=_beginning(wanted.session),
        )
        found = await self._reading(look)
        return AuditPage(events=tuple(map(_event, found.lines)), next=str(found.before or ""))

    async def write(self, event: str, *, login: str, client: str, session: str = "", **data: Any) -> None:
        """See ``Trail``."""
        await self._log.append(
            AuditEvent(event=event, key=f"{event}/{self._new_id()}", login=login, client=client, session=session, data=data)
        )


def _event(line: bytes) -> dict[str, Any]:
    """Return a line as it stands, only its number of one that somebody altered: it has to be told of, and hide no other."""
    try:
        event = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        event = None
    if isinstance(event, dict) and all(isinstance(event.get(name), str) for name in _TEXTS):
        return event
    number = int(line.partition(b",")[0].partition(b":")[2])
    return dict.fromkeys(_TEXTS, "") | {"seq": number, "event": ALTERED}


def _line_filter(wanted: Wanted) -> Callable[[bytes], bool]:
    """Return what tells whether a line is asked for. Quotes are escaped in JSON, so a field cannot be feigned by a text."""
    must: list[bytes] = []
    if wanted.login:
        must.append(b'"login":' + msgspec.json.encode(wanted.login))
    events = [f'"event":"{name.strip()}"'.encode() for name in wanted.event.split(",") if name.strip()]
    session = wanted.session.encode()
    either = [b'"session":"' + session + b'"', b'"of":"' + session + b'"'] if session else []
    text = _text(wanted)

    def fits(line: bytes) -> bool:
        return (
            all(part in line for part in must)
            and (not events or any(part in line for part in events))
            and (not either or any(part in line for part in either))
            and (not text or text in line.lower())
        )

    return fits


def _text(wanted: Wanted) -> bytes:
    """Return the text that is looked for as it stands in a line, in lower case."""
    return msgspec.json.encode(wanted.text)[1:-1].lower()


def _beginning(session: str) -> Callable[[bytes], bool]:
    """Return what tells the line with which a session begins: nothing of it stands before."""
    mark = f'"session":"{session}"'.encode()

    def begins(line: bytes) -> bool:
        return bool(session) and b'"event":"session.requested"' in line and mark in line

    return begins


class SessionsHere:
    """The sessions of the live table and of the trail."""

    def __init__(self, live: LiveSessions, calls: OperatorCalls, trail: Path, recordings: Path, reading: Reading) -> None:
        self._live = live
        self._calls = calls
        self._trail = trail
        self._recordings = recordings
        self._reading = reading

    async def page(self, wanted: Wanted, cursor: str, limit: int) -> SessionsPage:
        """See ``Sessions``."""
        if wanted.outcome not in OUTCOMES:
            raise InvalidRequest(notice=f"outcome is one of {', '.join(sorted(OUTCOMES - {''}))}")
        live = [] if cursor or wanted.outcome not in ("", LIVE) else self._live_ones(wanted)
        if wanted.outcome == LIVE:
            return SessionsPage(sessions=tuple(live[:limit]), live=len(live), next="")
        fits = partial(_fits, wanted)
        rest = max(1, limit - len(live[:limit]))
        hint = _text(wanted) if wanted.text.isascii() else b""
        found = await self._reading(partial(past_sessions, self._trail, fits, before=int(cursor or 0), limit=rest, hint=hint))
        past = tuple(_past(one) for one in found.sessions)
        return SessionsPage(sessions=(*live[:limit], *past), live=len(live), next=str(found.before or ""))

    async def one(self, session: str) -> SessionLine:
        """See ``Sessions``."""
        live = self._live.get(session)
        if live is not None:
            return _live(live)

        def fits(one: PastSession) -> bool:
            return one.session == session

        hint = session.lower().encode()
        found = await self._reading(partial(past_sessions, self._trail, fits, limit=1, max_bytes=MAX_ONE, hint=hint))
        if not found.sessions:
            raise NoSuchTarget(notice="there is no such session")
        return _past(found.sessions[0])

    def recording(self, session: SessionLine) -> Path | None:
        """See ``Sessions``. A recording lies under the day it began on (UTC)."""
        if session.outcome != LIVE and not session.recorded:
            return None
        for day in _days(session.began):
            for name in (f"{session.session}.cast.part", f"{session.session}.cast"):
                path = self._recordings / day / name
                if path.is_file() and not path.is_symlink():
                    return path
        return None

    async def kill(self, session: str, operator: str, reason: str) -> None:
        """See ``Sessions``."""
        await self._calls.kill(KillCall(session=session, operator=operator, reason=reason))

    def _live_ones(self, wanted: Wanted) -> list[SessionLine]:
        found = [_live(one) for one in self._live.all()]
        return sorted((one for one in found if _fits(wanted, one)), key=lambda one: one.began, reverse=True)


def _fits(wanted: Wanted, one: PastSession | SessionLine) -> bool:
    if wanted.login and one.login != wanted.login:
        return False
    if wanted.outcome and one.outcome != wanted.outcome:
        return False
    text = wanted.text.casefold()
    return not text or any(
        text in part.casefold() for part in (one.session, one.login, one.client, one.app, one.task, one.agent, one.reason)
    )


def _past(one: PastSession) -> SessionLine:
    return SessionLine(
        session=one.session,
        login=one.login,
        client=one.client,
        app=one.app,
        task=one.task,
        agent=one.agent,
        kind=one.kind,
        command=one.command,
        began=one.began,
        ended=one.ended,
        outcome=one.outcome,
        exit_status=one.exit_status,
        reason=one.reason,
        recorded=any(_RECORDING.fullmatch(path) for path in one.recordings),
    )


def _live(one: LiveSession) -> SessionLine:
    target, spec = one.admission.target, one.admission.allow.spec
    return SessionLine(
        session=one.session,
        login=one.identity.login,
        client=one.connection.client,
        app=target.app,
        task=target.task,
        agent=target.agent,
        kind=one.admission.kind,
        command=one.admission.command,
        began=rfc3339(one.since),
        ended="",
        outcome=LIVE,
        exit_status=None,
        reason="",
        recorded=spec.pty is not None,
    )


def _days(began: str) -> list[str]:
    """Return the folders a recording may lie in: it is opened a moment after its session has begun."""
    try:
        at = datetime.fromisoformat(began).astimezone(UTC)
    except ValueError:
        return []
    return list(dict.fromkeys((at + timedelta(seconds=later)).strftime("%Y/%m/%d") for later in (0, 60, -60)))
