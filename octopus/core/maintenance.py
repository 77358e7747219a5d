"""Mesos' plan of maintenance: which machines are, or will be, away (``GET /maintenance/schedule``, since 0.25)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from octopus.core.inventory import Agent
from octopus.core.placement_offers import Window
from octopus.core.wire import Entries, read_json

NANOSECONDS = 1e9
MAX_WINDOWS = 100_000
"""Machines in a plan."""


class _Nanoseconds(msgspec.Struct):
    nanoseconds: int = 0


class _Machine(msgspec.Struct):
    hostname: str = ""
    ip: str = ""


class _Unavailability(msgspec.Struct):
    start: _Nanoseconds = msgspec.field(default_factory=_Nanoseconds)
    duration: _Nanoseconds | None = None


class _Planned(msgspec.Struct):
    machine_ids: list[_Machine] = []
    unavailability: _Unavailability = msgspec.field(default_factory=_Unavailability)


class _Schedule(msgspec.Struct):
    windows: list[msgspec.Raw] = []


def decode_schedule(body: bytes, source: str = "Mesos /maintenance/schedule") -> tuple[Window, ...]:
    """Return a window for each machine of the plan, at most MAX_WINDOWS. Raise BadUpstream when it is none."""
    planned = Entries().read(read_json(body, _Schedule, source).windows, _Planned)
    return tuple(_windows(planned))[:MAX_WINDOWS]


def _windows(planned: Iterable[_Planned]) -> Iterator[Window]:
    for each in planned:
        start = each.unavailability.start.nanoseconds / NANOSECONDS
        duration = each.unavailability.duration
        end = start + duration.nanoseconds / NANOSECONDS if duration is not None else 0.0
        yield from (Window(machine.hostname, machine.ip, start, end) for machine in each.machine_ids)


class Plan:
    """A plan, by host name, so that each of 10,000 agents is looked up at once."""

    def __init__(self, windows: Iterable[Window] = ()) -> None:
        self._by_host: dict[str, list[Window]] = {}
        for window in windows:
            self._by_host.setdefault(window.hostname.casefold(), []).append(window)

    def covers(self, agent: Agent, now: float) -> bool:
        """Whether the agent is in maintenance at ``now`` (seconds since 1970)."""
        return any(window.covers(agent, now) for window in self._by_host.get(agent.hostname.casefold(), ()))
