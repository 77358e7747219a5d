"""Suggestions are the names within a slip or two, best first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.suggest import distance, nearest

WORD = st.text(alphabet="abc_", max_size=8)


@pytest.mark.parametrize(
    ("one", "two", "away"),
    [
        ("", "", 0),
        ("abc", "abc", 0),
        ("abc", "ab", 1),
        ("ab", "abc", 1),
        ("abc", "axc", 1),
        ("abc", "acb", 1),
        ("abcd", "badc", 2),
        ("abc", "xyz", 3),
    ],
)
def test_a_slip_is_one(one: str, two: str, away: int) -> None:
    """Too many, too few, wrong, swapped."""
    assert distance(one, two, 2) == min(away, 3)


@given(WORD, WORD, st.integers(1, 3))
def test_the_distance_is_a_distance(one: str, two: str, limit: int) -> None:
    """Symmetric, zero for equals only, never below the difference in length, and cut at the limit."""
    away = distance(one, two, limit)
    assert away == distance(two, one, limit)
    assert (away == 0) == (one == two)
    assert away >= min(abs(len(one) - len(two)), limit + 1)
    assert away <= limit + 1


@given(WORD.filter(lambda word: len(word) > 4), st.lists(WORD, max_size=20))
def test_the_shortcut_by_letters_loses_nothing(typed: str, names: list[str]) -> None:
    """Every name within the distance is found, though most are never measured."""
    assert {name for name in names if distance(typed, name, 2) <= 2} <= set(nearest(typed, names))


def test_the_best_come_first() -> None:
    """One slip before two, and names that merely contain what was typed last."""
    assert nearest("logging", ["xx_logging_yy", "loging", "login", "metrics", "logging_a"]) == [
        "loging",
        "login",
        "logging_a",
        "xx_logging_yy",
    ]
    assert nearest("ab", ["abx", "abxy", "zab"]) == ["abx", "zab"]
