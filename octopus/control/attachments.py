"""The commands on their way to session workers: one bounded queue for each that is attached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from octopus.control.plane import Attached, Command, KillSession, StopWorker

MAX_COMMANDS = 10_000
"""Commands that may wait for one worker."""


class Attachments:
    """Which workers are attached; a worker that attaches again takes the place of its older stream."""

    def __init__(self, *, max_commands: int = MAX_COMMANDS) -> None:
        self._max_commands = max_commands
        self._queues: dict[str, asyncio.Queue[Command | None]] = {}
        self._stop: StopWorker | None = None
        self._closed = False

    async def commands(self, worker: str, first: tuple[KillSession, ...] = ()) -> AsyncIterator[Command]:
        """Yield ``Attached``, then ``first``, then what is sent to the worker until another stream or ``close`` ends this one."""
        if self._closed:
            return
        # One place more than commands may take: the end always fits.
        queue: asyncio.Queue[Command | None] = asyncio.Queue(self._max_commands + 1)
        waiting: list[Command] = [*first, *([self._stop] if self._stop else [])]
        _end(self._queues.pop(worker, None))
        self._queues[worker] = queue
        try:
            yield Attached()
            for command in waiting:
                yield command
            while sent := await queue.get():
                yield sent
        finally:
            if self._queues.get(worker) is queue:
                del self._queues[worker]

    def send(self, worker: str, command: KillSession | StopWorker) -> bool:
        """Send a command; False when the worker is not attached or takes no more."""
        queue = self._queues.get(worker)
        if queue is None or queue.qsize() >= self._max_commands:
            return False
        queue.put_nowait(command)
        return True

    def stop_all(self, command: StopWorker) -> None:
        """Stop every attached worker, and each that attaches from now on."""
        self._stop = command
        for worker in self._queues:
            self.send(worker, command)

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        for queue in self._queues.values():
            _end(queue)


def _end(queue: asyncio.Queue[Command | None] | None) -> None:
    if queue is not None and not queue.full():
        queue.put_nowait(None)
