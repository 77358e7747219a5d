"""Whoever types goes first: while somebody does, bulk data of the same worker leaves it room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

BULK = 4096
"""Bytes at once that nobody types or reads: from here on it is bulk data."""
_LONGEST = 0.25
"""Seconds after which a wait is thought over: meanwhile nobody may type any more."""
_WORTH_IT = 0.001
"""Seconds below which no wait is begun: an event loop's clock has no finer ones."""


class Courtesy:
    """Shared by all sessions of a worker. Seconds throughout.

    The kernel lets a process run at once that wants less than its share of the processor, and makes wait what always wants
    more. So for ``memory`` after a keystroke bulk data may have the process want it for ``share`` of the time, and not for all
    there is. ``clock`` only goes on; ``wanted`` is how long the processor was used or waited for.
    """

    def __init__(
        self,
        *,
        share: float = 0.33,
        memory: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        wanted: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._share = share
        self._memory = memory
        self._clock = clock
        self._wanted = wanted or processor_wanted
        self._sleep = sleep
        self._typed = clock() - memory
        self._since = 0.0
        self._before = 0.0

    def typed(self) -> None:
        """Note that somebody types."""
        now = self._clock()
        if now - self._typed >= self._memory:
            self._since, self._before = now, self._wanted()
        self._typed = now

    async def turn(self, size: int) -> None:
        """Wait, before so many bytes are moved on, until they may be."""
        if size >= BULK:
            while (wait := self._due()) >= _WORTH_IT:
                await self._sleep(wait)

    def _due(self) -> float:
        now = self._clock()
        if now - self._typed >= self._memory:
            return 0.0
        wanted = self._wanted()
        due = self._since + (wanted - self._before) / self._share
        if due <= now:
            self._since, self._before = now, wanted
        return min(due - now, _LONGEST)


def processor_wanted() -> float:
    """Return the seconds this thread has run, and waited for a processor while it could (proc(5), schedstat)."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            run, waited = file.read(100).split()[:2]
    except (OSError, ValueError):  # a kernel that keeps no such figures
        return time.process_time()
    return (int(run) + int(waited)) / 1e9
