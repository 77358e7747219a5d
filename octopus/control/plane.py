"""The calls between the two planes and their types: what a session worker asks of the control plane, and tells it.

``Plane`` is the port. In one process it is the control plane itself; between processes it is HTTP over a unix socket, one
``POST /CALL`` each: ``control/plane_server.py`` is the supervisor's half, ``session/plane_client.py`` the worker's.
Connections go another way: over the worker's channel, a SOCK_SEQPACKET socket pair which is the worker's standard input,
one JSON message a packet (``ToWorker``, ``FromWorker``). Its end of file says that the supervisor is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from octopus.core.types import Allow, AuditEvent, Connection, Identity, SessionRequest, Target, Value
from octopus.core.unique_actions import Action


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
    """A session that may begin: it is on the audit trail and in the live-session table.

    ``kind`` and ``command`` are what was asked for, "" from a gateway before an upgrade.
    """

    session: str
    target: Target
    allow: Allow
    kind: str = ""
    command: str = ""


def may_choose(request: SessionRequest) -> bool:
    """Tell whether a name that means several tasks is answered by a list to choose from: where there is a terminal, and no command."""
    return request.pty is not None and request.command is None


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


class StopWorker(Value, frozen=True, kw_only=True, tag="stop"):
    """Ask the worker to end every session and then itself."""

    reason: str


Command = KillSession | StopWorker | Attached


class Plane(Protocol):
    """What the data plane needs of the control plane. Every call may raise ControlUnavailable."""

    async def authenticate(self, attempt: AuthAttempt) -> Identity:
        """Return who that is, and write ``auth.accepted``. Raise AuthenticationFailed, DirectoryUnavailable, AuditUnavailable."""
        ...

    async def admit(self, session: str, identity: Identity, connection: Connection, name: str, request: SessionRequest) -> Admission:
        """Resolve once, decide on that target, write ``session.requested`` (and ``exec``) or ``session.denied``.

        ``session`` is the new session's id, chosen by the caller; ``name`` is the SSH user name as typed, or a task id picked.
        Asked again for a session it gives the same answer. When it raises, the session's terminal event is taken care of.
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


class AdmitCall(Value, frozen=True, kw_only=True):
    """The arguments of ``admit`` on the wire."""

    session: str
    identity: Identity
    connection: Connection
    name: str
    request: SessionRequest


class CandidatesCall(Value, frozen=True, kw_only=True):
    """The arguments of ``candidates`` on the wire."""

    identity: Identity
    name: str
    limit: int


class ReplacementCall(Value, frozen=True, kw_only=True):
    """The arguments of ``replacement`` on the wire."""

    identity: Identity
    target: Target


class AttachCall(Value, frozen=True, kw_only=True):
    """The arguments of ``attach`` on the wire; the answer is one ``Command`` a line until the stream breaks."""

    worker: str
    pid: int
    sessions: tuple[LiveSession, ...]


class RecordsCall(Value, frozen=True, kw_only=True):
    """Several calls of ``record`` as one on the wire; the answer holds for each None or its failure."""

    events: tuple[AuditEvent, ...]


class KillCall(Value, frozen=True, kw_only=True):
    """An operator asks to end a session; ``operator`` is who, as far as the operator's own process can tell."""

    session: str
    operator: str
    reason: str = ""


class ScaleCall(Value, frozen=True, kw_only=True):
    """An operator asks that an app be one on each host it can run on; ``operator`` is who, as above."""

    app: str
    operator: str


class Operator(Protocol):
    """What an operator's process on the same machine may ask, over the same socket as the workers."""

    async def kill(self, call: KillCall) -> None:
        """End a session. Raise NoSuchTarget, AuditUnavailable, ControlUnavailable."""
        ...

    async def scale(self, call: ScaleCall) -> Action:
        """Scale a UNIQUE app, and return what became of it. Raise NoSuchTarget, InvalidRequest, AccessDenied, AuditUnavailable."""
        ...


class Start(Value, frozen=True, kw_only=True, tag="start"):
    """First packet to a worker: who it is and where things are.

    The worker holds a lock on ``lock_file`` for its life. ``settings`` is for the worker alone to read. In ``journals`` are the
    events it is handing over, in ``write_ahead`` the lines of recordings that it may show before the disk has them.
    """

    worker: str
    lock_file: str
    plane_socket: str
    spool_directory: str
    settings: msgspec.Raw
    journals: tuple[str, ...]
    write_ahead: str


class Serve(Value, frozen=True, kw_only=True, tag="serve"):
    """Comes with a connected socket (SCM_RIGHTS): serve it. ``client`` is ``ip:port``, ``number`` the supervisor's own."""

    number: int
    client: str


class Cut(Value, frozen=True, kw_only=True, tag="cut"):
    """Cut this connection: its client has too many whose person is not known."""

    number: int


class KnownAs(Value, frozen=True, kw_only=True, tag="known_as"):
    """The balancer in front says who the client of this connection really is (``ip:port``)."""

    number: int
    client: str


class Authenticated(Value, frozen=True, kw_only=True, tag="authenticated"):
    """The person on this connection is known: it no longer counts as a stranger's."""

    number: int


class Closed(Value, frozen=True, kw_only=True, tag="closed"):
    """This connection is over."""

    number: int


class Draining(Value, frozen=True, kw_only=True, tag="draining"):
    """The worker takes no more connections: it is to be replaced. It lives on until its last one is over."""


class Load(Value, frozen=True, kw_only=True, tag="load"):
    """How much the worker moves: bytes per second, both ways, over its last interval."""

    rate: float


ToWorker = Start | Serve | Cut
FromWorker = KnownAs | Authenticated | Closed | Draining | Load
