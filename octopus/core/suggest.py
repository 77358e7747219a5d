"""What somebody may have meant: the names nearest to the one typed."""

from __future__ import annotations

from collections.abc import Iterable

MIN_PART = 3
"""Characters a part of a name must have before every name that contains it is near."""


def nearest(typed: str, names: Iterable[str]) -> list[str]:
    """Return the names within one or two slips of the pen (one up to four characters), then those that contain ``typed``; best first.

    A slip is a character too many, too few, wrong, or two swapped (optimal string alignment distance). About 1 µs a name.
    """
    limit = 1 if len(typed) <= 4 else 2
    letters = frozenset(typed)
    found: list[tuple[int, int, str]] = []
    for name in names:
        if len(typed) >= MIN_PART and typed in name:
            found.append((limit + 1, len(name), name))
        elif abs(len(name) - len(typed)) <= limit and _letters_near(letters, name, limit):
            away = distance(typed, name, limit)
            if away <= limit:
                found.append((away, len(name), name))
    return [name for _, _, name in sorted(found)]


def _letters_near(letters: frozenset[str], name: str, limit: int) -> bool:
    """Whether the letters alone allow it: each slip brings at most one letter in and takes one out. Much cheaper than the distance."""
    other = set(name)
    return len(other - letters) <= limit and len(letters - other) <= limit


def distance(one: str, two: str, limit: int) -> int:
    """Return the optimal string alignment distance, or ``limit + 1`` when it is more; only that near the diagonal is computed."""
    far = limit + 1
    before: list[int] = []
    last = [min(j, far) for j in range(len(two) + 1)]
    for i, char in enumerate(one, 1):
        row = [far] * (len(two) + 1)
        row[0] = min(i, far)
        for j in range(max(1, i - limit), min(len(two), i + limit) + 1):
            row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (char != two[j - 1]))
            if i > 1 and j > 1 and char == two[j - 2] and one[i - 2] == two[j - 1]:
                row[j] = min(row[j], before[j - 2] + 1)
        if min(row) > limit and min(last) > limit:
            return far
        before, last = last, row
    return min(last[-1], far)
