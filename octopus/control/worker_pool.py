"""The session workers: as many as asked for, more while bulk data fills them, each replaced when it dies or drains."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from octopus.control.placing import BULK_RATE, ConnectionLimits, WorkerLoad, choose
from octopus.control.plane import Authenticated, Closed, FromWorker, KnownAs, Serve, Start
from octopus.control.worker_process import WorkerProcess

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerPlan:
    """``count`` workers, and as many as ``max_workers`` (0 for four times as many) while those move more than ``bulk_rate`` bytes a
    second. Each is started by ``command``, with no more environment than ``environment``. One that lived less than ``min_life``
    seconds is replaced after ``first_delay``, doubled each time up to ``max_delay``."""

    command: Sequence[str]
    count: int
    environment: Mapping[str, str] = field(default_factory=dict)
    max_workers: int = 0
    bulk_rate: float = BULK_RATE
    min_life: float = 5.0
    first_delay: float = 0.5
    max_delay: float = 30.0


class WorkerPool:
    """Keeps the workers of a plan. ``start`` makes the first message of a worker with a new id; ``lost`` settles what an ended worker
    leaves."""

    def __init__(
        self,
        plan: WorkerPlan,
        *,
        start: Callable[[], Start],
        lost: Callable[[str], Coroutine[None, None, None]],
        limits: ConnectionLimits,
    ) -> None:
        self._plan = plan
        self._start = start
        self._lost = lost
        self._limits = limits
        self._workers: dict[str, WorkerProcess] = {}
        self._extra: set[WorkerProcess] = set()
        self._silent: set[str] = set()
        self._stopping = asyncio.Event()
        self._tasks = asyncio.TaskGroup()

    async def run(self) -> None:
        """Keep the workers until ``stop``, then return when all have ended and are settled."""
        async with self._tasks as tasks:
            for _ in range(self._plan.count):
                tasks.create_task(self._keep())

    def pids(self) -> dict[str, int]:
        """Return the process id of each worker."""
        return {worker: process.pid for worker, process in self._workers.items()}

    def loads(self) -> tuple[WorkerLoad, ...]:
        """Return what each worker is busy with."""
        return tuple(process.load for process in self._workers.values())

    def give(self, number: int, client: str, connection: socket.socket) -> bool:
        """Hand a connection to the worker that suits; False when none takes it."""
        takers = {worker: process for worker, process in self._workers.items() if not process.leaving.is_set()}
        room = (self._plan.max_workers or 4 * self._plan.count) if takers and not self._stopping.is_set() else 0
        while takers:
            loads = [one.load for one in takers.values()]
            self._note_silence(loads)
            chosen = choose(loads, max_workers=room, bulk_rate=self._plan.bulk_rate)
            process = takers.pop(chosen) if chosen is not None else self._begin_extra()
            room = 0  # One that refuses is no reason to start others on top.
            if process.give(Serve(number=number, client=client), connection):
                return True
        return False

    def stop(self) -> None:
        """Replace none any more, and let each end with its last connection."""
        self._stopping.set()
        for process in self._workers.values():
            process.drain()

    def kill(self) -> None:
        """End all at once."""
        for process in self._workers.values():
            process.kill()

    def release(self) -> None:
        """Leave the workers on their own, and replace none: the idle ones end at once."""
        self._stopping.set()
        for process in self._workers.values():
            process.release()

    def _note_silence(self, loads: Sequence[WorkerLoad]) -> None:
        """Log whose silence began or ended since the last connection."""
        for load in loads:
            if load.silent and load.worker not in self._silent:
                self._silent.add(load.worker)
                _log.error("a worker does not answer: others get the connections", worker=load.worker, connections=load.connections)
            elif not load.silent and load.worker in self._silent:
                self._silent.discard(load.worker)
                _log.info("a worker answers again", worker=load.worker)

    def _begin_extra(self) -> WorkerProcess:
        process = self._begin()
        self._extra.add(process)
        _log.info("started one more worker beside bulk data", worker=process.worker)
        return process

    async def _keep(self) -> None:
        delay = self._plan.first_delay
        while not self._stopping.is_set():
            started = asyncio.get_running_loop().time()
            try:
                await self._begin().leaving.wait()
            except OSError as error:
                _log.error("cannot start a worker", error=str(error))
            if asyncio.get_running_loop().time() - started >= self._plan.min_life:
                delay = self._plan.first_delay
                continue
            await self._pause(delay)
            delay = min(delay * 2, self._plan.max_delay)

    def _begin(self) -> WorkerProcess:
        process = WorkerProcess(self._plan.command, self._plan.environment, self._start(), self._hear)
        self._workers[process.worker] = process
        self._tasks.create_task(self._see_out(process))
        return process

    async def _see_out(self, process: WorkerProcess) -> None:
        status = await process.wait()
        del self._workers[process.worker]
        self._extra.discard(process)
        self._silent.discard(process.worker)
        for number in process.connections:
            self._limits.closed(number)
        say = _log.info if status == 0 else _log.error
        say("worker ended", worker=process.worker, status=status, connections=len(process.connections))
        self._tasks.create_task(self._lost(process.worker))

    async def _pause(self, delay: float) -> None:
        try:
            async with asyncio.timeout(delay):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _hear(self, process: WorkerProcess, message: FromWorker) -> None:
        if isinstance(message, KnownAs):
            if not self._limits.named(message.number, message.client.rpartition(":")[0].strip("[]")):
                _log.warning("a connection too many was closed", client=message.client)
                process.cut(message.number)
        elif isinstance(message, Authenticated):
            self._limits.authenticated(message.number)
        elif isinstance(message, Closed):
            process.connections.discard(message.number)
            self._limits.closed(message.number)
            if process in self._extra and not process.connections:
                process.drain()
