"""The supervisor: starts and stops the two planes, and gives each connection to a session worker."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog

from octopus.control.accepting import Accepting, Doors
from octopus.control.audit_log import FileAuditLog
from octopus.control.control_plane import ControlPlane
from octopus.control.lost_workers import LostWorkers, Reap
from octopus.control.operator_calls import OperatorCalls, Scale
from octopus.control.placing import ConnectionLimits, WorkerLoad
from octopus.control.plane import Start, StopWorker
from octopus.control.plane_server import PlaneServer
from octopus.control.worker_locks import WorkerLocks
from octopus.control.worker_pool import WorkerPlan, WorkerPool
from octopus.core.errors import AuditUnavailable
from octopus.core.types import AuditEvent

END_REASON = "the gateway is stopping"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Directories. ``runtime`` (0700) holds the plane's socket, the workers' locks and the live sessions: it has to outlive this
    process."""

    runtime: Path
    spool: Path
    recordings: Path

    @property
    def plane_socket(self) -> Path:
        """Where the plane's calls are served."""
        return self.runtime / "plane.sock"


class Supervisor:
    """Runs the control plane and its workers until told to stop.

    ``worker_settings`` is one JSON object for the workers to read. ``new_id`` gives random text of letters and digits.
    ``stop_timeout`` (seconds) bounds the ending of sessions. What runs ``beside`` begins when the audit trail is ours and is
    cancelled before it is let go. ``scale`` is for operators' calls.
    """

    def __init__(
        self,
        *,
        plane: ControlPlane,
        log: FileAuditLog,
        reap: Reap,
        places: Places,
        doors: Doors,
        limits: ConnectionLimits,
        workers: WorkerPlan,
        worker_settings: bytes,
        new_id: Callable[[], str],
        stop_timeout: float = 15.0,
        version: str = "",
        beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
        scale: Scale | None = None,
    ) -> None:
        self.plane = plane
        self._log = log
        self._places = places
        self._settings = msgspec.Raw(worker_settings)
        self._workers = workers
        self._new_id = new_id
        self._stop_timeout = stop_timeout
        self._version = version
        self._beside = tuple(beside)
        self._locks = WorkerLocks(places.runtime / "workers")
        operator = OperatorCalls(log=log, live=plane.live, kill=plane.kill, new_id=new_id, scale=scale)
        self._server = PlaneServer(plane, places.plane_socket, operator=operator)
        self._lost = LostWorkers(
            log=log,
            endings=plane.endings,
            live=plane.live,
            locks=self._locks,
            spool=places.spool,
            recordings=places.recordings,
            reap=reap,
            lose=plane.lose_worker,
        )
        self._pool = WorkerPool(workers, start=self._start_message, lost=self._lost.settle, limits=limits)
        self._accepting = Accepting(doors, limits, self._pool.give)
        self._stopping = asyncio.Event()
        self._end_sessions = False

    def stop(self, *, end_sessions: bool) -> None:
        """Make ``run`` return: live sessions go on in their workers, or are ended first."""
        self._end_sessions = self._end_sessions or end_sessions
        self._stopping.set()

    def obey_signals(self) -> None:
        """SIGTERM leaves live sessions in their workers (a restart); SIGINT ends them; SIGHUP is a restart where a terminal hangs up,
        else nothing: who means a reload by it would have killed the gateway, and systemd takes that for a good end."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_signal_handler(signal.SIGTERM, lambda: self.stop(end_sessions=False))
        loop.add_signal_handler(signal.SIGINT, lambda: self.stop(end_sessions=True))

    def _hang_up(self) -> None:
        if os.isatty(0):
            self.stop(end_sessions=False)
        else:
            _log.warning("SIGHUP changes nothing: a restart reads the configuration anew, and sessions live on")

    def worker_pids(self) -> dict[str, int]:
        """Return the process id of each worker of this supervisor."""
        return self._pool.pids()

    def loads(self) -> tuple[WorkerLoad, ...]:
        """Return what each of them is busy with."""
        return self._pool.loads()

    async def run(self) -> None:
        """Start, take connections until ``stop``, stop. Raise AuditUnavailable or ConfigError when it cannot start.

        The lock on the audit trail comes first: until the supervisor before this one is gone, nothing here happens.
        """
        try:
            await self._run()
        except ExceptionGroup as group:
            raise _single(group) from group.__cause__

    async def _run(self) -> None:
        self._places.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with self._log, asyncio.TaskGroup() as tasks:
            services = [*self._lost.recover(tasks), tasks.create_task(self.plane.endings.run())]
            services += [tasks.create_task(run()) for run in self._beside]
            serving, pool = tasks.create_task(self._server.run()), tasks.create_task(self._pool.run())
            try:
                await self._log.append(self._event("gateway.started", workers=self._workers.count))
                await self._accepting.run(self._stopping)
                if self._end_sessions:
                    await self._end_all(pool)
                with suppress(AuditUnavailable):
                    await self._log.append(self._event("gateway.stopped", live=len(self.plane.live)))
            finally:
                self._pool.release()
                self.plane.attachments.close()
                self._server.stop()
                await asyncio.wait([serving])
                for task in (pool, *services):
                    task.cancel()

    async def _end_all(self, pool: asyncio.Task[None]) -> None:
        self.plane.attachments.stop_all(StopWorker(reason=END_REASON))
        self._pool.stop()
        # Workers of supervisors before this one are not in the pool, but their sessions are on the table.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._stop_timeout):
                await asyncio.wait([pool])
                await self.plane.live.empty()
        if not pool.done():
            _log.warning("workers did not end in time", workers=self.worker_pids())
            self._pool.kill()
            await asyncio.wait([pool], timeout=self._stop_timeout)

    def _start_message(self) -> Start:
        worker = f"w-{self._new_id()}"
        return Start(
            worker=worker,
            lock_file=str(self._locks.path(worker)),
            plane_socket=str(self._places.plane_socket),
            spool_directory=str(self._places.spool),
            settings=self._settings,
            journals=tuple(map(str, self._locks.journals(worker))),
            write_ahead=str(self._locks.write_ahead(worker)),
        )

    def _event(self, name: str, **data: object) -> AuditEvent:
        return AuditEvent(event=name, key=f"{name}/{self._new_id()}", data={"version": self._version, "pid": os.getpid(), **data})


def _single(error: Exception) -> Exception:
    """Return what one failure left of the groups it went through; several stay a group."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
