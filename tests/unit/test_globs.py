"""Globs fit exactly what they say, in time that no glob can blow up."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.globs import Glob


@pytest.mark.parametrize(
    ("glob", "app"),
    [
        ("/logging/logstash", "/logging/logstash"),
        ("/logging/*", "/logging/logstash"),
        ("/logging/**", "/logging/logstash"),
        ("/logging/**", "/logging/a/b/c"),
        ("/**", "/a"),
        ("**", "/a/b"),
        ("/**/web", "/web"),
        ("/**/web", "/a/b/web"),
        ("/a/**/b/*", "/a/b/c"),
        ("/a/**/b/*", "/a/b/c/b/d"),
        ("/a/*-?", "/a/x-y-z"),
        ("/a/*b*c", "/a/bbbcbc"),
        ("/a*", "/a"),
        ("web-*", "/web-1"),
        ("/web-*", "web-1"),
    ],
)
def test_a_glob_fits(glob: str, app: str) -> None:
    """Stars stay within an element, double stars span elements, the leading slash may be left out."""
    assert Glob(glob).matches(app)


@pytest.mark.parametrize(
    ("glob", "app"),
    [
        ("/logging/*", "/logging/a/b"),
        ("/logging/*", "/logging"),
        ("/logging/**", "/logging"),
        ("/logging/**", "/loggingx/a"),
        ("/logging/**", "/x/logging/a"),
        ("/logging/logstash", "/logging/logstash2"),
        ("/logging/logstash", "/logging/Logstash"),
        ("/a/?", "/a/"),
        ("/a/??", "/a/b"),
        ("/a?b", "/a/b"),
        ("/**/web", "/a/web/b"),
        ("/**", ""),
        ("/*", "/"),
        ("/**", "/a//b"),
        ("/a.b", "/axb"),
    ],
)
def test_a_glob_does_not_fit(glob: str, app: str) -> None:
    """Anchored, case-sensitive, no regular expression; an unknown or broken app fits nothing."""
    assert not Glob(glob).matches(app)


@pytest.mark.parametrize(
    ("glob", "why"),
    [
        ("", "1 to 512"),
        ("/" + "a" * 512, "1 to 512"),
        ("/a\n", "knows"),
        ("/[ab]", "knows"),
        ("/{a,b}", "knows"),
        ("!/a", "knows"),
        ("/", "empty"),
        ("//a", "empty"),
        ("/a/", "empty"),
        ("/a**", "stands alone"),
        ("/***", "stands alone"),
    ],
)
def test_what_is_no_glob_is_refused(glob: str, why: str) -> None:
    """Signs that other globs know would match something else than they seem to."""
    with pytest.raises(ValueError, match=why):
        Glob(glob)


def test_many_stars_cost_no_more_than_lengths_multiplied() -> None:
    """A glob that would keep a backtracking matcher busy for ages is answered at once."""
    assert not Glob("/" + "a*" * 200 + "b").matches("/" + "a" * 500)
    assert not Glob("/**/a" * 80 + "/b").matches("/a" * 250)


def _as_expression(glob: str) -> re.Pattern[str]:
    parts = [{"**": "(?:[^/]+/)*", "*": "[^/]+/"}.get(part, re.escape(part).replace(r"\*", "[^/]*") + "/") for part in glob.split("/")]
    if glob.endswith("**"):
        parts[-1] = "(?:[^/]+/)+"
    return re.compile("".join(parts))


@given(
    st.lists(st.sampled_from(["**", "*", "a", "b", "a*", "*b"]), min_size=1, max_size=5).map("/".join),
    st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=1, max_size=6).map("/".join),
)
def test_globs_mean_what_the_expression_means(glob: str, app: str) -> None:
    """On small cases the matcher agrees with a regular expression written from the definition."""
    assert Glob(glob).matches(app) == bool(_as_expression(glob).fullmatch(app + "/"))
