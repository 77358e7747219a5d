"""What ends a session from this side: an operator, too long a silence, or a client that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from octopus.core.errors import Disconnected, OctopusError, SessionEnded
from octopus.session.durations import spoken


class Watch:
    """Watches one session. ``idle_timeout`` in seconds without ``moved``, 0 for none; ``now`` is a clock that only goes on."""

    def __init__(self, *, idle_timeout: float = 0.0, now: Callable[[], float] | None = None) -> None:
        self._idle_timeout = idle_timeout
        self._now = now or asyncio.get_running_loop().time
        self._last = self._now()

    def moved(self) -> None:
        """Note that something passed."""
        self._last = self._now()

    async def run(self, ended: asyncio.Future[str], gone: asyncio.Event | None = None) -> None:
        """Raise SessionEnded when idle or when ``ended`` holds a reason, Disconnected when ``gone``; return never."""
        left: asyncio.Future[Any] = asyncio.ensure_future((gone or asyncio.Event()).wait())
        try:
            while not (ended.done() or left.done()):
                await asyncio.wait([left, ended], timeout=self._rest(), return_when=asyncio.FIRST_COMPLETED)
                if self._rest() == 0:
                    raise SessionEnded("idle", notice=f"idle for {spoken(self._idle_timeout)}, closed")
        finally:
            left.cancel()
        if ended.done():
            raise SessionEnded(f"ended: {ended.result()}", notice=f"this session was ended: {ended.result()}")
        raise Disconnected("the client is gone")

    def _rest(self) -> float | None:
        """Return the seconds until the session counts as idle, None when it never does."""
        return max(0.0, self._last + self._idle_timeout - self._now()) if self._idle_timeout else None


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks in a group that raises one error, a bug's before ours, instead of all of them."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        raise next((error for error in errors if not isinstance(error, OctopusError)), errors[0]) from group


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [leaf for error in group.exceptions for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])]
