"""The lines of keys are those an editor shows."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.config.toml_lines import KeyPath, key_lines, nearest_line

TEXT = '''# a comment with [brackets] and = signs
top = 1
[ssh]   # behind a header
listen = ["a",
  "b", # ]
]
"quoted.key".'x y' = """
[no]
a = 1 \\""" "
"""
a.b.c = { d = 1, e = "}" }
[auth.ldap]
date=1979-05-27T07:32:00Z
[[policy]]
groups=["a"]
[[policy]]
groups=\'\'\'
[["a"]]\'\'\'
[policy.sub]
z=1.5
[[policy.deep]]
k=1
[[policy.deep]]
k=2'''

LINES: dict[KeyPath, int] = {
    ("top",): 2,
    ("ssh",): 3,
    ("ssh", "listen"): 4,
    ("ssh", "quoted.key"): 7,
    ("ssh", "quoted.key", "x y"): 7,
    ("ssh", "a"): 11,
    ("ssh", "a", "b"): 11,
    ("ssh", "a", "b", "c"): 11,
    ("auth",): 12,
    ("auth", "ldap"): 12,
    ("auth", "ldap", "date"): 13,
    ("policy",): 14,
    ("policy", 0): 14,
    ("policy", 0, "groups"): 15,
    ("policy", 1): 16,
    ("policy", 1, "groups"): 17,
    ("policy", 1, "sub"): 19,
    ("policy", 1, "sub", "z"): 20,
    ("policy", 1, "deep"): 21,
    ("policy", 1, "deep", 0): 21,
    ("policy", 1, "deep", 0, "k"): 22,
    ("policy", 1, "deep", 1): 23,
    ("policy", 1, "deep", 1, "k"): 24,
}


def test_every_key_and_header_has_its_line() -> None:
    """Strings, comments, lists and tables over several lines do not lead astray."""
    assert key_lines(TEXT) == LINES


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_both_ends_of_line_count(newline: str) -> None:
    """A file from Windows has the same lines."""
    assert key_lines(TEXT.replace("\n", newline)) == LINES


def test_what_has_no_line_has_that_of_what_holds_it() -> None:
    """An element, a key of an inline table, a key that is missing."""
    assert nearest_line(LINES, ("ssh", "listen", 1)) == 4
    assert nearest_line(LINES, ("ssh", "missing")) == 3
    assert nearest_line(LINES, ("missing",)) == 0


def _paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} | {found for key, part in items for found in _paths(part, (*path, key))}


_KEYS = st.sampled_from(["a", "b-1", '"q [.] = "', "'#'", "c.d"])
_VALUES = st.sampled_from(["1", '"x # = ["', "'''\n[a]\n'''", '"""\nb = 1 \\"""\n"""', "[\n1, # ]\n2]", "{ x = [1, 2] }", "true"])


@given(st.lists(st.one_of(st.tuples(_KEYS, _VALUES), st.tuples(st.sampled_from(["[t]", "[t.u]", "[[p]]", "[[p.q]]"]), st.just("")))))
def test_only_keys_that_are_there_have_lines(statements: list[tuple[str, str]]) -> None:
    """Of any valid text, each path with a line leads to a value, and its line holds the last word of its key."""
    text = "\n".join(f"{key} = {value}" if value else key for key, value in statements)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = key_lines(text)
    assert found.keys() <= _paths(data)
    lines = text.split("\n")
    assert all(str(path[-1]) in lines[line - 1] for path, line in found.items() if isinstance(path[-1], str) and path[-1] not in "tp")
