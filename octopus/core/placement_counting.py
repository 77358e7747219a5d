"""How many instances find a place, whatever the order of offers: exact bounds where there are such, honest ones elsewhere.

Any order that only stops when nothing more fits ends with the same number while the sets that are capped lie within each other (hosts
within racks): such sets form a matroid, whose maximal sets are of one size. Two fields that cross make a flow for the most, and at
least half of it. GROUP_BY and CLUSTER without a value depend on who comes first; their bounds are worked out beside each rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from octopus.core.placement_constraints import Caps, Groups, Reading, Shared, Value
from octopus.core.placement_flow import most_flow
from octopus.core.placement_spread import Board

Unit = tuple[int, int]
"""How many instances a set of offers takes, and one of the offers, which stands for it."""


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """At least and at most so many. ``exact``: both are reached by some order of offers."""

    least: int
    most: int
    exact: bool = True

    def within(self, asked: int | None) -> Count:
        """Return the same for at most ``asked`` instances, None for any number."""
        if asked is None:
            return self
        return Count(least=min(self.least, asked), most=min(self.most, asked), exact=self.exact or self.least >= asked)


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: ``asked`` more, None for as many as will do, beside ``current``; ``by_target`` is GROUP_BY of 1.11."""

    current: int = 0
    asked: int | None = None
    by_target: bool = False


def count(room: Sequence[int], reading: Reading, goal: Goal) -> Count:
    """Return how many instances find a place. ``room`` is how many each offer holds by itself."""
    free = [0 if refused else most for most, refused in zip(room, reading.refused, strict=True)]
    if reading.shared:
        return _shared(free, reading, goal)
    if not reading.groups:
        return _capped([(most, at) for at, most in enumerate(free) if most > 0], reading, goal).within(goal.asked)
    if len(reading.groups) == 1 and all(_refines(caps.values, reading.groups[0].values, _alive(free)) for caps in reading.caps):
        return _grouped(free, reading, goal).within(goal.asked)
    return _loosely(free, reading, goal).within(goal.asked)


def _alive(free: Sequence[int]) -> list[Unit]:
    return [(most, at) for at, most in enumerate(free) if most > 0]


def _shared(free: Sequence[int], reading: Reading, goal: Goal) -> Count:
    """Count under CLUSTER without a value: the value of who comes first is everybody's."""
    shared, rest = reading.shared[0], msgspec.structs.replace(reading, shared=reading.shared[1:])
    values = _choices(shared, free)
    counts = [count([most if shared.values[at] == value else 0 for at, most in enumerate(free)], rest, goal) for value in values]
    if shared.open:
        counts = [each for each in counts if each.most]
    if not counts:
        return Count(least=0, most=0)
    return Count(least=min(each.least for each in counts), most=max(each.most for each in counts), exact=all(each.exact for each in counts))


def _choices(shared: Shared, free: Sequence[int]) -> list[Value]:
    return list(dict.fromkeys(shared.values[at] for _, at in _alive(free))) if shared.open else list(shared.allowed)


def _refines(fine: Sequence[Value], coarse: Sequence[Value], units: Sequence[Unit]) -> bool:
    """Whether offers that have the same value of one field have the same of the other."""
    known: dict[Value, Value] = {}
    return all(known.setdefault(fine[at], coarse[at]) == coarse[at] for _, at in units)


def _folded(units: Sequence[Unit], caps: Caps) -> list[Unit]:
    """Return one unit for each value, with no more than its cap."""
    sums: dict[Value, Unit] = {}
    for most, at in units:
        value = caps.values[at]
        sums[value] = (sums.get(value, (0, at))[0] + most, at)
    return [(min(most, caps.of(value)), at) for value, (most, at) in sums.items()]


def _capped(units: list[Unit], reading: Reading, goal: Goal) -> Count:
    left = sorted(reading.caps, key=lambda caps: -len({caps.values[at] for _, at in units}))
    while left and all(_refines(left[0].values, other.values, units) for other in left[1:]):
        units = _folded(units, left.pop(0))
    if not left:
        total = sum(most for most, _ in units)
        return Count(least=total, most=total)
    if len(left) == 2:
        total = most_flow([(left[0].values[at], left[1].values[at], most) for most, at in units], left[0].of, left[1].of)
        # A set of two matroids in which nothing more fits is at least half of the largest (Jenkyns 1976).
        return Count(least=-(-total // 2), most=total, exact=total <= 1)
    board = Board([most for most, _ in units], _only_caps(left, [at for _, at in units]))
    found = board.spread(sum(most for most, _ in units))
    most = min(sum(most for most, _ in _folded(units, caps)) for caps in left)
    return Count(least=-(-found // len(left)), most=most, exact=most <= 1)


def _only_caps(caps: Sequence[Caps], at: Sequence[int]) -> Reading:
    narrowed = tuple(msgspec.structs.replace(each, values=tuple(each.values[index] for index in at)) for each in caps)
    return Reading(refused=("",) * len(at), caps=narrowed)


def _grouped(free: Sequence[int], reading: Reading, goal: Goal) -> Count:
    """Count under one GROUP_BY; each other cap lies within a group."""
    groups = reading.groups[0]
    members: dict[Value, list[Unit]] = {}
    for most, at in _alive(free):
        members.setdefault(groups.values[at], []).append((most, at))
    counted = {value: _capped(units, reading, goal) for value, units in members.items()}
    bounds = goal_bounds if goal.by_target else even_bounds
    least, _ = bounds(groups, {value: each.least for value, each in counted.items() if each.least}, goal)
    _, most = bounds(groups, {value: each.most for value, each in counted.items() if each.most}, goal)
    return Count(least=least, most=most, exact=all(each.exact for each in counted.values()))


def even_bounds(groups: Groups, more: dict[Value, int], goal: Goal) -> tuple[int, int]:
    """Return bounds under GROUP_BY before 1.11; ``more`` is how many each group can still take.

    A group may grow only while it is the smallest, so it ends at most one above the smallest group that is full. Least: every group is
    opened first, and the smallest of all is that one. Most: only as many groups as are wanted are opened before any is filled, the
    largest, and the others later, one after the other, from the largest to the smallest.
    """
    placed = groups.placed
    full = {value: count + more.get(value, 0) for value, count in placed.items()}
    new = sorted((each for value, each in more.items() if value not in placed), reverse=True)
    if len(full) + len(new) < max(groups.wanted, 1):
        return len(new), len(new)
    early = max(groups.wanted - len(full), 0 if full else 1)

    def total(level: int) -> int:
        grown = sum(max(0, min(full[value], level + 1) - count) for value, count in placed.items())
        return grown + sum(min(each, level + 1) for each in new)

    return total(min([*full.values(), *new])), total(min([*full.values(), *new[:early]]))


def goal_bounds(groups: Groups, more: dict[Value, int], goal: Goal) -> tuple[int, int]:
    """Return bounds under GROUP_BY of 1.11; without ``goal.asked`` the largest numbers that are reached as a whole."""
    if not groups.wanted:
        return 0, 0
    if goal.asked is not None:
        return _reached(groups, more, goal.current, goal.asked, False), _reached(groups, more, goal.current, goal.asked, True)
    ceiling = sum(more.values())
    least = _largest(ceiling, lambda asked: _reached(groups, more, goal.current, asked, False) == asked)
    most = _largest(ceiling, lambda asked: _reached(groups, more, goal.current, asked, True) == asked)
    return least, most


def _reached(groups: Groups, more: dict[Value, int], current: int, asked: int, best: bool) -> int:
    """Return how many of ``asked`` are placed when the largest (``best``) or the smallest of the new groups come first."""
    each, rest = divmod(current + asked, groups.wanted)
    new = sorted((size for value, size in more.items() if value not in groups.placed), reverse=best)
    opened = [(0, size) for size in new[: max(0, groups.wanted - len(groups.placed))]]
    sizes = [(count, count + more.get(value, 0)) for value, count in groups.placed.items()] + opened
    final = [max(count, min(size, each), 1) for count, size in sizes]
    spare = max(0, rest - sum(max(0, height - each) for height in final))
    growing = sum(height == each < size for height, (_, size) in zip(final, sizes, strict=True))
    return min(asked, sum(final) - sum(groups.placed.values()) + min(spare, growing))


def _largest(ceiling: int, holds: Callable[[int], bool]) -> int:
    """Return the largest number up to ``ceiling`` for which something holds that holds for every smaller one."""
    low, high = 0, ceiling
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _loosely(free: Sequence[int], reading: Reading, goal: Goal) -> Count:
    """Count where rules cross: no more than any one of them alone allows, and one at least where one fits now."""
    alone = [msgspec.structs.replace(reading, caps=(), groups=(each,)) for each in reading.groups]
    without_groups = msgspec.structs.replace(reading, groups=())
    most = min(count(free, each, goal).most for each in (*alone, without_groups))
    target = goal.current + 1 if goal.by_target else 0
    fits = Board(free, reading, target).spread(1)
    return Count(least=min(fits, most), most=most, exact=most <= fits)
