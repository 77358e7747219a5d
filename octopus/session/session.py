"""One session from its admission to its one terminal event: the straight line.

admitted → recorder open → command started → on the record as started → pumped → exit status → reaped → on the record as over.
A transfer of files has its protocol served in place of a command, a log is shown in place of a command's output.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import msgspec
import structlog

from octopus.control.plane import Admission, LiveSession, Plane
from octopus.core import container_log
from octopus.core.container_log import LogQuery, LogsBackend
from octopus.core.errors import Disconnected, OctopusError, RecordingUnavailable, SessionEnded, printable
from octopus.core.ports import ExecBackend, ExecStream, FilesBackend
from octopus.core.types import TRANSFERS, Connection, Exit, Identity, RequestKind, SessionRequest
from octopus.session.log_view import INTERRUPTED, LogView
from octopus.session.marks import Marks
from octopus.session.recorder import NO_TERMINAL, Beginning, Recording, Recordings, SessionRecorder, Unrecorded
from octopus.session.relay import Relay
from octopus.session.session_trail import SessionTrail
from octopus.session.ssh_channel import ClientChannel
from octopus.session.transfer import Transfer

_log = structlog.get_logger(__name__)


class Backend(ExecBackend, FilesBackend, LogsBackend, Protocol):
    """Starts commands in containers, reaches their files and reads their logs."""


class Session:
    """A session on a client's channel. ``idle_timeout`` (seconds, 0 for none) holds where the rule sets none; ``patience``
    is how long a last line may take to a client that does not read. ``clock`` gives seconds since 1970."""

    def __init__(
        self,
        session: str,
        channel: ClientChannel,
        *,
        plane: Plane,
        backend: Backend,
        recordings: Recordings,
        identity: Identity,
        connection: Connection,
        clock: Callable[[], float],
        marks: Marks,
        idle_timeout: float = 0.0,
        patience: float = 5.0,
    ) -> None:
        self.id = session
        self._trail = SessionTrail(session, plane=plane, identity=identity, connection=connection, clock=clock, marks=marks)
        self.traffic = self._trail.traffic
        self._channel = channel
        self._plane = plane
        self._backend = backend
        self._recordings = recordings
        self._identity = identity
        self._connection = connection
        self._marks = marks
        self._clock = clock
        self._idle_timeout = idle_timeout
        self._patience = patience
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._exit: Exit | None = None

    @property
    def live(self) -> LiveSession | None:
        """The session as the control plane knows it, from its admission until its end is on the record."""
        return self._trail.live

    def end(self, reason: str) -> None:
        """Have the session end soon; the person and the audit trail are told why."""
        if not self._ended.done():
            self._ended.set_result(printable(reason))

    async def run(self, name: str, request: SessionRequest) -> None:
        """Enter ``name``. How it ended is told here; raise what kept it from being admitted or started, or cut it off."""
        admission = await self._trail.admit(name, request)
        recorder: SessionRecorder = Unrecorded()
        why = "the session's worker was stopped"
        try:
            recorder = await self._recorder(admission, request)
            await self._serve(admission, request, recorder)
            why = ""
        except OctopusError as error:
            why = str(error)
            # Told now: its end may have to wait for room on the disk, a person must not.
            await self._tell(error)
            raise
        except Exception:
            why = "internal error"
            raise
        finally:
            await self._conclude(recorder, why)

    async def _recorder(self, admission: Admission, request: SessionRequest) -> SessionRecorder:
        pty, limit = admission.allow.spec.pty, admission.allow.obligations.record_output
        title = f"{admission.target.app} {admission.target.task}"
        if pty:
            return await self._recordings.open(self.id, pty, title=title)
        if limit and request.kind not in TRANSFERS:
            return Beginning(await self._recordings.open(self.id, NO_TERMINAL, title=title), limit)
        return Unrecorded()

    async def _serve(self, admission: Admission, request: SessionRequest, recorder: SessionRecorder) -> None:
        if request.kind in TRANSFERS:
            await self._transfer(admission, request)
        elif request.kind is RequestKind.LOGS:
            await self._show_log(admission, container_log.read(request.command or ""), recorder)
        else:
            async with self._backend.start(admission.target, admission.allow.spec) as stream:
                await self._relay(admission, stream, recorder)

    async def _show_log(self, admission: Admission, query: LogQuery, recorder: SessionRecorder) -> None:
        async with self._backend.logs(admission.target, query) as log:
            try:
                await self._relay(admission, LogView(log, terminal=self._channel.pty is not None), recorder)
            except Disconnected:  # ^C ends a client without a terminal: so one leaves
                self._exit = Exit(status=INTERRUPTED)

    async def _relay(self, admission: Admission, stream: ExecStream, recorder: SessionRecorder) -> None:
        obligations = admission.allow.obligations
        await self._trail.started(admission.allow, stream.container)
        relay = Relay(
            self._channel,
            stream,
            recorder,
            self.traffic,
            record_input=obligations.record_input and admission.allow.spec.pty is not None,
            idle_timeout=obligations.idle_timeout or self._idle_timeout,
        )
        async with self._told():
            with self._marks.kept(self._connection.id, self.id, recorder):
                await relay.run(self._ended, self._leave)

    async def _transfer(self, admission: Admission, request: SessionRequest) -> None:
        allow = admission.allow
        async with self._backend.files(admission.target, allow.spec.user, allow.spec.token) as files:
            await self._trail.started(allow, files.container)
            transfer = Transfer(
                self._channel,
                request,
                files,
                allow.files,
                self._recordings.copies(self.id, allow.files.keep),
                self._trail.record,
                lambda notice: self._channel.say(line(self.id, notice)),
                self.traffic,
                client_version=self._connection.client_version,
                clock=self._clock,
                idle_timeout=allow.obligations.idle_timeout or self._idle_timeout,
            )
            async with self._told():
                await transfer.run(self._ended, self._leave_transfer)

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Tell why the session ends from this side before the clean-up, which may take seconds."""
        try:
            yield
        except (RecordingUnavailable, SessionEnded) as error:
            await self._tell(error)
            raise

    async def _tell(self, error: OctopusError) -> None:
        await tell(self._channel, self.id, error.notice, error.exit_status, patience=self._patience)

    async def _leave(self, exit_: Exit) -> None:
        """Pass on how the command ended, with a word where its container ended too."""
        self._exit = exit_
        if exit_.container_gone:
            await self._channel.say(line(self.id, await self._obituary()))
        await self._channel.exit(exit_.status)

    async def _leave_transfer(self, exit_: Exit) -> None:
        """Pass on that all is done, to a client that may have closed the channel already."""
        with suppress(Disconnected):
            await self._leave(exit_)

    async def _obituary(self) -> str:
        live = self.live
        try:
            replacement = await self._plane.replacement(self._identity, live.admission.target) if live else ""
        except OctopusError as error:
            _log.info("replacement unknown", session=self.id, error=str(error))
            replacement = ""
        return "the container has ended" + (f"; its replacement is {printable(replacement)}" if replacement else "")

    async def _conclude(self, recorder: SessionRecorder, why: str) -> None:
        recording: Recording | None = None
        try:
            recording = await recorder.finish()
        except RecordingUnavailable as error:
            why = why or str(error)
        ended = {"exit_status": self._exit.status, "container_gone": self._exit.container_gone} if self._exit else {}
        recordings = [msgspec.to_builtins(recording)] if recording else []
        await self._trail.conclude(why, recordings, ended, failed=bool(why) or self._exit is None)


def line(session: str, notice: str) -> str:
    """Return the one line a person sees of a refusal or failure."""
    return f"octopus: {notice} [{session}]"


async def tell(channel: ClientChannel, session: str, notice: str, status: int, *, patience: float) -> None:
    """Say one line and end the channel with ``status``, once; a client that does not take it within ``patience`` seconds is cut off."""
    if channel.over:
        return
    try:
        async with asyncio.timeout(patience):
            await channel.say(line(session, notice))
            await channel.exit(status)
    except (TimeoutError, Disconnected):
        channel.abort()
