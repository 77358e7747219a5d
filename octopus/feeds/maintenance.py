"""Keeps a Cluster's plan of maintenance up to date: Mesos tells of it by no event, so it is read from time to time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from octopus.core.cluster import Cluster
from octopus.core.errors import BadUpstream, OctopusError, OrchestratorUnavailable
from octopus.core.maintenance import decode_schedule
from octopus.core.placement_offers import Window
from octopus.feeds.http import Http, in_time
from octopus.feeds.masters import Leader, Masters, last_error

PATH = "/maintenance/schedule"
MAX_BODY = 64 * 1024 * 1024

_log = structlog.get_logger(__name__)


class MaintenanceFeed:
    """Reads the plan every ``interval`` seconds; what is known goes on being used while it cannot be. ``clock``: seconds since 1970."""

    def __init__(
        self,
        cluster: Cluster,
        http: Http,
        masters: Masters,
        *,
        interval: float = 60.0,
        timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._cluster = cluster
        self._leader = Leader(http, masters)
        self._interval = interval
        self._timeout = timeout
        self._clock = clock
        self._rng = rng
        self._failed = ""

    async def run(self) -> None:
        """Run for ever. Nothing a master does ends this."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._interval * (0.9 + self._rng() / 5))

    async def refresh(self) -> None:
        """Read the plan once. Never raises: a failure is told in the log once, and Mesos' own feed tells whether Mesos works."""
        try:
            async with in_time(self._timeout, PATH):
                windows = await self._read()
        except (BadUpstream, OrchestratorUnavailable) as error:
            if type(error).__name__ != self._failed:
                _log.warning("the plan of maintenance cannot be read, the last one is used", error=str(error))
            self._failed = type(error).__name__
            return
        self._failed = ""
        self._cluster.plan(windows, self._clock())

    async def _read(self) -> tuple[Window, ...]:
        errors: list[OctopusError] = []
        for walk in await self._leader.walks():
            try:
                async with self._leader.ask(walk, "GET", PATH) as answer:
                    if answer.status == 404:
                        return ()
                    if answer.status != 200:
                        raise self._leader.refusal(answer)
                    found = decode_schedule(await answer.body(MAX_BODY), answer.url)
            except (BadUpstream, OrchestratorUnavailable) as error:
                errors.append(error)
            else:
                self._leader.found(walk.base)
                return found
        raise last_error(errors)
