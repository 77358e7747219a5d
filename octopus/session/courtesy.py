"""Whoever types goes first: while somebody does, bulk data of the same worker leaves it room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

BULK = 4096
"""Bytes at once that nobody types or reads: from here on it is bulk data."""
_WORTH_IT = 0.001
"""Seconds below which no wait is begun: an event loop's clock has no finer ones."""


class Courtesy:
    """Shared by all sessions of a worker. Seconds throughout.

    The kernel lets a process run at once that has used less than its share of the processor, and makes wait what always wants
    more. So for ``memory`` after a keystroke bulk data may take the process ``share`` of the time, and not all there is.
    ``clock`` only goes on; ``processor`` is what the process has used of it.
    """

    def __init__(
        self,
        *,
        share: float = 0.5,
        memory: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.process_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._share = share
        self._memory = memory
        self._clock = clock
        self._processor = processor
        self._sleep = sleep
        self._typed = clock() - memory
        self._since = clock()
        self._used = processor()

    def typed(self) -> None:
        """Note that somebody types."""
        self._typed = self._clock()

    async def turn(self, size: int) -> None:
        """Wait, before so many bytes are moved on, until they may be."""
        if size >= BULK:
            while (wait := self._due()) >= _WORTH_IT:
                await self._sleep(wait)

    def _due(self) -> float:
        now, used = self._clock(), self._processor()
        due = self._since + (used - self._used) / self._share
        if now - self._typed >= self._memory or due <= now:
            self._since, self._used = now, used
            return 0.0
        return due - now
