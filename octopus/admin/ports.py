"""What the admin needs of the gateway; the wiring gives it, a test gives something smaller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from octopus.admin.probes import Dependencies
from octopus.admin.shapes import AuditPage, Scaled, SessionLine, SessionsPage, TasksPage, UniquePage
from octopus.core.types import Identity, Value


class People(Protocol):
    """Who people are."""

    async def authenticate(self, login: str, password: str, address: str) -> Identity:
        """Return who that is. Raise AuthenticationFailed, DirectoryUnavailable."""
        ...

    async def look_up(self, login: str) -> Identity:
        """Return a person known already as they are now. Raise AuthenticationFailed, DirectoryUnavailable."""
        ...


class Wanted(Value, frozen=True, kw_only=True):
    """Which sessions, or lines of the trail, are asked for; "" is all. ``login`` is exact, ``text`` a part of what there is."""

    text: str = ""
    login: str = ""
    outcome: str = ""
    event: str = ""
    session: str = ""


class Sessions(Protocol):
    """The sessions of the gateway, live and past."""

    async def page(self, wanted: Wanted, cursor: str, limit: int) -> SessionsPage:
        """Return a page. Raise InvalidRequest for a cursor that is none, AuditUnavailable."""
        ...

    async def one(self, session: str) -> SessionLine:
        """Return one session. Raise NoSuchTarget."""
        ...

    def recording(self, session: SessionLine) -> Path | None:
        """Return the file of its recording, None where there is none; a live one's ends in ``.part``."""
        ...

    async def kill(self, session: str, operator: str, reason: str) -> None:
        """End it. Raise NoSuchTarget, AuditUnavailable, ControlUnavailable."""
        ...


class Trail(Protocol):
    """The audit trail."""

    async def page(self, wanted: Wanted, cursor: str, limit: int, *, glance: bool = False) -> AuditPage:
        """Return a page; at a ``glance`` only of what happened lately. Raise InvalidRequest, AuditUnavailable."""
        ...

    async def write(self, event: str, *, login: str, client: str, session: str = "", **data: Any) -> None:
        """Return once it is durable. Raise AuditUnavailable."""
        ...


class Tasks(Protocol):
    """What runs."""

    async def page(self, identity: Identity, text: str, cursor: str, limit: int, host: str) -> TasksPage:
        """Return a page of what fits ``text``, with what this person may do there and lines to reach it at ``host``."""
        ...


class Capacity(Protocol):
    """How full the cluster is and what it would still take; the reports and ``Simulation`` are ``octopus.fleet``'s."""

    async def report(self) -> Any:
        """Return the Report. Raise Unavailable."""
        ...

    async def simulate(self, body: bytes) -> Any:
        """Return the Simulation that a request's body asks for. Raise InvalidDocument, NoSuchTarget, Unavailable."""
        ...

    def history(self) -> Sequence[tuple[float, Mapping[str, float]]]:
        """Return figures of the last day, the oldest first: seconds since 1970 and shares (0 to 1) by name."""
        ...

    def usage(self) -> Any:
        """Return the latest UsageReport, None where nobody measures what apps really use."""
        ...


class Unique(Protocol):
    """Apps with one instance on each host."""

    async def page(self, app: str, cursor: str, limit: int) -> UniquePage:
        """Return a page, of this one app where it is named."""
        ...

    async def scale(self, app: str, operator: str) -> Scaled:
        """Scale it now. Raise NoSuchTarget, Unavailable, AuditUnavailable."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ports:
    """All of it. ``version`` is the gateway's."""

    people: People
    sessions: Sessions
    trail: Trail
    tasks: Tasks
    capacity: Capacity
    unique: Unique
    dependencies: Dependencies
    clock: Callable[[], float]
    version: str
