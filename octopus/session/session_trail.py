"""One session on the audit trail: what it was admitted to, what happens in it, and its one end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from octopus.control.plane import Admission, LiveSession, Plane
from octopus.core.errors import OctopusError, printable
from octopus.core.types import Allow, AuditEvent, Connection, Identity, SessionRequest, terminal_key
from octopus.session.marks import Marks
from octopus.session.relay import Traffic

_log = structlog.get_logger(__name__)


class SessionTrail:
    """``live`` is the session as the control plane knows it, from its admission until its end is on the record.

    ``traffic`` is what its end says of bytes; ``clock`` gives seconds since 1970, ``ticks`` those by which it is told how long it took:
    a clock may be set meanwhile.
    """

    def __init__(
        self,
        session: str,
        *,
        plane: Plane,
        identity: Identity,
        connection: Connection,
        clock: Callable[[], float],
        marks: Marks,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id = session
        self.live: LiveSession | None = None
        self.traffic = Traffic()
        self._plane = plane
        self._identity = identity
        self._connection = connection
        self._clock = clock
        self._ticks = ticks
        self._began = ticks()
        self._marks = marks

    async def admit(self, name: str, request: SessionRequest) -> Admission:
        """Be admitted to ``name``. Raise what ``Plane.admit`` does: the terminal event is taken care of then."""
        admission = await self._plane.admit(self.id, self._identity, self._connection, name, _in_text(request))
        self._began = self._ticks()
        self.live = LiveSession(
            session=self.id, identity=self._identity, connection=self._connection, admission=admission, since=self._clock()
        )
        return admission

    async def started(self, allow: Allow, container: str = "") -> None:
        """Return once it is on the record that the session has begun, and in which container. Raise AuditUnavailable."""
        if self.live:
            self.live = msgspec.structs.replace(self.live, container=container)
        await self.record("session.started", "started", {"rule": allow.rule, "run_as": allow.spec.user, "pty": allow.spec.pty is not None})

    async def record(self, event: str, key: str, data: dict[str, Any], container: str = "") -> None:
        """Return once an event of the session is durable; ``key`` is its own within the session. Raise AuditUnavailable."""
        await self._plane.record(self._event(event, f"{self.id}/{key}", data, container))
        await self._marks.note(self._connection.id, self.id, event, data)

    async def conclude(self, why: str, recordings: list[dict[str, Any]], more: dict[str, Any], *, failed: bool) -> None:
        """Write the one terminal event, ``why`` in it where it ``failed``; never raises for the trail's sake."""
        data: dict[str, Any] = {
            "bytes_in": self.traffic.inward,
            "bytes_out": self.traffic.outward,
            "seconds": round(self._ticks() - self._began, 3) if self.live else 0.0,
            "recordings": recordings,
        }
        data |= more | ({"reason": printable(why)} if failed else {})
        try:
            await self._plane.record(self._event("session.failed" if failed else "session.ended", terminal_key(self.id), data))
        except OctopusError as error:
            _log.error("a session's end is not on the record yet", session=self.id, error=str(error), **data)
        self.live = None

    def _event(self, event: str, key: str, data: dict[str, Any], container: str = "") -> AuditEvent:
        target: dict[str, str] = {}
        if live := self.live:
            at = live.admission.target
            target = {"app": at.app, "task": at.task, "agent": at.agent, "container": container or live.container or at.clue.engine_id}
        return AuditEvent(
            event=event, key=key, session=self.id, login=self._identity.login, client=self._connection.client, target=target, data=data
        )


def _in_text(request: SessionRequest) -> SessionRequest:
    r"""Return the request as it can be written down: each byte of an scp command that is no UTF-8 as ``\xNN``."""
    if request.command is None or request.command.isascii():
        return request
    raw = request.command.encode("utf-8", "surrogateescape")
    return msgspec.structs.replace(request, command=raw.decode("utf-8", "backslashreplace"))
