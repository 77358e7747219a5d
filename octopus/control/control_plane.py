"""The control plane's answers to the session workers: who that is, whether the session may begin, and on the record it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Protocol
from weakref import WeakValueDictionary

import structlog

from octopus.control import session_events
from octopus.control.attachments import Attachments
from octopus.control.audit_log import FileAuditLog
from octopus.control.endings import Endings
from octopus.control.live import LiveSessions
from octopus.control.plane import Admission, AdmitCall, AuthAttempt, Candidate, Command, KillSession, LiveSession
from octopus.core.errors import (
    AccessDenied,
    AuditUnavailable,
    AuthenticationFailed,
    Disconnected,
    InvalidRequest,
    InvalidTarget,
    TooManySessions,
)
from octopus.core.names import parse_user_name
from octopus.core.policy import Policy
from octopus.core.types import Allow, AuditEvent, Connection, Deny, Identity, RequestKind, SessionRequest, Target, TargetName, terminal_key

MaySee = Callable[[str, Mapping[str, str]], bool]
"""Whether the person may learn of an app: its id and labels."""

_log = structlog.get_logger(__name__)


class Authenticator(Protocol):
    """Proves people, whatever the method, within the limits on attempts."""

    async def authenticate(
        self, *, method: str, login: str, password: str, fingerprint: str, principals: tuple[str, ...], address: str
    ) -> Identity:
        """Return who that is. Raise AuthenticationFailed or DirectoryUnavailable."""
        ...


class Resolver(Protocol):
    """Finds running tasks, for people who may see them."""

    async def resolve(self, name: TargetName, may_see: MaySee) -> Target:
        """Return the one task meant. Raise NoSuchTarget, AmbiguousTarget, OrchestratorUnavailable."""
        ...

    async def candidates(self, text: str, may_see: MaySee, limit: int) -> tuple[Candidate, ...]:
        """Return the tasks whose app or id fits ``text`` ("" for all)."""
        ...

    async def replacement(self, target: Target) -> str:
        """Return the id of a running task that replaces ``target``, "" for none."""
        ...


class ControlPlane:
    """The ``Plane`` itself. ``clock`` gives seconds since 1970, ``new_token`` a random mark nobody can guess.

    ``endings.run()`` has to run beside it. ``max_sessions`` is the gateway's limit; a rule may set one for each person.
    """

    def __init__(
        self,
        *,
        log: FileAuditLog,
        live: LiveSessions,
        authenticator: Authenticator,
        resolver: Resolver,
        policy: Policy,
        clock: Callable[[], float],
        new_token: Callable[[], str],
        max_sessions: int = 2000,
        retry_interval: float = 1.0,
    ) -> None:
        self.endings = Endings(log, ended=live.remove, retry_interval=retry_interval)
        self.attachments = Attachments()
        self._log = log
        self.live = live
        self._authenticator = authenticator
        self._resolver = resolver
        self._policy = policy
        self._clock = clock
        self._new_token = new_token
        self._max_sessions = max_sessions
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._lost: set[str] = set()

    async def authenticate(self, attempt: AuthAttempt) -> Identity:
        """See ``Plane``; an attempt that fails is on the trail as ``auth.refused``."""
        try:
            identity = await self._authenticator.authenticate(
                method=attempt.method,
                login=attempt.login,
                password=attempt.password,
                fingerprint=attempt.fingerprint,
                principals=attempt.principals,
                address=attempt.connection.address,
            )
        except AuthenticationFailed as error:
            await self._log.append(session_events.auth_refused(attempt, error, self._new_token()))
            raise
        await self._log.append(session_events.auth_accepted(attempt, identity, self._new_token()))
        return identity

    async def admit(self, session: str, identity: Identity, connection: Connection, name: str, request: SessionRequest) -> Admission:
        """See ``Plane``."""
        call = AdmitCall(session=session, identity=identity, connection=connection, name=name, request=request)
        async with self._turn(session):
            known = self.live.get(session)
            if known and (known.identity, known.connection) == (identity, connection):
                return known.admission
            if known or self._log.holds(terminal_key(session)):
                raise InvalidRequest(f"session {session} was there before")
            return await self._admit(call)

    async def candidates(self, identity: Identity, name: str = "", limit: int = 1000) -> tuple[Candidate, ...]:
        """See ``Plane``."""
        return await self._resolver.candidates(name, partial(self._policy.may_see, identity), limit)

    async def replacement(self, identity: Identity, target: Target) -> str:
        """See ``Plane``."""
        return await self._resolver.replacement(target) if self._policy.may_see(identity, target.app, target.labels) else ""

    async def record(self, event: AuditEvent) -> None:
        """See ``Plane``; a terminal event takes the session off the table."""
        if not event.is_terminal:
            await self._log.append(event)
            self.live.note(event)
            return
        async with self._turn(event.session):
            await self.endings.write(event)

    async def attach(self, worker: str, pid: int, sessions: tuple[LiveSession, ...]) -> AsyncIterator[Command]:
        """See ``Plane``; sessions this process does not know yet come onto the table, and those the trail has ended are ended."""
        _log.info("worker attached", worker=worker, pid=pid, sessions=len(sessions))
        over = tuple(one.session for one in sessions if self._log.holds(terminal_key(one.session)))
        for one in sessions:
            if one.session not in over and not self.live.get(one.session):
                self.live.add(one)
        kills = tuple(KillSession(session=session, reason="the audit trail has ended this session") for session in over)
        async for command in self.attachments.commands(worker, kills):
            yield command

    def kill(self, session: str, reason: str) -> bool:
        """Ask the session's worker to end it; False when there is no such session or its worker does not listen."""
        known = self.live.get(session)
        return known is not None and self.attachments.send(known.connection.worker, KillSession(session=session, reason=reason))

    def lose_worker(self, worker: str) -> None:
        """Begin no session for a worker that is dead, not even one that is half admitted."""
        self._lost.add(worker)

    def _turn(self, session: str) -> asyncio.Lock:
        # One call at a time for one session: its end must not overtake its beginning.
        turn = self._turns.get(session)
        if turn is None:
            turn = self._turns[session] = asyncio.Lock()
        return turn

    async def _admit(self, call: AdmitCall) -> Admission:
        target: Target | None = None
        try:
            target = await self._resolve(call)
            return await self._begin(call, target, self._decide(call, target))
        except BaseException as error:
            await self._conclude(session_events.not_begun(call, target, error))
            raise

    async def _resolve(self, call: AdmitCall) -> Target:
        name = parse_user_name(call.name).target
        if name is None:
            raise InvalidTarget("no target", notice="a name is missing: ssh TASK@GATEWAY or ssh LOGIN+TASK@GATEWAY")
        return await self._resolver.resolve(name, partial(self._policy.may_see, call.identity))

    def _decide(self, call: AdmitCall, target: Target) -> Allow:
        decision = self._policy.decide(call.identity, target, call.request, self._new_token())
        if isinstance(decision, Deny):
            raise AccessDenied(f"{call.request.kind} denied by {decision.rule or 'default: no rule matches'}")
        limit = decision.obligations.max_sessions
        if len(self.live) >= self._max_sessions:
            raise TooManySessions(f"{self._max_sessions} sessions, as many as [ssh] max_sessions allows")
        if limit and self.live.count(call.identity.login, decision.rule) >= limit:
            raise TooManySessions(f"{limit} sessions of one person, as {decision.rule} allows", notice=f"you have {limit} sessions already")
        return decision

    async def _begin(self, call: AdmitCall, target: Target, allow: Allow) -> Admission:
        kind, command = RequestKind(call.request.kind).value, call.request.command or ""
        admission = Admission(session=call.session, target=target, allow=allow, kind=kind, command=command)
        self.live.add(
            LiveSession(session=call.session, identity=call.identity, connection=call.connection, admission=admission, since=self._clock())
        )
        # In one go, so that both share one fsync.
        await asyncio.gather(*(self._log.append(event) for event in session_events.begun(call, target, allow)))
        if call.connection.worker in self._lost:
            raise Disconnected("the worker died meanwhile")
        return admission

    async def _conclude(self, event: AuditEvent) -> None:
        try:
            await self.endings.write(event)
        except AuditUnavailable as error:
            _log.error("a session's end waits for the audit trail", session=event.session, error=str(error))
