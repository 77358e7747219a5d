"""A transfer's files on the audit trail: several events under way at once, and none left behind when the session ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from octopus.core.files import FileFailure

Record = Callable[[str, str, dict[str, Any]], Awaitable[None]]
"""Writes an event of the session: its name, a key that tells it from the session's others, its data. Returns once durable."""

_T = TypeVar("_T")


class FileTrail:
    """The events of one session's files, at most ``max_under_way`` of them not yet durable.

    What is begun here goes on to its end although the session is cut off meanwhile: what was done is on the trail.
    """

    def __init__(self, record: Record, *, max_under_way: int = 256) -> None:
        self._record = record
        self._max_under_way = max_under_way
        self._under_way: set[asyncio.Task[Any]] = set()
        self._noted: set[asyncio.Task[Any]] = set()
        self._number = 0
        self._failure: Exception | None = None

    async def record(self, event: str, data: dict[str, Any]) -> None:
        """Return once the event is durable. Raise AuditUnavailable."""
        self._number += 1
        await self._record(event, f"file/{self._number}", data)

    async def note(self, event: str, data: dict[str, Any]) -> None:
        """Return once the event is under way: what its writer does before it first waits is done. Raise what kept an earlier one off."""
        while len(self._noted) >= self._max_under_way:
            await asyncio.wait(self._noted, return_when=asyncio.FIRST_COMPLETED)
        task = self._begin(self.record(event, data))
        self._noted.add(task)
        task.add_done_callback(self._noted.discard)
        await asyncio.sleep(0)
        self._check()

    async def finish(self, act: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Do something that has to be on the trail when it is done, to its end also when the caller is cancelled."""
        self._check()
        return await asyncio.shield(self._begin(act()))

    async def settle(self) -> None:
        """Wait until nothing is under way. Raise what kept an event from the trail."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        self._check()

    def _begin(self, act: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(act)
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception) and not isinstance(error, FileFailure):
            self._failure = self._failure or error

    def _check(self) -> None:
        if self._failure:
            raise self._failure
