"""What people can make a feed ask is bounded, and a miss is remembered for a while."""

from __future__ import annotations

from octopus.feeds.look_ups import Misses, TokenBucket


def test_a_bucket_fills_with_time() -> None:
    """A burst, then the rate; never more than the burst."""
    now = [0.0]
    bucket = TokenBucket(rate=0.5, burst=2, clock=lambda: now[0])
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now[0] += 2
    assert [bucket.take() for _ in range(2)] == [True, False]
    now[0] += 1000
    assert [bucket.take() for _ in range(3)] == [True, True, False]


def test_misses_are_forgotten() -> None:
    """After their time, and the oldest when there are too many."""
    now = [0.0]
    misses = Misses(seconds=10.0, size=2, clock=lambda: now[0])
    for name in ("a", "b", "c"):
        misses.add(name)
    assert ["a" in misses, "b" in misses, "c" in misses] == [False, True, True]
    now[0] += 10
    assert "c" not in misses
