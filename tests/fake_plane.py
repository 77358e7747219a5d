"""A control plane in memory for tests of the data plane: people, tasks by the name that is typed, and an audit trail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from octopus.control.plane import Admission, Attached, AuthAttempt, Candidate, Command, LiveSession
from octopus.core.errors import AuthenticationFailed, NoSuchTarget, OctopusError, Unavailable
from octopus.core.types import Allow, AuditEvent, Connection, ExecSpec, FileRights, Identity, Obligations, SessionRequest, Target


class FakePlane:
    """A Plane of people (``passwords`` by login, ``keys``: fingerprint to login) and of tasks by user name; ``events`` is its trail.

    ``refusals`` are raised by ``admit``, by name; ``failing`` by ``record``, by event (``met`` are those), and ``late`` is what its
    answer waits for. ``admit`` sets ``asked`` and waits for ``gate``.
    """

    def __init__(self, tasks: Mapping[str, Target], *, passwords: Mapping[str, str], keys: Mapping[str, str] | None = None) -> None:
        self.passwords = dict(passwords)
        self.keys = dict(keys or {})
        self.outage: Unavailable | None = None
        self.tasks = dict(tasks)
        self.attempts: list[AuthAttempt] = []
        self.requests: list[SessionRequest] = []
        self.events: list[AuditEvent] = []
        self.refusals: dict[str, OctopusError] = {}
        self.failing: dict[str, OctopusError] = {}
        self.late: dict[str, asyncio.Event] = {}
        self.met: list[AuditEvent] = []
        self.obligations = Obligations()
        self.rights = FileRights(download=True, upload=True)
        self.successor = ""
        self.recorded = asyncio.Condition()
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def authenticate(self, attempt: AuthAttempt) -> Identity:
        """See ``Plane``."""
        self.attempts.append(attempt)
        if self.outage:
            raise self.outage
        login = attempt.login
        match attempt.method:
            case "publickey":
                login = self.keys.get(attempt.fingerprint, "")
                proven = bool(login) and attempt.login in ("", login)
            case "certificate":
                login = login or next(iter(attempt.principals), "")
                proven = login in attempt.principals and login in self.passwords
            case _:
                proven = bool(attempt.password) and self.passwords.get(login) == attempt.password
        if not proven:
            raise AuthenticationFailed("nobody")
        return Identity(login=login, method=attempt.method)

    async def admit(self, session: str, identity: Identity, connection: Connection, name: str, request: SessionRequest) -> Admission:
        """See ``Plane``."""
        self.requests.append(request)
        self.asked.set()
        await self.gate.wait()
        if name in self.refusals:
            raise self.refusals[name]
        if name not in self.tasks:
            raise NoSuchTarget(name, notice=f"no running task matches '{name}'")
        spec = ExecSpec(command=request.command, pty=request.pty, env=request.env, user="", token=f"token-{session}")
        allow = Allow(spec=spec, rule="policy[0]", obligations=self.obligations, files=self.rights)
        return Admission(session=session, target=self.tasks[name], allow=allow)

    async def candidates(self, identity: Identity, name: str = "", limit: int = 1000) -> tuple[Candidate, ...]:
        """See ``Plane``."""
        found = [one for one in {task.task: task for task in self.tasks.values()}.values() if name in one.task or name in one.app]
        return tuple(Candidate(app=one.app, task=one.task, agent=one.agent) for one in found[:limit])

    async def replacement(self, identity: Identity, target: Target) -> str:
        """See ``Plane``."""
        return self.successor

    async def record(self, event: AuditEvent) -> None:
        """See ``Plane``."""
        if event.event in self.failing:
            self.met.append(event)
            raise self.failing[event.event]
        async with self.recorded:
            self.events.append(event)
            self.recorded.notify_all()
        if event.event in self.late:
            await self.late[event.event].wait()

    async def ended(self, count: int = 1) -> list[AuditEvent]:
        """Wait until ``count`` sessions have their terminal event, and return those."""
        async with self.recorded:
            await self.recorded.wait_for(lambda: sum(event.is_terminal for event in self.events) >= count)
        return [event for event in self.events if event.is_terminal]

    def of(self, event: str) -> list[AuditEvent]:
        """Return the events of that name."""
        return [one for one in self.events if one.event == event]

    async def attach(self, worker: str, pid: int, sessions: tuple[LiveSession, ...]) -> AsyncIterator[Command]:
        """See ``Plane``; no command ever comes."""
        yield Attached()
