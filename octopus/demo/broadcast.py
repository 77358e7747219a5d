"""One writer, many readers, each with a bounded backlog."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable


class Broadcast:
    """Hands each event to every subscriber; one that falls ``backlog`` events behind is cut off, as Mesos and Marathon do."""

    def __init__(self, backlog: int = 20_000) -> None:
        self._backlog = backlog
        self._queues: set[asyncio.Queue[bytes | None]] = set()

    @property
    def subscribers(self) -> int:
        """How many listen now."""
        return len(self._queues)

    def publish(self, event: Callable[[], bytes]) -> None:
        """Send what ``event`` returns; it is called once, and only when somebody listens."""
        if not self._queues:
            return
        data = event()
        for queue in list(self._queues):
            if queue.qsize() >= self._backlog:
                self._cut(queue)
            else:
                queue.put_nowait(data)

    def close_all(self) -> None:
        """End every stream."""
        for queue in list(self._queues):
            self._cut(queue)

    def _cut(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._queues.discard(queue)
        queue.put_nowait(None)

    async def stream(self, first: bytes, idle: float, filler: bytes) -> AsyncIterator[bytes]:
        """Yield ``first``, then events as they come, and ``filler`` once at the start and after ``idle`` seconds of silence (0: never)."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield first
            if idle:
                yield filler
            while True:
                try:
                    async with asyncio.timeout(idle or None):
                        event = await queue.get()
                except TimeoutError:
                    yield filler
                    continue
                if event is None:
                    return
                yield event
        finally:
            self._queues.discard(queue)
