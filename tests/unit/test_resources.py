"""Amounts are whole numbers that add up, and ports are ranges."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.resources import MOST, NOTHING, Amounts, count, holds, lowest, milli, ranges, shown, total, united, without

PORT = st.integers(min_value=0, max_value=40)
RANGES = st.lists(st.tuples(PORT, PORT), max_size=5).map(ranges)


def ports(of: tuple[tuple[int, int], ...]) -> set[int]:
    """Return every port by itself."""
    return {port for begin, end in of for port in range(begin, end + 1)}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0.1, 100), (0.0999999, 100), (4.0, 4000), (0.0001, 1), (0, 0), (-1, 0), (float("nan"), 0), (float("inf"), MOST), (1e300, MOST)],
)
def test_numbers_are_thousandths(value: float, wanted: int) -> None:
    """A need never rounds to nothing, and nothing is absurdly large or negative."""
    assert milli(value) == wanted


@pytest.mark.parametrize(("thousandths", "text"), [(0, "0"), (500, "0.5"), (98_890, "98.89"), (1_024_000, "1024"), (1, "0.001")])
def test_amounts_are_shown_short(thousandths: int, text: str) -> None:
    """No decimals that say nothing."""
    assert shown(thousandths) == text


@given(RANGES, RANGES)
def test_ranges_are_sets_of_ports(one: tuple[tuple[int, int], ...], other: tuple[tuple[int, int], ...]) -> None:
    """United, without and counted as sets are; ranges stay apart and in order."""
    assert ports(united(one, other)) == ports(one) | ports(other)
    assert ports(without(one, other)) == ports(one) - ports(other)
    assert count(one) == len(ports(one))
    assert all(holds(one, port) == (port in ports(one)) for port in range(42))
    assert all(low[1] + 1 < high[0] for low, high in pairwise(one))


@given(RANGES, st.integers(min_value=0, max_value=50))
def test_the_lowest_ports_are_taken(one: tuple[tuple[int, int], ...], wanted: int) -> None:
    """So many, or all where there are fewer."""
    assert sorted(ports(lowest(one, wanted))) == sorted(ports(one))[:wanted]


def test_what_is_no_port_is_left_out() -> None:
    """Ranges are cut to what ports are."""
    assert ranges([(-5, 2), (65530, 99999), (9, 8)]) == ((0, 2), (65530, 65535))


def test_amounts_add_up_and_never_fall_below_nothing() -> None:
    """Ports are united and taken out; scalars end at 0."""
    one = Amounts(1000, 2000, 3000, 1000, ((1, 10),))
    assert one + Amounts(1, 2, 3, 4, ((11, 12),)) == Amounts(1001, 2002, 3003, 1004, ((1, 12),))
    assert one - Amounts(5000, 1, 0, 0, ((2, 3),)) == Amounts(0, 1999, 3000, 1000, ((1, 1), (4, 10)))
    assert one + NOTHING == one - NOTHING == one
    assert one.times(3) == Amounts(3000, 6000, 9000, 3000)
    assert one.least(Amounts(500, 9000, 9000, 0)) == Amounts(500, 2000, 3000, 0, ((1, 10),))
    assert total([one, one]) == Amounts(2000, 4000, 6000, 2000)
