"""What containers use, summed by app: rates between readings, totals over containers that come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from octopus.core.resources import Amounts
from octopus.core.usage import FORGET, Measured, Reading, Spent, UsageBook, Use

NEEDS = Amounts(1000, 64_000)


def seen(container: str, at: float, cpu: float = 0, app: str = "/a", **bytes_: int) -> Measured:
    """Return a container that had used so many CPU seconds by then."""
    return Measured(container=container, app=app, reserved=NEEDS, reading=Reading(at=at, cpu=round(cpu * 1e9), **bytes_))


def test_a_rate_needs_two_readings() -> None:
    """Half a CPU over ten seconds; until then a container counts with its memory only."""
    book = UsageBook()
    book.take("S1", [seen("c", 100, 7, memory=50)], 1)
    assert book.by_app() == {"/a": Use(containers=1, rated=0, cpus=0.0, memory=50, reserved=NEEDS)}
    book.take("S1", [seen("c", 110, 12, memory=60)], 2)
    assert book.by_app() == {"/a": Use(containers=1, rated=1, cpus=0.5, memory=60, reserved=NEEDS)}
    book.take("S1", [seen("c", 110, 12, memory=60)], 3)
    assert book.by_app()["/a"].cpus == 0.5


def test_apps_are_summed_over_agents() -> None:
    """Two containers of one app on two agents; another app beside."""
    book = UsageBook()
    for at in (0, 10):
        book.take("S1", [seen("c", at, at, memory=1), seen("d", at, at / 2, app="/b", memory=9)], at)
        book.take("S2", [seen("c", at, at, memory=2)], at)
    found = book.by_app()
    assert (found["/a"].cpus, found["/a"].memory, found["/a"].reserved) == (2.0, 3, Amounts(2000, 128_000))
    assert (found["/b"].cpus, found["/b"].containers) == (0.5, 1)
    assert {agent: use.cpus for agent, use in book.by_agent().items()} == {"S1": 1.5, "S2": 1.0}


def test_what_was_used_in_all_outlives_the_container() -> None:
    """A container that is gone leaves its part; a new one counts from its second reading; a counter that fell began anew."""
    book = UsageBook()
    book.take("S1", [seen("c", 0, 100, received=10, sent=20, read=30, written=40)], 0)
    book.take("S1", [seen("c", 10, 103, received=11, sent=22, read=33, written=44)], 10)
    assert book.spent() == {"/a": Spent(cpu=3.0, received=1, sent=2, read=3, written=4)}
    book.take("S1", [seen("d", 20, 50)], 20)
    book.take("S1", [seen("d", 30, 51)], 30)
    assert book.spent()["/a"].cpu == 4.0
    book.take("S1", [seen("d", 40, 2)], 40)
    assert book.spent()["/a"].cpu == 6.0


def test_an_agent_that_is_silent_is_forgotten() -> None:
    """Its containers neither use nor reserve; what they used in all stays, until the app is long gone."""
    book = UsageBook()
    book.take("S1", [seen("c", 0)], 0)
    book.take("S1", [seen("c", 10, 10)], 10)
    book.forget(since=5, now=20)
    assert book.by_app()["/a"].containers == 1
    book.forget(since=15, now=20)
    assert (book.by_app(), book.by_agent(), book.spent()["/a"].cpu) == ({}, {}, 10.0)
    book.forget(since=15, now=11 + FORGET)
    assert book.spent() == {}


COUNTS = st.lists(st.integers(0, 10**12), min_size=1, max_size=6)


@given(COUNTS)
def test_what_was_used_in_all_never_falls(counts: list[int]) -> None:
    """Whatever an engine counts."""
    book, before = UsageBook(), 0.0
    for at, count in enumerate(counts):
        book.take("S1", [Measured(container="c", app="/a", reserved=NEEDS, reading=Reading(at=at, cpu=count))], at)
        assert book.spent()["/a"].cpu >= before
        before = book.spent()["/a"].cpu
        assert book.by_app()["/a"].cpus >= 0
