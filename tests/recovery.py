"""What a start does about the workers of before, alone, with a stand-in for the engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

from octopus.control.endings import Endings
from octopus.control.live import LiveSessions
from octopus.control.lost_workers import LostWorkers, Reap
from octopus.control.worker_locks import WorkerLocks
from octopus.core.types import ExecSpec, Target
from tests.plane_parts import audit_log


class Reaper:
    """Ends what is left of sessions, or fails with ``error``; ``tokens`` are those it was asked for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.tokens: list[str] = []
        self._error = error

    async def __call__(self, target: Target, spec: ExecSpec) -> bool:
        """See ``Reap``."""
        self.tokens.append(spec.token)
        if self._error:
            raise self._error
        return True


async def start(root: Path, reap: Reap) -> None:
    """Do what a start does about the workers of before, to the end."""
    async with audit_log(root) as log:
        live = LiveSessions(root / "run" / "sessions")
        lost = LostWorkers(
            log=log,
            endings=Endings(log, ended=live.remove),
            live=live,
            locks=WorkerLocks(root / "run" / "workers"),
            spool=root / "spool",
            recordings=root / "recordings",
            reap=reap,
            lose=lambda worker: None,
            interval=0.01,
        )
        async with asyncio.TaskGroup() as tasks:
            lost.recover(tasks)
