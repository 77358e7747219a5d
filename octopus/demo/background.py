"""Work beside a long-lived object: its own task group in its own task, so that any task may close it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Runs coroutines until it is closed; an error in one of them ends all, and comes out of ``close``."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._ready = asyncio.Event()
        self._end = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._ready.set()
            await self._end.wait()
            for task in self._running:
                task.cancel()
        self._group = None

    async def open(self) -> None:
        """Begin; work can be given from then on."""
        self._task = asyncio.create_task(self._run(), name="background")
        await self._ready.wait()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a coroutine beside the others."""
        if self._group is None or self._end.is_set():
            work.close()
            return
        task = self._group.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Cancel what runs and wait for its end. Raise what went wrong in it."""
        self._end.set()
        if self._task is not None:
            await self._task
