"""The ports that one SSH connection forwards, as one session: from the first that is asked for to the connection's end.

One session and not one for each: a browser opens dozens of connections, and whoever ends the session means all of them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from octopus.control.plane import Admission, LiveSession, Plane
from octopus.core.errors import AccessDenied, AuditUnavailable, Disconnected, OctopusError, SessionEnded, TooManySessions, printable
from octopus.core.ports import ForwardBackend
from octopus.core.types import Connection, Identity, RequestKind, SessionRequest
from octopus.session.forward import Asked, Forward
from octopus.session.forward_channel import ForwardClient
from octopus.session.marks import Marks
from octopus.session.session_trail import SessionTrail
from octopus.session.watch import Watch, together

_log = structlog.get_logger(__name__)


class ForwardSession:
    """A session without a channel of its own. ``idle_timeout`` (seconds, 0 for none) holds where the rule sets none.

    At most ``max_open`` connections at a time; of refused destinations the first ``max_refused`` are on the trail, each once,
    and all are counted.
    """

    def __init__(
        self,
        session: str,
        *,
        plane: Plane,
        backend: ForwardBackend,
        identity: Identity,
        connection: Connection,
        clock: Callable[[], float],
        marks: Marks,
        idle_timeout: float = 0.0,
        max_open: int = 128,
        max_refused: int = 100,
    ) -> None:
        self.id = session
        self._trail = SessionTrail(session, plane=plane, identity=identity, connection=connection, clock=clock, marks=marks)
        self.traffic = self._trail.traffic
        self.failure: OctopusError | None = None
        self.over = False
        self._backend = backend
        self._connection = connection
        self._idle_timeout = idle_timeout
        self._max_open = max_open
        self._max_refused = max_refused
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._left = asyncio.Event()
        self._settled = asyncio.Event()
        self._numbers = itertools.count(1)
        self._waiting = 0
        self._opened = 0
        self._refused: set[str] = set()
        self._refusals = 0
        self._watch = Watch()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    def live(self) -> LiveSession | None:
        """The session as the control plane knows it, from its admission until its end is on the record."""
        return self._trail.live

    @property
    def final(self) -> bool:
        """Whether no other session may follow on this connection: it was denied, or somebody ended it."""
        return isinstance(self.failure, AccessDenied) or self._ended.done()

    def end(self, reason: str) -> None:
        """Have the session end soon, with all its connections; the audit trail is told why."""
        if not self._ended.done():
            self._ended.set_result(printable(reason))

    def leave(self) -> None:
        """Have the session end because its SSH connection has."""
        self._left.set()

    async def open(self, host: str, port: int, client: ForwardClient) -> None:
        """Connect the client to a port; returns when it may be told so. Raise what keeps it from that."""
        if self._waiting + len(self._tasks) >= self._max_open:
            raise TooManySessions(f"{self._max_open} forwarded connections", notice="too many forwarded connections")
        self._waiting += 1
        try:
            await self._settled.wait()
        finally:
            self._waiting -= 1
        if self.failure:
            raise self.failure.with_traceback(None)
        live, group = self.live, self._group
        if live is None or group is None or self.over:
            raise SessionEnded("over", notice="this session has ended")
        forward = Forward(Asked(host=host, port=port, number=next(self._numbers)), client, self._record, self._watch, self.traffic)
        task = group.create_task(self._run(forward, live.admission))
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        await forward.opened

    async def run(self, name: str) -> None:
        """Be admitted to ``name`` and forward until the connection or somebody ends it; ``failure`` says what went wrong."""
        try:
            await self._forward(await self._trail.admit(name, SessionRequest(kind=RequestKind.FORWARD)))
        except OctopusError as error:
            _log.info("forwarding refused or cut off", kind=type(error).__name__, error=str(error))
            self.failure = error
        except Exception:
            _log.exception("forwarding failed with a bug")
            self.failure = OctopusError("internal error")
        finally:
            self.over = True
            self._settled.set()

    async def _forward(self, admission: Admission) -> None:
        why = "the session's worker was stopped"
        try:
            await self._trail.started(admission.allow)
            await self._until_the_end(admission)
            why = ""
        except OctopusError as error:
            why = str(error)
            raise
        except Exception:
            why = "internal error"
            raise
        finally:
            more = {"forwards": self._opened, "refused": self._refusals}
            await self._trail.conclude(why, [], more, failed=bool(why))

    async def _until_the_end(self, admission: Admission) -> None:
        self._watch = Watch(idle_timeout=admission.allow.obligations.idle_timeout or self._idle_timeout)
        async with together() as self._group:
            self._settled.set()
            try:
                with suppress(Disconnected):
                    await self._watch.run(self._ended, self._left)
            finally:
                self.over = True
                for task in self._tasks:
                    task.cancel()

    async def _run(self, forward: Forward, admission: Admission) -> None:
        try:
            await forward.run(admission, self._connection, self._backend)
        except AuditUnavailable as error:
            self.end(error.notice)

    async def _record(self, event: str, key: str, data: dict[str, Any], container: str = "") -> None:
        if event == "forward.refused":
            self._refusals += 1
            if key in self._refused or len(self._refused) >= self._max_refused:
                return
            self._refused.add(key)
        self._opened += event == "forward.opened"
        await self._trail.record(event, key, data, container)
