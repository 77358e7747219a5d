"""Tables and durations for people and scripts."""

from __future__ import annotations

import pytest

from octopus.control.plane import Candidate
from octopus.session.durations import age, spoken
from octopus.session.listing import plain, short_id, table


def test_table_aligns_and_keeps_whole_ids() -> None:
    """Columns are as wide as their widest cell, ids are whole, no line ends in blanks."""
    shown = table(
        [Candidate(app="/a", task="a.1", agent="h1", started=50), Candidate(app="/long/app", task="long_app.22", agent="h2")], now=110
    )
    assert shown.splitlines() == [
        "APP        TASK         AGENT  AGE",
        "/a         a.1          h1     1m",
        "/long/app  long_app.22  h2",
    ]


def test_upstream_text_cannot_act_on_the_terminal() -> None:
    """Control characters and other alphabets are escaped."""
    assert plain("\x1b[2J/a\n") == "\\x1b[2J/a\\n"
    assert plain("/\u0430") == "/\\u0430"


@pytest.mark.parametrize("width", [0, 1, 2, 5])
def test_cut_text_is_never_wider(width: int) -> None:
    """What is cut fits, and shows that it is cut."""
    assert len(plain("abcdefgh", width)) <= width
    assert plain("abcdefgh", 5) == "abcd>"
    assert plain("abcde", 5) == "abcde"


@pytest.mark.parametrize(
    ("task", "short"),
    [
        ("logging_logstash.3f9c7a5e-8a11-11e5-9c5b-56847afe9799", "3f9c7a5e"),
        ("web_shop.instance-3f9c7a5e-8a11-11e5-9c5b-56847afe9799._app.1", "3f9c7a5e"),
        ("container", "containe"),
    ],
)
def test_short_id_is_the_start_of_the_uuid(task: str, short: str) -> None:
    """Marathon's ids of both kinds are told apart by their UUID."""
    assert short_id(task) == short


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.5, "0.5s"), (1, "1s"), (90, "1m30s"), (1800, "30m"), (5400, "1h30m"), (90_061, "1d1h1m1s")]
)
def test_durations_are_said_as_they_are_configured(seconds: float, words: str) -> None:
    """30m stays 30m."""
    assert spoken(seconds) == words


@pytest.mark.parametrize(
    ("since", "words"), [(0, ""), (999, "1s"), (1000, "0s"), (2000, "0s"), (1000 - 7200, "2h"), (1000 - 200_000, "2d")]
)
def test_age_has_one_unit(since: float, words: str) -> None:
    """The largest unit is enough; what lies ahead is new, what is unknown is left out."""
    assert age(since, 1000) == words
