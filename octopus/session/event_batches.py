"""Events that go to the control plane together: one call is under way at a time, and takes along all that came meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from octopus.core.errors import BadUpstream, OctopusError
from octopus.core.types import AuditEvent

Post = Callable[[tuple[AuditEvent, ...]], Awaitable[Sequence[OctopusError | None]]]
"""Hands over events; returns for each why it was refused, None where it is durable. Raise OctopusError: of none it is known then."""


class EventBatches:
    """Up to ``most`` events a call; ``tasks`` is where the calls live. What comes while one is under way, or soon after the other, goes
    together: a call begins when for ``lull`` seconds nothing came, and no later than ``pause`` seconds after the last one."""

    def __init__(self, post: Post, tasks: asyncio.TaskGroup, *, most: int = 256, lull: float = 0.03, pause: float = 0.15) -> None:
        self._post = post
        self._tasks = tasks
        self._most = most
        self._lull = lull
        self._pause = pause
        self._waiting: list[tuple[AuditEvent, asyncio.Future[None]]] = []
        self._running = False

    async def record(self, event: AuditEvent) -> None:
        """Return once the event is durable. Raise what kept it from that."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, done))
        if not self._running:
            self._running = True
            self._tasks.create_task(self._run(), name="events")
        await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                for (_, done), failure in zip(batch, await self._outcomes(batch), strict=True):
                    if not done.done():  # else whoever waited is gone
                        done.set_exception(failure) if failure else done.set_result(None)
                await self._gather()
        finally:
            self._running = False

    async def _gather(self) -> None:
        now = asyncio.get_running_loop().time
        end, seen = now() + self._pause, -1
        while seen < len(self._waiting) < self._most and (left := end - now()) > 0:
            seen = len(self._waiting)
            await asyncio.sleep(min(self._lull, left))

    async def _outcomes(self, batch: Sequence[tuple[AuditEvent, asyncio.Future[None]]]) -> Sequence[OctopusError | None]:
        try:
            outcomes = await self._post(tuple(event for event, _ in batch))
        except OctopusError as error:
            return [error] * len(batch)
        if len(outcomes) != len(batch):
            return [BadUpstream("control plane", "not an answer to each event")] * len(batch)
        return outcomes
