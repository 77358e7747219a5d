"""The audit trail: many waiters, one writer, one fsync for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import structlog

from octopus.control.audit_file import AuditFile
from octopus.control.audit_ledger import CheckpointSigner, Ledger
from octopus.control.audit_lines import MAX_KEYS, OpenSession, Trail, fields_of
from octopus.core.chain import REPAIRED
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
    fields: bytes
    outcome: asyncio.Future[AuditUnavailable | None]


class FileAuditLog:
    """The ``AuditLog`` port over the files in ``directory``. ``clock`` gives seconds since 1970.

    Entering waits up to ``lock_timeout`` seconds for the lock: this is how a restart overlaps with the one before. Raise
    AuditUnavailable. A full, broken or missing disk refuses events while it lasts, and needs no restart afterwards; so does one that
    takes nothing for ``write_timeout`` seconds, though what waits for it is written when it goes on.

    Checkpoints, signed where there is a ``signer``, stand at the start, at the end, at the end of each file, after every
    ``checkpoint_lines`` and, where there is something new, every ``checkpoint_interval`` seconds. A file is finished with
    ``rotate_size`` bytes and, with ``rotate_daily``, after its day (UTC). ``written`` hears of each event that is durable.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Callable[[], float],
        signer: CheckpointSigner | None = None,
        checkpoint_lines: int = 1000,
        checkpoint_interval: float = 60.0,
        rotate_size: int = 64 << 20,
        rotate_daily: bool = True,
        lock_timeout: float = 10.0,
        lock_interval: float = 0.05,
        write_timeout: float = 20.0,
        max_waiting: int = MAX_WAITING,
        max_keys: int = MAX_KEYS,
        written: Callable[[AuditEvent], None] = lambda event: None,
    ) -> None:
        self.problem = ""
        """Why the trail cannot be written, as far as the last try showed; "" when it can."""
        self._file = AuditFile(directory)
        self._trail = Trail(max_keys)
        self._ledger = Ledger(
            self._trail, signer=signer, checkpoint_lines=checkpoint_lines, rotate_size=rotate_size, rotate_daily=rotate_daily
        )
        self._clock = clock
        self._checkpoint_interval = checkpoint_interval
        self._lock_timeout = lock_timeout
        self._lock_interval = lock_interval
        self._write_timeout = write_timeout
        self._max_waiting = max_waiting
        self._written = written
        self._waiting: dict[str, _Waiting] = {}
        self._batch: list[_Waiting] = []
        self._work = asyncio.Event()
        self._checkpoint_due = False
        self._head = b""
        self._closing = False
        self._stack = AsyncExitStack()
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._file.close)
            stack.callback(self._disk.shutdown)
            await self._lock()
            torn = await self._on_disk_thread(self._load)
            await self._begin(torn)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.push_async_callback(self._finish, tasks.create_task(self._write()), tasks.create_task(self._tick()))
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
        problem = await self._outcome(waiting)
        if problem is not None:
            _log.error("audit trail cannot be written", audit_event=event.event, session=event.session, error=str(problem))
            raise AuditUnavailable(str(problem)) from problem

    async def _outcome(self, waiting: _Waiting) -> AuditUnavailable | None:
        try:
            async with asyncio.timeout(self._write_timeout):
                # Shielded: that one caller leaves is no reason not to write.
                return await asyncio.shield(waiting.outcome)
        except TimeoutError:
            self.problem = f"the disk under {self._file.path} has taken nothing for {self._write_timeout:g} s"
            return AuditUnavailable(self.problem)

    def holds(self, key: str) -> bool:
        """Tell whether an event of this key is durable."""
        return key in self._trail

    def last(self) -> int:
        """Return the number of the last line that is durable; for any thread."""
        return self._trail.link.seq

    def open_sessions(self) -> tuple[OpenSession, ...]:
        """Return the sessions that were requested and have no terminal event."""
        return tuple(self._trail.open_sessions.values())

    def _enqueue(self, key: str, event: AuditEvent) -> _Waiting:
        if self._closing or len(self._waiting) >= self._max_waiting:
            raise AuditUnavailable("the audit trail is closed" if self._closing else f"{self._max_waiting} events wait for the disk")
        # What cannot be a line fails here, its caller alone.
        waiting = _Waiting(event, fields_of(self._clock(), event), asyncio.get_running_loop().create_future())
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
                problem = await self._try(self._write_batch(batch))
                for one in batch:
                    if problem is None:
                        self._written(one.event)
                    del self._waiting[one.event.once]
                    one.outcome.set_result(problem)
            if self._checkpoint_due:
                self._checkpoint_due = False
                await self._checkpoint("interval")
            await self._keep_head()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._checkpoint_interval)
            # In trouble too: that it is over shows by trying.
            self._checkpoint_due = bool(self._trail.since_checkpoint or self.problem)
            self._work.set()

    async def _write_batch(self, batch: Sequence[_Waiting]) -> None:
        now = self._clock()
        await self._turn_over(now)
        await self._append(self._ledger.lines([one.fields for one in batch], now))

    async def _turn_over(self, now: float) -> None:
        """Begin another file when it is time, or make up for what the last beginning still lacks."""
        if self._ledger.rotation_due(self._file.size, now):
            if self._trail.since_checkpoint:
                await self._append([self._ledger.checkpoint("rotation", now)])
            await self._on_disk_thread(partial(self._file.rotate, self._ledger.finished_name()))
            self._trail.begin_file(first=False)
        if self._trail.carry:
            await self._append(self._ledger.carried(now))

    async def _checkpoint(self, reason: str) -> None:
        await self._try(self._append([self._ledger.checkpoint(reason, self._clock())]))

    async def _append(self, lines: Sequence[bytes]) -> None:
        await self._on_disk_thread(partial(self._file.append, b"".join(lines)))
        for line in lines:
            self._trail.take(line)

    async def _try(self, writing: Coroutine[None, None, None]) -> AuditUnavailable | None:
        try:
            await writing
        except AuditUnavailable as error:
            self.problem = str(error)
            return error
        self.problem = ""
        return None

    async def _keep_head(self) -> None:
        # Behind the lines it speaks of; should it fail, it lags behind until the next.
        checkpoint = self._trail.checkpoint
        if checkpoint == self._head:
            return
        try:
            await self._on_disk_thread(partial(self._file.keep_head, checkpoint))
            self._head = checkpoint
        except AuditUnavailable as error:
            _log.error("the last checkpoint cannot be kept", error=str(error))

    async def _lock(self) -> None:
        try:
            async with asyncio.timeout(self._lock_timeout):
                while not await self._on_disk_thread(self._file.try_lock):  # noqa: ASYNC110 (flock has no event; blocking could not be given up)
                    await asyncio.sleep(self._lock_interval)
        except TimeoutError as error:
            message = f"another process writes {self._file.path} and did not let go within {self._lock_timeout:g} s"
            raise AuditUnavailable(message) from error

    def _load(self) -> bytes:
        """Read the current file and the one before: its keys, and what was open where the current one does not say so yet."""
        torn = self._file.open()
        before = self._file.last_finished()
        self._trail.begin_file(first=True)
        if before:
            self._trail.read(self._file.lines(before))
            self._trail.begin_file(first=False)
        self._trail.read(self._file.lines(self._file.path))
        return torn

    async def _begin(self, torn: bytes) -> None:
        """Tell of the start, before anybody else writes. Raise AuditUnavailable."""
        now = self._clock()
        if self._trail.unreadable:
            _log.error("lines of the audit trail cannot be read", lines=self._trail.unreadable, path=str(self._file.path))
        await self._turn_over(now)
        if torn:
            excerpt = printable(torn.decode("utf-8", "replace"))
            _log.warning("cut a torn last line off the audit trail", bytes=len(torn), excerpt=excerpt)
            data = {"bytes": len(torn), "excerpt": excerpt}
            event = AuditEvent(event=REPAIRED, key=f"repaired/{self._trail.link.seq}", data=data)
            await self._append(self._ledger.lines([fields_of(now, event)], now))
        await self._append([self._ledger.checkpoint("start", now)])
        await self._keep_head()

    async def _finish(self, writer: asyncio.Task[None], ticking: asyncio.Task[None]) -> None:
        ticking.cancel()
        self._closing = True
        self._work.set()
        await asyncio.wait([writer])
        await self._checkpoint("stop")
        await self._keep_head()

    async def _on_disk_thread(self, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._disk, call)
