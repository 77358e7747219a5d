"""The live-session table: who is in, and what it takes to end a session in its worker's stead."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from octopus.control.plane import LiveSession
from octopus.core.errors import ControlUnavailable, InvalidRequest
from octopus.core.types import AuditEvent

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_FORM = msgspec.json.Decoder(LiveSession)
_log = structlog.get_logger(__name__)


class LiveSessions:
    """The table. Each session is also a file (0600) in ``directory`` (0700), for a supervisor that comes after this one.

    The audit trail says which sessions are open; the file only adds where its processes are and how they are found. It need
    not survive the machine (a directory under /run will do), so nothing here is synced.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sessions: dict[str, LiveSession] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._sessions)

    def restore(self, is_open: Callable[[str], bool]) -> tuple[LiveSession, ...]:
        """Read what the supervisor before left: open sessions onto the table; return the others, of which something may be left."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = [session for path in self._directory.glob("*.json") if (session := _read(path))]
        for one in found:
            if is_open(one.session):
                self._put(one)
        return tuple(one for one in found if not is_open(one.session))

    def all(self) -> tuple[LiveSession, ...]:
        """Return the table."""
        return tuple(self._sessions.values())

    def get(self, session: str) -> LiveSession | None:
        """Return one session, None when it is not live."""
        return self._sessions.get(session)

    async def empty(self) -> None:
        """Wait until nobody is in."""
        await self._empty.wait()

    def count(self, login: str, rule: str) -> int:
        """Return how many sessions the person has under the rule."""
        return sum(one.identity.login == login and one.admission.allow.rule == rule for one in self._sessions.values())

    def add(self, session: LiveSession) -> None:
        """Put a session on the table. Raise ControlUnavailable when it cannot be kept for a later supervisor."""
        path = self._path(session.session)
        new = path.with_suffix(".new")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(session))
            new.rename(path)
        except OSError as error:
            raise ControlUnavailable(f"cannot keep {path}: {error}", notice="the session cannot be kept track of") from error
        self._put(session)

    def note(self, event: AuditEvent) -> None:
        """Learn from ``session.started`` which container was entered."""
        known = self._sessions.get(event.session)
        container = event.target.get("container", "")
        if event.event == "session.started" and known and container:
            self._sessions[event.session] = msgspec.structs.replace(known, container=container)

    def remove(self, session: str) -> None:
        """Take a session off the table: its end is on the audit trail and its worker left nothing of it."""
        if self.lose(session):
            self.forget(session)

    def lose(self, session: str) -> LiveSession | None:
        """Take a session off the table whose worker is dead; its file stays until ``forget``, when nothing of it is left."""
        known = self._sessions.pop(session, None)
        if not self._sessions:
            self._empty.set()
        return known

    def forget(self, session: str) -> None:
        """Remove the file of a session that is off the table."""
        if session in self._sessions:
            return
        self._path(session).unlink(missing_ok=True)

    def _put(self, session: LiveSession) -> None:
        self._sessions[session.session] = session
        self._empty.clear()

    def _path(self, session: str) -> Path:
        if not _SESSION.fullmatch(session):
            raise InvalidRequest(f"not a session id: {session[:100]!r}")
        return self._directory / f"{session}.json"


def _read(path: Path) -> LiveSession | None:
    try:
        return _FORM.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        _log.warning("a live session's file cannot be read", path=str(path), error=str(error))
        path.unlink(missing_ok=True)
        return None
