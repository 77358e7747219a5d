"""Look-ups of names that are not known yet: how often people can make a feed ask, whatever they type."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable

from octopus.core.errors import BadUpstream, OrchestratorUnavailable
from octopus.feeds.http import in_time


class LookUps:
    """At most ``rate`` a second and ``burst`` at once, each of ``timeout`` seconds; a miss is remembered for ``miss_time``.

    ``clock`` in seconds, monotonic: a wall clock that is set back would forbid them for as long.
    """

    def __init__(
        self,
        *,
        rate: float = 0.5,
        burst: int = 5,
        timeout: float = 5.0,
        miss_time: float = 10.0,
        most_misses: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout
        self._budget = TokenBucket(rate, burst, clock)
        self._misses = Misses(miss_time, most_misses, clock)

    async def find(self, name: str, known: Callable[[], bool], ask: Callable[[], Awaitable[None]]) -> bool:
        """Tell whether ``name`` is known, by then: ``ask`` is awaited where it is not, and not too much was asked lately.

        Of the errors of ask, BadUpstream and OrchestratorUnavailable are a no.
        """
        if known():
            return True
        if name in self._misses or not self._budget.take():
            return False
        with contextlib.suppress(BadUpstream, OrchestratorUnavailable):
            async with in_time(self._timeout, "look-up"):
                await ask()
        if known():
            return True
        self._misses.add(name)
        return False


class TokenBucket:
    """At most ``burst`` at once and ``rate`` a second in the long run. ``clock`` in seconds, monotonic."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock()

    def take(self) -> bool:
        """Take one, if there is one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Misses:
    """What was looked up in vain not long ago: at most ``size`` names, each for ``seconds``."""

    def __init__(self, seconds: float, size: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._until: dict[str, float] = {}

    def __contains__(self, name: str) -> bool:
        return self._until.get(name, 0.0) > self._clock()

    def add(self, name: str) -> None:
        """Remember one; the oldest goes when there are too many."""
        self._until.pop(name, None)
        self._until[name] = self._clock() + self._seconds
        while len(self._until) > self._size:
            del self._until[next(iter(self._until))]
