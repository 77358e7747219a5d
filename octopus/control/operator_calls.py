"""What an operator on the gateway's own machine asks of it: each call stands on the audit trail before anything is done."""

from __future__ import annotations

from collections.abc import Callable

from octopus.control.live import LiveSessions
from octopus.control.plane import KillCall
from octopus.control.session_events import target_fields
from octopus.core.errors import ControlUnavailable, NoSuchTarget, printable
from octopus.core.ports import AuditLog
from octopus.core.types import AuditEvent


class OperatorCalls:
    """Calls that come over the plane's socket, which only processes of the gateway's own user reach.

    ``kill`` asks a session's worker to end it and tells whether it listens; ``new_id`` gives random text.
    """

    def __init__(self, *, log: AuditLog, live: LiveSessions, kill: Callable[[str, str], bool], new_id: Callable[[], str]) -> None:
        self._log = log
        self._live = live
        self._kill = kill
        self._new_id = new_id

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
