"""A feed's failures are told once and its waits grow."""

from __future__ import annotations

import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.errors import BadUpstream, OrchestratorUnavailable
from octopus.feeds.health import Backoff, FeedHealth


def test_each_change_is_logged_once() -> None:
    """Works, fails, fails otherwise (by turns), works, works elsewhere: five lines for any number of turns."""
    now = [100.0]
    health = FeedHealth("mesos", lambda: now[0], lambda: now[0])
    assert (health.status().age, health.status().complete) == (-1.0, False)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            health.worked("http://m1")
        for _ in range(3):
            now[0] += 10
            health.failed(OrchestratorUnavailable("gone"))
        for _ in range(3):
            health.failed(OrchestratorUnavailable("gone"))
            health.failed(BadUpstream("m1", "garbage"))
        assert (health.status().age, health.status().error, health.status().complete) == (30.0, "m1: garbage", False)
        for _ in range(3):
            health.worked("http://m1")
        health.worked("http://m2", complete=False)
    assert [line["log_level"] for line in lines] == ["info", "warning", "warning", "info", "info"]
    now[0] += 5
    health.alive()
    assert (health.status().age, health.status().source, health.status().complete) == (0.0, "http://m2", False)


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_clock_that_is_set_makes_nothing_older_or_younger(jump: float) -> None:
    """A feed that fails does not count as fresh for a day because the clock went back, nor as stale because it went on."""
    now, ticks = [1_700_000_000.0], [5.0]
    health = FeedHealth("mesos", lambda: now[0], lambda: ticks[0])
    health.worked("http://m1")
    now[0] += jump
    ticks[0] += 7
    assert health.status().age == 7


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 100))
def test_waits_double_to_a_limit_and_spread(chance: float, failures: int) -> None:
    """Each lies between half of the doubled wait and the whole, however often it failed."""
    backoff = Backoff(first=1.0, longest=60.0, rng=lambda: chance)
    waits = [backoff.failed() for _ in range(failures)]
    for number, wait in enumerate(waits):
        whole = min(2.0**number, 60.0)
        assert whole / 2 <= wait <= whole
    backoff.worked()
    assert backoff.failed() <= 1.0
