"""The worker's half of the plane: knows which sessions live here, and never loses the end of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import structlog

from octopus.control.plane import (
    Admission,
    AdmitCall,
    AttachCall,
    AuthAttempt,
    Candidate,
    CandidatesCall,
    Command,
    LiveSession,
    RecordsCall,
    ReplacementCall,
)
from octopus.core.errors import AuditUnavailable, BadUpstream, ControlUnavailable, OctopusError, printable
from octopus.core.failures import Failure, revive
from octopus.core.types import AuditEvent, Connection, Identity, SessionRequest, Target, terminal_key
from octopus.session import spool
from octopus.session.event_batches import EventBatches
from octopus.session.journal import Journal
from octopus.session.plane_calls import PlaneCalls

HAPPENED = ("file.uploaded", "file.downloaded", "file.listed")
"""What is told once it is done, of many files in a row, and not waited for: these events go together."""

_log = structlog.get_logger(__name__)


class PlaneClient:
    """The ``Plane`` as worker ``worker`` reaches it. On leaving, events nobody took are left in ``spool_directory``.

    Between a session's admission and its durable terminal event it is in ``live()``, by which a new supervisor learns of it.
    ``authenticated`` is told the client (``ip:port``) of each connection whose person is known. Seconds throughout.
    """

    def __init__(
        self,
        calls: PlaneCalls,
        *,
        worker: str,
        spool_directory: Path,
        clock: Callable[[], float],
        authenticated: Callable[[str], None] = lambda client: None,
        retry_interval: float = 0.5,
        journal: Journal | None = None,
    ) -> None:
        self._calls = calls
        self._worker = worker
        self._spool = spool_directory
        self._clock = clock
        self._authenticated = authenticated
        self._retry_interval = retry_interval
        self._live: dict[str, LiveSession] = {}
        self._owed: dict[str, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._tasks = asyncio.TaskGroup()
        self._journal = journal
        self._batches = EventBatches(self._record_all, self._tasks)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._journal:
                stack.callback(self._journal.close)
            await stack.enter_async_context(self._calls)
            await stack.enter_async_context(self._tasks)
            stack.push_async_callback(self._finish)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    def live(self) -> tuple[LiveSession, ...]:
        """Return the sessions admitted here whose end is not on the trail yet."""
        return tuple(self._live.values())

    async def quiet(self) -> None:
        """Wait until no session is live here."""
        await self._quiet.wait()

    async def authenticate(self, attempt: AuthAttempt) -> Identity:
        """See ``Plane``."""
        stamped = msgspec.structs.replace(attempt, connection=self._stamped(attempt.connection))
        identity = await self._calls.call("authenticate", stamped, Identity)
        self._authenticated(attempt.connection.client)
        return identity

    async def admit(self, session: str, identity: Identity, connection: Connection, name: str, request: SessionRequest) -> Admission:
        """See ``Plane``; where the answer is not known, the session has its terminal event from here."""
        connection = self._stamped(connection)
        call = AdmitCall(session=session, identity=identity, connection=connection, name=name, request=request)
        try:
            admission = await self._calls.call("admit", call, Admission)
        except (ControlUnavailable, BadUpstream, asyncio.CancelledError) as error:
            self._owe(_never_begun(call, error))
            raise
        self._quiet.clear()
        self._live[session] = LiveSession(
            session=session, identity=identity, connection=connection, admission=admission, since=self._clock()
        )
        return admission

    async def candidates(self, identity: Identity, name: str = "", limit: int = 1000) -> tuple[Candidate, ...]:
        """See ``Plane``."""
        return await self._calls.call("candidates", CandidatesCall(identity=identity, name=name, limit=limit), tuple[Candidate, ...])

    async def replacement(self, identity: Identity, target: Target) -> str:
        """See ``Plane``."""
        return await self._calls.call("replacement", ReplacementCall(identity=identity, target=target), str)

    async def record(self, event: AuditEvent) -> None:
        """Return once the event is durable, however long the control plane is away.

        AuditUnavailable is raised at once, but for a terminal event, which is owed and waited for whatever happens.
        """
        if event.is_terminal:
            await asyncio.shield(self._owe(event))
            return
        if event.event in HAPPENED:
            await self._keep(event)
            return
        await self._hand_over(event)
        self._note(event)

    async def attach(self, worker: str, pid: int, sessions: tuple[LiveSession, ...]) -> AsyncIterator[Command]:
        """See ``Plane``; one stream, until it breaks."""
        async for command in self._calls.stream(AttachCall(worker=worker, pid=pid, sessions=sessions)):
            yield command

    async def commands(self, pid: int) -> AsyncIterator[Command]:
        """Yield commands for ever, attaching anew whenever the stream breaks."""
        while True:
            try:
                async for command in self.attach(self._worker, pid, self.live()):
                    yield command
            except OctopusError as error:
                _log.debug("not attached", worker=self._worker, error=str(error))
            await asyncio.sleep(self._retry_interval)

    def _stamped(self, connection: Connection) -> Connection:
        return msgspec.structs.replace(connection, worker=self._worker)

    def _note(self, event: AuditEvent) -> None:
        known, container = self._live.get(event.session), event.target.get("container", "")
        if known and container and not known.container:
            self._live[event.session] = msgspec.structs.replace(known, container=container)

    def _owe(self, event: AuditEvent) -> asyncio.Task[None]:
        if event.session not in self._owed:
            self._owed[event.session] = self._tasks.create_task(self._pay(event))
        return self._owed[event.session]

    async def _pay(self, event: AuditEvent) -> None:
        try:
            await self._hand_over(event)
        except OctopusError as error:
            _log.error("a terminal event cannot be written as it is", session=event.session, error=str(error))
            await self._hand_over(_bare(event), whatever=True)
        finally:
            self._live.pop(event.session, None)
            self._owed.pop(event.session, None)
            if not self._live:
                self._quiet.set()

    async def _keep(self, event: AuditEvent) -> None:
        """Hand over what has happened already: from the first step of this on it is known, even if this process is killed."""
        turn = self._journal.add(event) if self._journal else -1
        try:
            await self._hand_over(event)
        finally:
            if self._journal:
                self._journal.settled(turn)

    async def _record_all(self, events: tuple[AuditEvent, ...]) -> list[OctopusError | None]:
        answer = tuple[Failure | None, ...]
        return [revive(one) if one else None for one in await self._calls.call("records", RecordsCall(events=events), answer, patience=0)]

    async def _hand_over(self, event: AuditEvent, *, whatever: bool = False) -> None:
        """Return once it is durable. ``whatever`` is answered it is tried again: a bug over there must not end all who are in here."""
        while True:
            try:
                if event.event in HAPPENED:
                    return await self._batches.record(event)
                return await self._calls.call("record", event, type(None), patience=0)
            except AuditUnavailable:
                if not event.is_terminal:
                    raise
            except ControlUnavailable as error:
                _log.debug("an event waits for the control plane", audit_event=event.event, error=str(error))
            except OctopusError:
                if not whatever:
                    raise
            if self._closing.is_set():
                return await self._leave(event)
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._retry_interval):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _leave(self, event: AuditEvent) -> None:
        try:
            await asyncio.to_thread(spool.leave, self._spool, self._worker, event)
        except OSError as error:
            _log.error("an event is lost: it can be neither recorded nor spooled", session=event.session, error=str(error))

    async def _finish(self) -> None:
        self._closing.set()
        if self._owed:
            await asyncio.wait(self._owed.values())


def _never_begun(call: AdmitCall, error: BaseException) -> AuditEvent:
    reason = printable(str(error)) if isinstance(error, OctopusError) else "the client left"
    return _ended(call.session, call.identity.login, call.connection.client, {}, reason)


def _bare(event: AuditEvent) -> AuditEvent:
    """Return an end that can be written, for one that cannot: an event of ours is malformed, which is a bug."""
    return _ended(event.session, event.login, event.client, event.target, "internal error")


def _ended(session: str, login: str, client: str, target: dict[str, str], reason: str) -> AuditEvent:
    return AuditEvent(
        event="session.failed",
        key=terminal_key(session),
        session=session,
        login=login,
        client=client,
        target=target,
        data={"reason": reason},
    )
