"""The audit trail: many waiters, one writer, one fsync for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import structlog

from octopus.control.audit_file import AuditFile
from octopus.control.audit_lines import MAX_KEYS, OpenSession, Trail, read_line, to_line
from octopus.core.errors import AuditUnavailable, printable
from octopus.core.types import AuditEvent

MAX_WAITING = 20_000
"""Events that may wait for the disk at once."""

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An event on its way to the disk; ``outcome`` holds None or why it could not be written."""

    event: AuditEvent
    time: float
    outcome: asyncio.Future[AuditUnavailable | None]


class FileAuditLog:
    """The ``AuditLog`` port over one file in ``directory``. ``clock`` gives seconds since 1970.

    Entering waits up to ``lock_timeout`` seconds for the lock: this is how a restart overlaps with the one before. Raise
    AuditUnavailable. A full or broken disk refuses events while it lasts, and needs no restart afterwards.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Callable[[], float],
        lock_timeout: float = 10.0,
        lock_interval: float = 0.05,
        max_waiting: int = MAX_WAITING,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self._file = AuditFile(directory)
        self._trail = Trail(max_keys)
        self._clock = clock
        self._lock_timeout = lock_timeout
        self._lock_interval = lock_interval
        self._max_waiting = max_waiting
        self._waiting: dict[str, _Waiting] = {}
        self._batch: list[_Waiting] = []
        self._work = asyncio.Event()
        self._closing = False
        self._stack = AsyncExitStack()
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._file.close)
            stack.callback(self._disk.shutdown)
            await self._lock()
            torn = await self._on_disk_thread(self._load)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.push_async_callback(self._finish, tasks.create_task(self._write()))
            await self._tell_of(torn)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    async def append(self, event: AuditEvent) -> None:
        """Return once the event is durable, or was so already by its key. Raise AuditUnavailable."""
        key = event.once
        if key in self._trail:
            return
        waiting = self._waiting.get(key) or self._enqueue(key, event)
        # Shielded: that one caller leaves is no reason not to write.
        problem = await asyncio.shield(waiting.outcome)
        if problem is not None:
            _log.error("audit trail cannot be written", audit_event=event.event, session=event.session, error=str(problem))
            raise AuditUnavailable(str(problem)) from problem

    def holds(self, key: str) -> bool:
        """Tell whether an event of this key is durable."""
        return key in self._trail

    def open_sessions(self) -> tuple[OpenSession, ...]:
        """Return the sessions that were requested and have no terminal event."""
        return tuple(self._trail.open_sessions.values())

    def _enqueue(self, key: str, event: AuditEvent) -> _Waiting:
        if self._closing or len(self._waiting) >= self._max_waiting:
            raise AuditUnavailable("the audit trail is closed" if self._closing else f"{self._max_waiting} events wait for the disk")
        time = self._clock()
        to_line(0, time, event)  # What cannot be a line fails here, its caller alone.
        waiting = _Waiting(event, time, asyncio.get_running_loop().create_future())
        self._waiting[key] = waiting
        self._batch.append(waiting)
        self._work.set()
        return waiting

    async def _write(self) -> None:
        while self._batch or not self._closing:
            await self._work.wait()
            self._work.clear()
            batch, self._batch = self._batch, []
            if batch:
                self._settle(batch, *await self._write_batch(batch))

    async def _write_batch(self, batch: list[_Waiting]) -> tuple[list[bytes], AuditUnavailable | None]:
        lines = [to_line(seq, one.time, one.event) for seq, one in enumerate(batch, self._trail.seq + 1)]
        try:
            await self._on_disk_thread(partial(self._file.append, b"".join(lines)))
        except AuditUnavailable as error:
            return [], error
        return lines, None

    def _settle(self, batch: list[_Waiting], lines: list[bytes], problem: AuditUnavailable | None) -> None:
        for line in lines:
            self._trail.take(read_line(line))
        for one in batch:
            del self._waiting[one.event.once]
            one.outcome.set_result(problem)

    async def _lock(self) -> None:
        try:
            async with asyncio.timeout(self._lock_timeout):
                while not await self._on_disk_thread(self._file.try_lock):  # noqa: ASYNC110 (flock has no event; blocking could not be given up)
                    await asyncio.sleep(self._lock_interval)
        except TimeoutError as error:
            message = f"another process writes {self._file.path} and did not let go within {self._lock_timeout:g} s"
            raise AuditUnavailable(message) from error

    def _load(self) -> bytes:
        torn = self._file.open()
        self._trail.read(self._file.lines())
        return torn

    async def _tell_of(self, torn: bytes) -> None:
        if self._trail.unreadable:
            _log.error("lines of the audit trail cannot be read", lines=self._trail.unreadable, path=str(self._file.path))
        if torn:
            excerpt = printable(torn.decode("utf-8", "replace"))
            _log.warning("cut a torn last line off the audit trail", bytes=len(torn), excerpt=excerpt)
            data = {"bytes": len(torn), "excerpt": excerpt}
            await self.append(AuditEvent(event="audit.repaired", key=f"repaired/{self._trail.seq}", data=data))

    async def _finish(self, writer: asyncio.Task[None]) -> None:
        self._closing = True
        self._work.set()
        await asyncio.wait([writer])

    async def _on_disk_thread(self, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._disk, call)
