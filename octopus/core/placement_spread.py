"""Puts instances on offers one by one, under caps, shared values and even groups: one run of what Marathon may do.

Marathon takes the first offer that fits, in the order in which they come (``core/matcher/manager``), which nobody can know. This run is
one of those possible, the same each time: the group with the fewest instances first, in it the offer that still holds most.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from octopus.core.placement_constraints import Groups, Reading, Value


class Board:
    """What is placed so far. Offers are named by their index in ``room``, which says how many more each holds.

    ``target`` is the number of instances in all that GROUP_BY of 1.11 divides by the number of groups, 0 before.
    """

    def __init__(self, room: Sequence[int], reading: Reading, target: int = 0) -> None:
        self.room = [0 if refused else most for most, refused in zip(room, reading.refused, strict=True)]
        self.counts = [0] * len(self.room)
        self._reading = reading
        self._target = target
        self._left = [dict(caps.left) for caps in reading.caps]
        self._groups = [dict(groups.placed) for groups in reading.groups]
        self._shared: list[Value] = [None if shared.open else next(iter(shared.allowed), None) for shared in reading.shared]

    def accepts(self, at: int) -> bool:
        """Whether an offer takes one more now."""
        return self.room[at] > 0 and not self.blocked(at)

    def blocked(self, at: int) -> str:
        """Return which kind of constraint keeps one more from an offer now, "" for none."""
        for caps, left in zip(self._reading.caps, self._left, strict=True):
            if left.get(caps.values[at], caps.most) <= 0:
                return "cap"
        for shared, value in zip(self._reading.shared, self._shared, strict=True):
            if not (shared.open and value is None) and shared.values[at] != value:
                return "shared"
        for groups, counts in zip(self._reading.groups, self._groups, strict=True):
            if not even(groups, counts, groups.values[at], self._target):
                return "group"
        return ""

    def put(self, at: int) -> None:
        """Place one instance on an offer."""
        self.room[at] -= 1
        self.counts[at] += 1
        for caps, left in zip(self._reading.caps, self._left, strict=True):
            left[caps.values[at]] = left.get(caps.values[at], caps.most) - 1
        for number, shared in enumerate(self._reading.shared):
            self._shared[number] = shared.values[at]
        for groups, counts in zip(self._reading.groups, self._groups, strict=True):
            counts[groups.values[at]] = counts.get(groups.values[at], 0) + 1

    def spread(self, asked: int) -> int:
        """Place up to ``asked`` instances and return how many found a place."""
        first = self._groups[0] if self._groups else {}
        values = self._reading.groups[0].values if self._groups else (None,) * len(self.room)
        members: dict[Value, list[tuple[int, int]]] = {}
        for at, most in enumerate(self.room):
            if most > 0:
                members.setdefault(values[at], []).append((-most, at))
        for heap in members.values():
            heapq.heapify(heap)
        order = [(first.get(value, 0), heap[0], value) for value, heap in members.items()]
        heapq.heapify(order)
        placed = 0
        while order and placed < asked:
            _, _, value = heapq.heappop(order)
            heap = members[value]
            if self._one_of(heap):
                placed += 1
            if heap:
                heapq.heappush(order, (first.get(value, 0), heap[0], value))
        return placed

    def _one_of(self, heap: list[tuple[int, int]]) -> bool:
        """Place one on the first offer of a heap, or drop that offer: what it refuses now it will refuse later, too."""
        _, at = heapq.heappop(heap)
        if not self.accepts(at):
            return False
        self.put(at)
        if self.room[at] > 0:
            heapq.heappush(heap, (-self.room[at], at))
        return True


def even(groups: Groups, counts: dict[Value, int], value: Value, target: int) -> bool:
    """Whether GROUP_BY lets one more go to a group (``mesos/Constraints.scala``, checkGroupBy; ``target`` 0: before 1.11).

    Before: a new group always; else only the smallest, once there are as many groups as wanted. 1.11: the target divided by the
    number of groups for each, the remainder one by one; no number of groups is a division by zero, and nothing is placed.
    """
    if not target:
        return value not in counts or (len(counts) >= groups.wanted and counts[value] == min(counts.values()))
    if not groups.wanted:
        return False
    if value not in counts:
        return len(counts) < groups.wanted
    each, rest = divmod(target, groups.wanted)
    if counts[value] != each:
        return counts[value] < each
    return rest > sum(max(0, count - each) for count in counts.values())
