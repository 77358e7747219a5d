"""Terminal events: each owed until it is durable, written now or as soon as the audit trail can be written again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from octopus.core.errors import AuditUnavailable
from octopus.core.ports import AuditLog
from octopus.core.types import AuditEvent

MAX_OWED = 20_000
"""Ends that may wait for the trail: those of the live sessions, and of refused ones while the disk is full."""


class Endings:
    """Writes terminal events; ``ended`` is told each session whose end is durable.

    Should this process end with one still owed, the session is open on the trail and the next start ends it.
    ``retry_interval`` in seconds.
    """

    def __init__(self, log: AuditLog, *, ended: Callable[[str], None], retry_interval: float = 1.0, max_owed: int = MAX_OWED) -> None:
        self._log = log
        self._ended = ended
        self._retry_interval = retry_interval
        self._max_owed = max_owed
        self._owed: dict[str, AuditEvent] = {}
        self._wake = asyncio.Event()

    async def write(self, event: AuditEvent) -> None:
        """Return once the event is durable. Raise AuditUnavailable when it has to wait; it is owed then.

        Raise ValueError for what can never be a line of the trail; that is not owed.
        """
        if len(self._owed) >= self._max_owed and event.session not in self._owed:
            raise AuditUnavailable(f"{self._max_owed} sessions' ends wait for the audit trail")
        self._owed.setdefault(event.session, event)
        try:
            await self._settle(event)
        except (AuditUnavailable, asyncio.CancelledError):
            self._wake.set()
            raise
        except BaseException:
            self._owed.pop(event.session, None)
            raise

    async def run(self) -> None:
        """Retry for ever what is owed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for event in list(self._owed.values()):
                with suppress(AuditUnavailable):
                    await self._settle(event)
            if self._owed:
                self._wake.set()
                await asyncio.sleep(self._retry_interval)

    async def _settle(self, event: AuditEvent) -> None:
        await self._log.append(event)
        self._owed.pop(event.session, None)
        self._ended(event.session)
