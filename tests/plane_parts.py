"""A control plane on real files with a small world around it: two people, one rule, a few tasks."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from octopus.control.audit_log import FileAuditLog
from octopus.control.control_plane import ControlPlane, MaySee
from octopus.control.live import LiveSessions
from octopus.control.plane import AuthAttempt, Candidate
from octopus.core.errors import AmbiguousTarget, AuthenticationFailed, DirectoryUnavailable, NoSuchTarget
from octopus.core.policy import Policy, Rule
from octopus.core.types import (
    AuditEvent,
    Connection,
    ContainerClue,
    EngineAddress,
    Identity,
    RequestKind,
    SessionRequest,
    Target,
    TargetName,
)

NOON = 1_700_000_000.0
ALICE = Identity(login="alice", groups=frozenset({"dev"}), method="password")
MALLORY = Identity(login="mallory", method="password")
CONNECTION = Connection(id="c-1", client="10.0.0.1:4000", user_name="web.1", client_version="SSH-2.0-OpenSSH_9.2")
SHELL = SessionRequest(kind=RequestKind.SHELL)
APPS = {"web.1": "/web", "web.2": "/web", "db.1": "/db", "secret.1": "/secret"}


def command(text: str) -> SessionRequest:
    """Return a request to run a command."""
    return SessionRequest(kind=RequestKind.EXEC, command=text)


def attempt(password: str = "right", connection: Connection = CONNECTION) -> AuthAttempt:
    """Return alice's attempt with a password."""
    return AuthAttempt(connection=connection, method="password", login="alice", password=password)


def target(task: str) -> Target:
    """Return one of the tasks."""
    engine = EngineAddress(url="unix:///nowhere")
    return Target(app=APPS[task], task=task, agent="agent-1", engine=engine, clue=ContainerClue(task_id=task))


class OnePassword:
    """An Authenticator that knows alice by the password ``right``; the directory is down for ``down``."""

    async def authenticate(
        self, *, method: str, login: str, password: str, fingerprint: str, principals: tuple[str, ...], address: str
    ) -> Identity:
        """Return alice."""
        if password == "down":
            raise DirectoryUnavailable("no LDAP server answers")
        if (login, password) != ("alice", "right"):
            raise AuthenticationFailed("wrong password")
        return ALICE


class FewTasks:
    """A Resolver over ``APPS``."""

    async def resolve(self, name: TargetName, may_see: MaySee) -> Target:
        """Return the task whose id starts with the name."""
        found = [one.task for one in await self.candidates(name.body, may_see, 1000)]
        if not found:
            raise NoSuchTarget(f"nothing for {name.body}", notice=f"no running task matches '{name.body}'")
        if len(found) > 1:
            raise AmbiguousTarget(candidates=found)
        return target(found[0])

    async def candidates(self, text: str, may_see: MaySee, limit: int) -> tuple[Candidate, ...]:
        """Return the tasks whose id starts with ``text``."""
        found = [Candidate(app=app, task=task, agent="agent-1") for task, app in APPS.items() if task.startswith(text) and may_see(app, {})]
        return tuple(found[:limit])

    async def replacement(self, target: Target) -> str:
        """Return another task of the app."""
        return next((task for task, app in APPS.items() if app == target.app and task != target.task), "")


def policy(max_sessions: int = 0) -> Policy:
    """Return the rules: dev may have a shell and download in /web, and run commands in /web and /db."""
    allow = frozenset({RequestKind.EXEC})
    more = frozenset({RequestKind.SHELL, RequestKind.DOWNLOAD})
    return Policy(
        [
            Rule(groups=frozenset({"dev"}), apps=("/web",), allow=allow | more, max_sessions=max_sessions),
            Rule(groups=frozenset({"dev"}), apps=("/db",), allow=allow),
        ]
    )


def audit_log(root: Path, *, lock_timeout: float = 60.0) -> FileAuditLog:
    """Return the log at its place below ``root``."""
    return FileAuditLog(root / "audit", clock=lambda: NOON, lock_timeout=lock_timeout)


def control_plane(root: Path, log: FileAuditLog, *, live: LiveSessions, rule_limit: int = 0, max_sessions: int = 2000) -> ControlPlane:
    """Return a control plane over ``log``."""
    numbers = itertools.count(1)
    return ControlPlane(
        log=log,
        live=live,
        authenticator=OnePassword(),
        resolver=FewTasks(),
        policy=policy(rule_limit),
        clock=lambda: NOON,
        new_token=lambda: f"token-{next(numbers)}",
        max_sessions=max_sessions,
        retry_interval=0.01,
    )


@asynccontextmanager
async def in_process(root: Path, **limits: int) -> AsyncIterator[ControlPlane]:
    """Run a control plane in this process."""
    live = LiveSessions(root / "run" / "sessions")
    async with audit_log(root) as log:
        live.restore(lambda session: False)
        yield control_plane(root, log, live=live, **limits)


def trail(root: Path) -> list[dict[str, Any]]:
    """Return the whole lines of the audit trail, one may be just being written, but for its checkpoints."""
    path = root / "audit" / "audit.jsonl"
    written = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    lines = [json.loads(line) for line in written.splitlines()]
    return [line for line in lines if line["event"] != "audit.checkpoint"]


def events_of(root: Path, session: str) -> list[str]:
    """Return the names of a session's events, in order."""
    return [line["event"] for line in trail(root) if line["session"] == session]


def ended(session: str, **data: Any) -> AuditEvent:
    """Return a session's regular end."""
    return AuditEvent(event="session.ended", key=f"{session}/ended", session=session, login="alice", client=CONNECTION.client, data=data)
