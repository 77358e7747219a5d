"""The calls between the two planes and their types: what a session worker asks of the control plane, and tells it.

``Plane`` is the port. In one process it is the control plane itself; between processes it is HTTP over a unix socket:
``plane_client.py`` is the worker's half, ``plane_server.py`` the supervisor's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from octopus.core.types import Allow, AuditEvent, Connection, Identity, SessionRequest, Target, Value


class AuthAttempt(Value, frozen=True, kw_only=True):
    """One attempt to authenticate. The SSH side has already verified signatures and certificates.

    ``method`` is ``password``, ``keyboard-interactive``, ``publickey`` or ``certificate``. ``login`` may be "" for a public
    key, whose owner is then found by ``fingerprint``; with a certificate ``principals`` are those it is valid for.
    """

    connection: Connection
    method: str
    login: str = ""
    password: str = ""
    fingerprint: str = ""
    principals: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Leave the password out of every traceback and log line."""
        return f"AuthAttempt(method={self.method!r}, login={self.login!r}, fingerprint={self.fingerprint!r})"


class Candidate(Value, frozen=True, kw_only=True):
    """One running task the person may enter, as pickers and ``ps`` show it. ``started`` in seconds since 1970, 0 unknown."""

    app: str
    task: str
    agent: str
    started: float = 0.0


class Admission(Value, frozen=True, kw_only=True):
    """A session that may begin: it is on the audit trail and in the live-session table."""

    session: str
    target: Target
    allow: Allow


class LiveSession(Value, frozen=True, kw_only=True):
    """A session that was admitted and has no terminal event yet: enough to end it in its worker's stead."""

    session: str
    identity: Identity
    connection: Connection
    admission: Admission
    container: str = ""
    since: float = 0.0


class KillSession(Value, frozen=True, kw_only=True, tag="kill"):
    """Ask the worker to end one session; ``reason`` goes to the person and the audit trail."""

    session: str
    reason: str


class Attached(Value, frozen=True, kw_only=True, tag="attached"):
    """First message of the stream: the control plane knows this worker and its sessions."""


Command = KillSession | Attached


class Plane(Protocol):
    """What the data plane needs of the control plane. Every call may raise ControlUnavailable."""

    async def authenticate(self, attempt: AuthAttempt) -> Identity:
        """Return who that is, and write ``auth.accepted``. Raise AuthenticationFailed, DirectoryUnavailable, AuditUnavailable."""
        ...

    async def admit(self, session: str, identity: Identity, connection: Connection, name: str, request: SessionRequest) -> Admission:
        """Resolve once, decide on that target, write ``session.requested`` (and ``exec``) or ``session.denied``.

        ``session`` is the new session's id, chosen by the caller; ``name`` is the SSH user name as typed, or a task id picked.
        Raise InvalidTarget, NoSuchTarget, AmbiguousTarget, AccessDenied, TooManySessions, Unavailable.
        """
        ...

    async def candidates(self, identity: Identity, name: str = "", limit: int = 1000) -> tuple[Candidate, ...]:
        """Return the running tasks the person may enter whose app or id fits ``name`` ("" for all), by app, then start time."""
        ...

    async def replacement(self, identity: Identity, target: Target) -> str:
        """Return the id of a running task of the same app that replaces ``target``, "" when there is none."""
        ...

    async def record(self, event: AuditEvent) -> None:
        """Return once the event is durable on the audit trail. Raise AuditUnavailable."""
        ...

    def attach(self, worker: str, pid: int, sessions: tuple[LiveSession, ...]) -> AsyncIterator[Command]:
        """Tell which sessions live in this worker and receive commands for them until the stream breaks."""
        ...
