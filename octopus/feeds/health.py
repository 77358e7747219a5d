"""How a feed is doing, told once for each change: to the log when it changes, to whoever asks with its age."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from octopus.core.errors import OctopusError
from octopus.core.inventory import FeedStatus

_log = structlog.get_logger(__name__)


class FeedHealth:
    """The state of one feed. ``clock`` gives seconds since 1970; ``ticks`` seconds that go on evenly, whatever becomes of that clock."""

    def __init__(self, name: str, clock: Callable[[], float], ticks: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._ticks = ticks
        self._ticked = 0.0
        self._source = ""
        self._since = 0.0
        self._error = ""
        self._kinds: set[str] = set()
        self._complete = False
        self._told = asyncio.Event()

    async def tried(self) -> None:
        """Return once the feed has worked or failed."""
        await self._told.wait()

    def worked(self, source: str, *, complete: bool = True, skipped: int = 0) -> None:
        """Note that the feed was read in whole; one line in the log when it did not work, or came from elsewhere, before."""
        if self._kinds or not self._since or source != self._source:
            _log.info("feed works", feed=self._name, source=source, skipped=skipped)
        self._source, self._complete = source, complete
        self.alive()
        self._error = ""
        self._kinds.clear()
        self._told.set()

    def alive(self) -> None:
        """Note a sign of life on a stream: what is known is as of now."""
        self._since, self._ticked = self._clock(), self._ticks()

    def failed(self, error: OctopusError) -> None:
        """Note a failure; one line in the log for each kind since it last worked. What is known goes on being served."""
        if type(error).__name__ not in self._kinds:
            _log.warning("feed fails, what is known is served", feed=self._name, error=str(error), age=self.status().age)
        self._error = str(error)
        self._kinds.add(type(error).__name__)
        self._told.set()

    def status(self) -> FeedStatus:
        """Return how it is now."""
        return FeedStatus(
            name=self._name,
            source=self._source,
            since=self._since,
            age=self._ticks() - self._ticked if self._since else -1.0,
            error=self._error,
            complete=self._complete and not self._error,
        )


class Backoff:
    """Waits that double from ``first`` up to ``longest`` seconds, each cut by up to half at random, so that gateways spread."""

    def __init__(self, first: float = 1.0, longest: float = 60.0, rng: Callable[[], float] = random.random) -> None:
        self._first = first
        self._longest = longest
        self._rng = rng
        self._failures = 0

    def failed(self) -> float:
        """Return the seconds to wait after one more failure."""
        wait = min(self._first * 2.0 ** min(self._failures, 30), self._longest)
        self._failures += 1
        return wait * (1 - self._rng() / 2)

    def worked(self) -> None:
        """Begin anew."""
        self._failures = 0
