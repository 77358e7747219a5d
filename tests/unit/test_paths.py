"""Paths: a rule speaks of exactly those it says, and what is written down of one can be read back."""

from __future__ import annotations

import codecs
import posixpath
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.paths import PathRule, absolute, escaped, parent


@pytest.mark.parametrize(
    ("globs", "path", "covered", "leads"),
    [
        ((), b"/", True, True),
        ((), b"/etc/shadow", True, True),
        (("/tmp/**",), b"/tmp/a/b", True, True),
        (("/tmp/**",), b"/tmp", False, True),
        (("/tmp/**",), b"/", False, True),
        (("/tmp/**",), b"/tmpx", False, False),
        (("/tmp/**",), b"/etc/tmp/a", False, False),
        (("/var/log/*.gz",), b"/var/log/a.gz", True, False),
        (("/var/log/*.gz",), b"/var/log/a.txt", False, False),
        (("/var/log/*.gz",), b"/var/log", False, True),
        (("/var/log/*.gz",), b"/var/log/a.gz/b", False, False),
        (("/a", "/b/*"), b"/b/c", True, False),
        (("/**/logs/*",), b"/x/y/logs", False, True),
        (("/**/logs/*",), b"/x/y/logs/z", True, True),
        (("/tmp/**",), b"/tmp/\xff\n", True, True),
        (("/**",), b"/", False, True),
    ],
)
def test_a_rule_speaks_of_paths(globs: tuple[str, ...], path: bytes, covered: bool, leads: bool) -> None:
    """Covered is what a glob fits; the directories on the way lead there; no globs are every path."""
    rule = PathRule(globs)
    assert (rule.covers(path), rule.leads_to(path)) == (covered, leads)


@pytest.mark.parametrize("glob", ["tmp/**", "", "/tmp/[a]", "/a//b"])
def test_what_is_no_glob_over_paths_is_refused(glob: str) -> None:
    """A path begins with a slash, and the rest is as for apps."""
    with pytest.raises(ValueError, match=r"begins|glob|empty"):
        PathRule([glob])


_ELEMENTS = st.lists(st.sampled_from(["a", "b", "*", "**", "a*"]), min_size=1, max_size=5)
_NAMES = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=5)


@given(_ELEMENTS, _NAMES, _NAMES)
def test_whatever_is_covered_is_led_to(elements: list[str], above: list[str], below: list[str]) -> None:
    """Each directory above a covered path leads there."""
    rule = PathRule(["/" + "/".join(elements)])
    if below and rule.covers(("/" + "/".join(above + below)).encode()):
        assert rule.leads_to(("/" + "/".join(above)).encode())


@given(st.binary(max_size=60))
def test_an_escaped_path_is_printable_and_turns_back(path: bytes) -> None:
    """Nothing is lost, whatever the bytes, and nothing in it acts on a terminal."""
    shown = escaped(path)
    assert shown.isprintable()
    parts = re.findall(r"\\\\|\\x[0-9a-f]{2}|[^\\]", shown)
    back = b"".join(codecs.escape_decode(part.encode())[0] if part[0] == "\\" else part.encode() for part in parts)
    assert ("".join(parts), back) == (shown, path)


@given(st.text("ab./", max_size=12), st.sampled_from(["/", "/x", "/x/y"]))
def test_an_absolute_path_is_normal(path: str, start: str) -> None:
    """As the library's own normalisation has it, seen from the start."""
    expected = posixpath.normpath(posixpath.join(start, path))
    assert absolute(path.encode(), start.encode()).decode() == "/" + expected.strip("/")


def test_the_parent_of_a_path() -> None:
    """The root's children lie in the root."""
    assert [parent(path) for path in (b"/a", b"/a/b", b"/")] == [b"/", b"/a", b"/"]


@pytest.mark.parametrize(
    ("globs", "path", "all_below"),
    [
        ((), b"/", True),
        (("/tmp/**",), b"/tmp", True),
        (("/tmp/**",), b"/tmp/a/b", True),
        (("/tmp/**",), b"/", False),
        (("/tmp/*",), b"/tmp/a", False),
        (("/tmp/*", "/srv/**"), b"/srv/a", True),
        (("/**",), b"/", True),
        (("/**/logs/*",), b"/x/logs", False),
        (("/**/logs/**",), b"/x/logs", True),
    ],
)
def test_a_rule_speaks_of_all_below(globs: tuple[str, ...], path: bytes, all_below: bool) -> None:
    """Only where a glob ends with two stars from there on."""
    assert PathRule(globs).covers_below(path) is all_below


@given(_ELEMENTS, _NAMES, _NAMES)
def test_whatever_lies_below_is_covered(elements: list[str], above: list[str], below: list[str]) -> None:
    """Where all below is said to be covered, each name there is."""
    rule = PathRule(["/" + "/".join(elements)])
    if below and rule.covers_below(("/" + "/".join(above)).encode()):
        assert rule.covers(("/" + "/".join(above + below)).encode())
