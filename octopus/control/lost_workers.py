"""What a dead worker leaves: events not yet handed over, open sessions, half recordings, processes in containers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from octopus.control import recordings, session_events
from octopus.control.audit_lines import OpenSession
from octopus.control.audit_log import FileAuditLog
from octopus.control.endings import Endings
from octopus.control.live import LiveSessions
from octopus.control.plane import LiveSession
from octopus.control.worker_locks import WorkerLocks
from octopus.core.errors import AuditUnavailable, OctopusError, Unavailable
from octopus.core.types import AuditEvent, ExecSpec, Target
from octopus.core.write_ahead import AheadLines, unpack

Reap = Callable[[Target, ExecSpec], Awaitable[bool]]
"""Ends what is left of a session in its container; False when that cannot be done there."""

REASON = "worker lost"

_log = structlog.get_logger(__name__)


class LostWorkers:
    """Settles the affairs of dead workers, those of this supervisor and of those before it.

    ``spool`` holds ``WORKER.jsonl``, events a worker could not hand over before it ended; ``lose`` is told each dead worker
    first. ``interval`` (seconds) is how often workers that are nobody's child are looked at, ``reap_timeout`` bounds each reap.
    """

    def __init__(
        self,
        *,
        log: FileAuditLog,
        endings: Endings,
        live: LiveSessions,
        locks: WorkerLocks,
        spool: Path,
        recordings: Path,
        reap: Reap,
        lose: Callable[[str], None],
        interval: float = 1.0,
        reap_timeout: float = 30.0,
        max_reaps: int = 4,
    ) -> None:
        self._log = log
        self._endings = endings
        self._live = live
        self._locks = locks
        self._spool = spool
        self._recordings = recordings
        self._reap = reap
        self._lose = lose
        self._interval = interval
        self._reap_timeout = reap_timeout
        self._reaps = asyncio.Semaphore(max_reaps)

    def recover(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """At a start, before anything else: restore the table; return tasks that settle the workers of before once they are dead."""
        self._locks.prepare()
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        open_sessions = {one.session: one for one in self._log.open_sessions()}
        left = self._live.restore(open_sessions.__contains__)
        spooled = {path.stem for path in self._spool.glob("*.jsonl")}
        workers = {one.worker for one in open_sessions.values()} | spooled | self._locks.known()
        work = [self._watch(worker) for worker in workers] + [self._clean(session) for session in left]
        return [tasks.create_task(one) for one in work]

    async def settle(self, worker: str) -> None:
        """Hand in what the dead worker spooled, end each of its sessions on the trail, then clean up in the containers."""
        if worker:
            self._lose(worker)
        await self._ingest(worker)
        orphans = [one for one in self._log.open_sessions() if one.worker == worker]
        ahead = await asyncio.to_thread(_ahead, self._locks.write_ahead(worker))
        known = [session for one in orphans if (session := await self._end(one, ahead.get(one.session)))]
        self._locks.forget(worker)
        await asyncio.gather(*(self._clean(session) for session in known))

    async def _watch(self, worker: str) -> None:
        while self._locks.is_held(worker):  # noqa: ASYNC110 (a lock's release is no event, and the holder nobody's child)
            await asyncio.sleep(self._interval)
        await self.settle(worker)

    async def _end(self, session: OpenSession, ahead: AheadLines | None) -> LiveSession | None:
        known = self._live.lose(session.session)
        try:
            await self._endings.write(session_events.lost(session, REASON, await self._complete(session.session, ahead)))
        except AuditUnavailable as error:
            _log.error("a lost session's end waits for the audit trail", session=session.session, error=str(error))
        return known

    async def _complete(self, session: str, ahead: AheadLines | None) -> list[dict[str, Any]]:
        try:
            return await asyncio.to_thread(recordings.complete, self._recordings, session, ahead)
        except OSError as error:
            _log.error("a lost session's recording cannot be closed", session=session, error=str(error))
            return []

    async def _clean(self, session: LiveSession) -> None:
        """Reap unless the rule keeps what runs; where the engine does not answer, the file stays and the next start tries again."""
        spec = session.admission.allow.spec
        try:
            async with self._reaps, asyncio.timeout(self._reap_timeout):
                done = spec.keep_background or await self._reap(session.admission.target, spec)
        except (Unavailable, TimeoutError) as error:
            _log.warning("processes of a lost session may be left", session=session.session, error=str(error))
            return
        except OctopusError as error:
            _log.info("the container of a lost session is gone", session=session.session, error=str(error))
        except Exception:  # A bug here must not take the gateway down, and again at each start.
            _log.exception("bug while cleaning up after a lost session", session=session.session)
        else:
            _log.info("cleaned up after a lost session", session=session.session, done=done)
        self._live.forget(session.session)

    async def _ingest(self, worker: str) -> None:
        # What was handed over already is there by its key.
        for path in (*self._locks.journals(worker), self._spool / f"{worker}.jsonl"):
            for event in _spooled(path):
                await self._append(event)
            path.unlink(missing_ok=True)

    async def _append(self, event: AuditEvent) -> None:
        # What the worker saw is truer than "worker lost": wait for the trail rather than go on without it.
        while True:
            try:
                return await (self._endings.write(event) if event.is_terminal else self._log.append(event))
            except AuditUnavailable:
                await asyncio.sleep(self._interval)
            except ValueError as error:  # A bug, which must not keep the gateway from starting.
                _log.error("an event can be no line of the trail", audit_event=event.event, session=event.session, error=str(error))
                return


def _ahead(path: Path) -> Mapping[str, AheadLines]:
    try:
        return unpack(path.read_bytes())
    except FileNotFoundError:
        return {}


def _spooled(path: Path) -> list[AuditEvent]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            events.append(msgspec.json.decode(line, type=AuditEvent))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.error("a spooled event cannot be read", path=str(path), error=str(error))
    return events
