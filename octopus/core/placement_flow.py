"""The largest number of instances under caps on the values of two fields that cross: a maximum flow (Ford and Fulkerson)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from octopus.core.placement_constraints import Value

Cell = tuple[Value, Value]
Cap = Callable[[Value], int]


def most_flow(cells: Iterable[tuple[Value, Value, int]], left: Cap, right: Cap) -> int:
    """Return how many fit, where ``cells`` says how many there is room for with one value of each field."""
    room: dict[Cell, int] = {}
    for one, other, most in cells:
        room[one, other] = room.get((one, other), 0) + most
    flow = dict.fromkeys(room, 0)
    sent = {one: left(one) for one, _ in room}
    taken = {other: right(other) for _, other in room}
    for one, other in room:
        _push(flow, sent, taken, [(one, other)], min(room[one, other], sent[one], taken[other]))
    while path := _path(room, flow, sent, taken):
        steps = [room[cell] - flow[cell] if at % 2 == 0 else flow[cell] for at, cell in enumerate(path)]
        _push(flow, sent, taken, path, min(*steps, sent[path[0][0]], taken[path[-1][1]]))
    return sum(flow.values())


def _push(flow: dict[Cell, int], sent: dict[Value, int], taken: dict[Value, int], path: list[Cell], amount: int) -> None:
    for at, cell in enumerate(path):
        flow[cell] += amount if at % 2 == 0 else -amount
    sent[path[0][0]] -= amount
    taken[path[-1][1]] -= amount


def _path(room: dict[Cell, int], flow: dict[Cell, int], sent: dict[Value, int], taken: dict[Value, int]) -> list[Cell]:
    """Return cells to add to and to take from in turn, from a value that may send to one that may take; [] when there is none."""
    by_one: dict[Value, list[Cell]] = {}
    by_other: dict[Value, list[Cell]] = {}
    for cell in room:
        by_one.setdefault(cell[0], []).append(cell)
        by_other.setdefault(cell[1], []).append(cell)
    reached: dict[Value, list[Cell]] = {one: [] for one, left in sent.items() if left}
    waiting = list(reached)
    seen: set[Value] = set()
    for one in waiting:
        for cell in by_one[one]:
            if cell[1] in seen or room[cell] == flow[cell]:
                continue
            seen.add(cell[1])
            path = [*reached[one], cell]
            if taken[cell[1]]:
                return path
            for back in by_other[cell[1]]:
                if flow[back] and back[0] not in reached:
                    reached[back[0]] = [*path, back]
                    waiting.append(back[0])
    return []
