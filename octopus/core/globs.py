"""Globs over app ids: ``*`` and ``?`` within one path element, ``**`` over any number of them.

Anchored at both ends and case-sensitive. ``/a/**`` is everything below ``/a`` and not ``/a`` itself; ``/a/**/b`` fits ``/a/b`` too.
Matching takes time in the product of the two lengths at worst, whatever the glob is: nothing backtracks further than one star.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

MAX_GLOB = 512
"""Characters of a glob."""
_RESERVED = frozenset("[]{}!\\")


@dataclass(frozen=True, slots=True)
class Glob:
    """One glob, read once. The leading ``/`` may be left out, as in the name of a plain Docker container.

    Raise ValueError, with what is wrong, for a text that is no glob.
    """

    text: str
    _elements: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _literal: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Split into elements and refuse what would match something else than it seems to."""
        elements = tuple(self.text.removeprefix("/").split("/"))
        if not self.text or len(self.text) > MAX_GLOB:
            raise ValueError(f"a glob has 1 to {MAX_GLOB} characters")
        if not self.text.isprintable() or _RESERVED & set(self.text):
            raise ValueError("of special signs a glob knows '*', '**' and '?' only")
        if "" in elements:
            raise ValueError("an element between two '/' is empty")
        if any("**" in element and element != "**" for element in elements):
            raise ValueError("'**' stands alone between two '/'")
        below = ("*", "**") if elements[-1] == "**" else elements[-1:]
        object.__setattr__(self, "_elements", elements[:-1] + below)
        object.__setattr__(self, "_literal", re.split(r"[*?]", "/".join(elements), maxsplit=1)[0])

    def matches(self, app: str) -> bool:
        """Tell whether the app id, or container name, fits. The unknown app ``""`` fits nothing."""
        path = app.removeprefix("/")
        # Most globs begin with a path of their own: this answers for nearly all apps, and a picker asks about thousands.
        if not path.startswith(self._literal):
            return False
        elements = path.split("/")
        return "" not in elements and _fits(self._elements, elements, "**", _element_fits)

    def may_match_below(self, app: str) -> bool:
        """Tell whether something below that path could fit: the glob, cut short, fits the path. ``/`` is above everything."""
        return any(place < len(self._elements) for place in self._places(app))

    def matches_all_below(self, app: str) -> bool:
        """Tell whether everything below that path fits, so far as the glob's end says so: it ends with ``**``."""
        return any(self._elements[place:] in (("*", "**"), ("**",)) for place in self._places(app))

    def _places(self, app: str) -> set[int]:
        """Return the places of the glob where one may stand after that path."""
        places = {0}
        for element in filter(None, app.split("/")):
            places = {after for place in places for after in self._after(place, element)}
        return places

    def _after(self, place: int, element: str) -> Iterator[int]:
        """Yield the places of the glob where one may stand after ``element``, coming from ``place``."""
        if place == len(self._elements):
            return
        if self._elements[place] == "**":
            yield place
            yield from self._after(place + 1, element)
        elif _element_fits(self._elements[place], element):
            yield place + 1


def _element_fits(pattern: str, element: str) -> bool:
    return pattern == element or _fits(pattern, element, "*", lambda sign, char: sign in ("?", char))


def _fits(pattern: Sequence[str], items: Sequence[str], star: str, one_fits: Callable[[str, str], bool]) -> bool:
    """Match items one by one; at a mismatch let the last star passed take one more item."""
    at = place = resume = 0
    after_star = -1
    while at < len(items):
        if place < len(pattern) and pattern[place] == star:
            after_star, resume = place + 1, at
            place += 1
        elif place < len(pattern) and one_fits(pattern[place], items[at]):
            at, place = at + 1, place + 1
        elif after_star >= 0:
            resume += 1
            at, place = resume, after_star
        else:
            return False
    return all(sign == star for sign in pattern[place:])
