"""In how many ways a pattern could be tried on a name: where none fits Python tries all, and nobody else runs meanwhile. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import comb
from typing import Any, NamedTuple

NAME = 64
"""Characters of the name for which ways are counted."""
MOST_REPEATED = 9
"""Times that a group may be repeated in which there is something to choose."""
_MANY = 10**12
_STRETCHES = NAME // 2


class _Ways(NamedTuple):
    """``stretches`` may end at any place, each besides the others; ``choices`` are those of everything else."""

    stretches: int
    choices: int


_ONE = _Ways(0, 1)


def ways(text: str) -> float:
    """Return about how many there are, infinity where that has no end. Raise re.error, OverflowError, RecursionError."""
    found = _of(re._parser.parse(text))  # type: ignore[attr-defined]
    return float("inf") if found is None else float(comb(NAME, found.stretches) * found.choices)


def _of(items: Iterable[tuple[Any, Any]]) -> _Ways | None:
    """Return the ways of parts one after another, None for no end."""
    found = _ONE
    for kind, argument in items:
        one = _part(repr(kind), argument)
        if one is None:
            return None
        found = _Ways(min(found.stretches + one.stretches, _STRETCHES), min(found.choices * one.choices, _MANY))
    return found


def _part(kind: str, argument: Any) -> _Ways | None:
    match kind:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return _repeated(*argument)
        case "SUBPATTERN" | "ASSERT" | "ASSERT_NOT":
            return _of(argument[-1])
        case "ATOMIC_GROUP":
            return _of(argument)
        case "BRANCH":
            return _either(argument[1])
        case "GROUPREF_EXISTS":
            return None
    return _ONE


def _repeated(low: int, high: int, items: Iterable[tuple[Any, Any]]) -> _Ways | None:
    inner = _of(items)
    if inner == _ONE:
        return _ONE if low == high else _Ways(0, 2) if high - low == 1 else _Ways(1, 1)
    if inner is None or high > MOST_REPEATED:
        return None
    return _Ways(min(inner.stretches * high, _STRETCHES), min(inner.choices**high * (high - low + 1), _MANY))


def _either(branches: Iterable[Iterable[tuple[Any, Any]]]) -> _Ways | None:
    found = [_of(branch) for branch in branches]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    return _Ways(max(one.stretches for one in known), min(sum(one.choices for one in known), _MANY))
