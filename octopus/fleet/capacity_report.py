"""The capacity report on its timer: the latest one for whoever asks, and the last day of figures."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec
import structlog

from octopus.core.errors import OctopusError
from octopus.fleet.figures import Family, capacity_families, single
from octopus.fleet.report import Report
from octopus.fleet.working import TIMEOUT, ReportQuestion

DAY = 1440
"""Samples that are kept: one a minute for a day."""

SAMPLE = 60.0
"""Seconds between two samples, at least."""

_log = structlog.get_logger(__name__)


class TimedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report, when it was begun (seconds since 1970), and how many seconds it took. ``sound``: the state was complete throughout."""

    at: float
    took: float
    sound: bool
    report: Report


class CapacitySample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One minute: thousandths by resource, instances more by reference shape, shares by resource, and agents that are offered."""

    at: float
    total: dict[str, int]
    used: dict[str, int]
    free: dict[str, int]
    headroom: dict[str, int]
    unusable: dict[str, float]
    offered: int
    agents: int


class CapacityHistory:
    """The last day of figures, in memory; only what was computed from a complete state is kept."""

    def __init__(self, *, size: int = DAY, interval: float = SAMPLE) -> None:
        self._samples: deque[CapacitySample] = deque(maxlen=size)
        self._interval = interval

    def samples(self) -> Sequence[CapacitySample]:
        """Return the samples, oldest first. A gap is time of which nothing sure is known."""
        return tuple(self._samples)

    def note(self, timed: TimedReport) -> None:
        """Keep a sample of it, if the last is old enough."""
        # A report is begun a little early or late: half an interval is near enough.
        if not timed.sound or (self._samples and timed.at - self._samples[-1].at < self._interval / 2):
            return
        found = timed.report
        sums = found.sums.items()
        self._samples.append(
            CapacitySample(
                at=timed.at,
                total={name: each.total for name, each in sums},
                used={name: each.used for name, each in sums},
                free={name: each.free for name, each in sums},
                headroom={name: each.real.least for name, each in found.shapes.items()},
                unusable=dict(found.unusable),
                offered=sum(not line.withheld for line in found.agents),
                agents=len(found.agents),
            )
        )


class CapacityReports:
    """Has a report worked out every ``interval`` seconds. ``sound`` says whether the state is complete now, ``ready`` waits for one.

    ``work`` computes, away from the event loop; ``clock`` gives seconds since 1970. While ``work`` fails the latest report ages.
    """

    def __init__(
        self,
        work: Callable[[ReportQuestion], Awaitable[Report]],
        *,
        sound: Callable[[], bool],
        clock: Callable[[], float],
        ready: Callable[[], Awaitable[None]],
        interval: float = 60.0,
        named: Sequence[str] = (),
    ) -> None:
        self.latest: TimedReport | None = None
        self.history = CapacityHistory()
        self._work = work
        self.sound = sound
        self._clock = clock
        self._ready = ready
        self._interval = interval
        self._named = tuple(named)
        self._failing = False

    async def run(self) -> None:
        """Report for ever."""
        await self._ready()
        while True:
            await self.renew()
            await asyncio.sleep(self._interval)

    async def renew(self) -> None:
        """Have one report worked out; what goes wrong is logged once for a row of failures."""
        at, sound = self._clock(), self.sound()
        try:
            found = await self._work(ReportQuestion(now=at, named=self._named))
        except OctopusError as error:
            if not self._failing:
                _log.warning("capacity cannot be worked out", error=str(error))
            self._failing = True
            return
        self._failing = False
        whole = sound and self.sound() and found.complete
        self.latest = TimedReport(at=at, took=max(0.0, self._clock() - at), sound=whole, report=found)
        self.history.note(self.latest)

    def families(self) -> Iterator[Family]:
        """Yield the latest figures; none of the cluster's while they, or the state now, are not complete, or when they are too old."""
        latest = self.latest
        if latest is None:
            return
        age = max(0.0, self._clock() - latest.at)
        yield single("capacity_age_seconds", age, "seconds since the capacity figures were taken")
        yield single("capacity_seconds", latest.took, "how long it took to work them out")
        if latest.sound and self.sound() and age < 5 * self._interval + TIMEOUT:
            yield from capacity_families(latest.report)
