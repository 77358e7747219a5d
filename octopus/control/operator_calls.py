"""What an operator on the gateway's own machine asks of it: each call stands on the audit trail before anything is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from octopus.control.live import LiveSessions
from octopus.control.plane import KillCall, ScaleCall
from octopus.control.session_events import target_fields
from octopus.core.errors import ControlUnavailable, InvalidRequest, NoSuchTarget, printable
from octopus.core.ports import AuditLog
from octopus.core.types import AuditEvent
from octopus.core.unique_actions import Action

Scale = Callable[[str, str], Awaitable[Action]]
"""Scales a UNIQUE app because an operator asks."""


class OperatorCalls:
    """Calls that come over the plane's socket, which only processes of the gateway's own user reach.

    ``kill`` asks a session's worker to end it and tells whether it listens; ``new_id`` gives random text. ``scale`` is None where
    there is no Marathon.
    """

    def __init__(
        self,
        *,
        log: AuditLog,
        live: LiveSessions,
        kill: Callable[[str, str], bool],
        new_id: Callable[[], str],
        scale: Scale | None = None,
    ) -> None:
        self._log = log
        self._live = live
        self._kill = kill
        self._new_id = new_id
        self._scale = scale

    async def scale(self, call: ScaleCall) -> Action:
        """Scale a UNIQUE app by the daemon's rules, which also puts it on the trail. Raise what the daemon raises."""
        if self._scale is None:
            raise InvalidRequest("no [marathon]", notice="there is no [marathon] to scale apps of")
        return await self._scale(call.app, call.operator)

    async def kill(self, call: KillCall) -> None:
        """End a session. Raise NoSuchTarget when it is not live, AuditUnavailable, ControlUnavailable when its worker does not listen."""
        known = self._live.get(call.session)
        if known is None:
            raise NoSuchTarget(f"no live session {printable(call.session)!r}", notice="no such session is live")
        reason = printable(call.reason) or "ended by an operator"
        event = AuditEvent(
            event="admin.kill",
            key=f"admin.kill/{self._new_id()}",
            session=call.session,
            login=known.identity.login,
            client=known.connection.client,
            target=target_fields(known.admission.target),
            data={"operator": printable(call.operator), "reason": reason},
        )
        await self._log.append(event)
        if not self._kill(call.session, reason):
            raise ControlUnavailable(f"the worker of {call.session} does not listen", notice="the session's worker does not listen")
