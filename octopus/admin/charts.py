"""Pictures of the pages, worked out here and drawn as SVG: they need neither script nor style of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 300
MOST_DOTS = 600
"""Agents with a dot of their own; beyond that those near one another share one."""
CELLS = 48


@dataclass(frozen=True)
class Part:
    """One stretch of a bar, in hundredths of it: ``kind`` is the class it is drawn in."""

    kind: str
    begin: float
    width: float


@dataclass(frozen=True)
class Dot:
    """One agent, or several that are near one another; in the picture's units, from its upper left corner."""

    x: float
    y: float
    radius: float
    title: str


@dataclass(frozen=True)
class Scatter:
    """Free CPU to the right against free memory upwards."""

    dots: tuple[Dot, ...]
    cpus: int
    mem: int


def bar(total: int, parts: Sequence[tuple[str, int]]) -> list[Part]:
    """Return the parts of ``total`` one after the other; what they leave is the ground."""
    found, begin = [], 0.0
    for kind, amount in parts:
        width = max(0.0, min(100.0 - begin, 100.0 * amount / total)) if total else 0.0
        if width:
            found.append(Part(kind=kind, begin=round(begin, 2), width=round(width, 2)))
            begin += width
    return found


def scatter(agents: Sequence[tuple[str, int, int]]) -> Scatter:
    """Return the picture of agents: host name, free CPU, free memory (thousandths)."""
    cpus = max((cpu for _, cpu, _ in agents), default=0)
    mem = max((mem for _, _, mem in agents), default=0)
    places = [(name, _part(cpu, cpus), _part(free, mem)) for name, cpu, free in agents]
    dots = _each(places) if len(places) <= MOST_DOTS else _together(places)
    return Scatter(dots=tuple(dots), cpus=cpus, mem=mem)


def line(values: Sequence[float], *, width: int = WIDTH, height: int = 80) -> str:
    """Return the points of a line through values from 0 to 1, evenly spaced."""
    if len(values) < 2:
        return ""
    step = width / (len(values) - 1)
    return " ".join(f"{at * step:.1f},{height - max(0.0, min(1.0, value)) * height:.1f}" for at, value in enumerate(values))


def _part(amount: int, most: int) -> float:
    return amount / most if most else 0.0


def _each(places: Iterable[tuple[str, float, float]]) -> list[Dot]:
    return [Dot(x=round(x * WIDTH, 1), y=round((1 - y) * HEIGHT, 1), radius=5, title=name) for name, x, y in places]


def _together(places: Iterable[tuple[str, float, float]]) -> list[Dot]:
    cells = Counter((min(CELLS - 1, int(x * CELLS)), min(CELLS - 1, int(y * CELLS))) for _, x, y in places)
    most = max(cells.values())
    return [
        Dot(
            x=round((x + 0.5) / CELLS * WIDTH, 1),
            y=round((1 - (y + 0.5) / CELLS) * HEIGHT, 1),
            radius=round(2 + 6 * (number / most) ** 0.5, 1),
            title=str(number),
        )
        for (x, y), number in sorted(cells.items())
    ]
