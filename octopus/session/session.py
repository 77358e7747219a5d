"""One session from its admission to its one terminal event: the straight line.

admitted → recorder open → command started → on the record as started → pumped → exit status → reaped → on the record as over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from octopus.control.plane import Admission, LiveSession, Plane
from octopus.core.errors import Disconnected, OctopusError, RecordingUnavailable, SessionEnded, printable
from octopus.core.ports import ExecBackend, ExecStream
from octopus.core.types import AuditEvent, Connection, Exit, Identity, SessionRequest, terminal_key
from octopus.session.recorder import Recording, Recordings, SessionRecorder, Unrecorded
from octopus.session.relay import Relay, Traffic
from octopus.session.ssh_channel import ClientChannel

_log = structlog.get_logger(__name__)


class Session:
    """A session on a client's channel. ``idle_timeout`` (seconds, 0 for none) holds where the rule sets none; ``patience``
    is how long a last line may take to a client that does not read. ``clock`` gives seconds since 1970."""

    def __init__(
        self,
        session: str,
        channel: ClientChannel,
        *,
        plane: Plane,
        backend: ExecBackend,
        recordings: Recordings,
        identity: Identity,
        connection: Connection,
        clock: Callable[[], float],
        idle_timeout: float = 0.0,
        patience: float = 5.0,
    ) -> None:
        self.id = session
        self.traffic = Traffic()
        self._channel = channel
        self._plane = plane
        self._backend = backend
        self._recordings = recordings
        self._identity = identity
        self._connection = connection
        self._clock = clock
        self._idle_timeout = idle_timeout
        self._patience = patience
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._live: LiveSession | None = None
        self._exit: Exit | None = None

    @property
    def live(self) -> LiveSession | None:
        """The session as the control plane knows it, from its admission until its end is on the record."""
        return self._live

    def end(self, reason: str) -> None:
        """Have the session end soon; the person and the audit trail are told why."""
        if not self._ended.done():
            self._ended.set_result(printable(reason))

    async def run(self, name: str, request: SessionRequest) -> None:
        """Enter ``name``. The command's own end is told here; raise what kept it from starting or cut it off, for the caller to tell."""
        admission = await self._plane.admit(self.id, self._identity, self._connection, name, request)
        self._live = LiveSession(
            session=self.id, identity=self._identity, connection=self._connection, admission=admission, since=self._clock()
        )
        recorder: SessionRecorder = Unrecorded()
        why = "the session's worker was stopped"
        try:
            recorder = await self._recorder(admission)
            await self._enter(admission, recorder)
            why = ""
        except OctopusError as error:
            why = str(error)
            raise
        except Exception:
            why = "internal error"
            raise
        finally:
            await self._conclude(recorder, why)

    async def _recorder(self, admission: Admission) -> SessionRecorder:
        pty = admission.allow.spec.pty
        if pty is None:
            return Unrecorded()
        return await self._recordings.open(self.id, pty, title=f"{admission.target.app} {admission.target.task}")

    async def _enter(self, admission: Admission, recorder: SessionRecorder) -> None:
        obligations = admission.allow.obligations
        async with self._backend.start(admission.target, admission.allow.spec) as stream:
            await self._started(stream, admission)
            relay = Relay(
                self._channel,
                stream,
                recorder,
                self.traffic,
                record_input=obligations.record_input,
                idle_timeout=obligations.idle_timeout or self._idle_timeout,
            )
            try:
                await relay.run(self._ended, self._leave)
            except (RecordingUnavailable, SessionEnded) as error:
                # Told before the clean-up, which may take seconds.
                await tell(self._channel, self.id, error.notice, error.exit_status, patience=self._patience)
                raise

    async def _started(self, stream: ExecStream, admission: Admission) -> None:
        if self._live:
            self._live = msgspec.structs.replace(self._live, container=stream.container)
        data = {"rule": admission.allow.rule, "run_as": admission.allow.spec.user, "pty": admission.allow.spec.pty is not None}
        await self._plane.record(self._event("session.started", f"{self.id}/started", data))

    async def _leave(self, exit_: Exit) -> None:
        """Pass on how the command ended, with a word where its container ended too."""
        self._exit = exit_
        if exit_.container_gone:
            await self._channel.say(line(self.id, await self._obituary()))
        await self._channel.exit(exit_.status)

    async def _obituary(self) -> str:
        live = self._live
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
        failed = bool(why) or self._exit is None
        data: dict[str, Any] = {
            "bytes_in": self.traffic.inward,
            "bytes_out": self.traffic.outward,
            "seconds": round(self._clock() - self._live.since, 3) if self._live else 0.0,
            "recordings": [msgspec.to_builtins(recording)] if recording else [],
        }
        data |= {"reason": printable(why)} if failed else {}
        data |= {"exit_status": self._exit.status, "container_gone": self._exit.container_gone} if self._exit else {}
        try:
            await self._plane.record(self._event("session.failed" if failed else "session.ended", terminal_key(self.id), data))
        except OctopusError as error:
            _log.error("a session's end is not on the record yet", session=self.id, error=str(error), **data)
        self._live = None

    def _event(self, event: str, key: str, data: dict[str, Any]) -> AuditEvent:
        target: dict[str, str] = {}
        if live := self._live:
            at = live.admission.target
            target = {"app": at.app, "task": at.task, "agent": at.agent, "container": live.container or at.clue.engine_id}
        return AuditEvent(
            event=event, key=key, session=self.id, login=self._identity.login, client=self._connection.client, target=target, data=data
        )


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
