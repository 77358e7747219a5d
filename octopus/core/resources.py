"""Amounts of what Mesos hands out, as whole numbers: Mesos itself keeps three decimals (``src/common/values.cpp``, 1.0).

Sums of floats would make 0.1 not fit into 0.09999999; thousandths add up.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

Ranges = tuple[tuple[int, int], ...]
"""Ports: sorted ranges that do not touch, both ends included."""

Attribute = str | float
"""An agent's attribute: a number is a SCALAR; text is TEXT, RANGES ``[a-b, c-d]`` or SET ``{a, b}``, told apart by the brackets."""

UNRESERVED = "*"
"""The role of what is reserved for nobody."""

SCALARS = ("cpus", "mem", "disk", "gpus")
MOST = 10**15
"""More thousandths than any machine has; sums of them stay exact."""


class Amounts(msgspec.Struct, frozen=True, gc=False):
    """CPUs, GPUs, MB of memory and of disk, each in thousandths and never below 0, and ports."""

    cpus: int = 0
    mem: int = 0
    disk: int = 0
    gpus: int = 0
    ports: Ranges = ()

    def __add__(self, other: Amounts) -> Amounts:
        """Return both together; a port in both counts once."""
        return Amounts(
            self.cpus + other.cpus,
            self.mem + other.mem,
            self.disk + other.disk,
            self.gpus + other.gpus,
            united(self.ports, other.ports) if other.ports else self.ports,
        )

    def __sub__(self, other: Amounts) -> Amounts:
        """Return what is left, nothing where ``other`` is more."""
        return Amounts(
            max(0, self.cpus - other.cpus),
            max(0, self.mem - other.mem),
            max(0, self.disk - other.disk),
            max(0, self.gpus - other.gpus),
            without(self.ports, other.ports) if other.ports else self.ports,
        )

    def times(self, count: int) -> Amounts:
        """Return the scalars ``count`` times; ports are no scalar and are left out."""
        return Amounts(self.cpus * count, self.mem * count, self.disk * count, self.gpus * count)

    def least(self, other: Amounts) -> Amounts:
        """Return the smaller of each scalar; the ports of this one."""
        return Amounts(
            min(self.cpus, other.cpus), min(self.mem, other.mem), min(self.disk, other.disk), min(self.gpus, other.gpus), self.ports
        )


NOTHING = Amounts()


def milli(value: float) -> int:
    """Return thousandths, at least one for what is above 0, at most MOST; 0 for what is not above 0."""
    if not value > 0:
        return 0
    return MOST if value >= MOST / 1000 else max(1, round(value * 1000))


def shown(thousandths: int) -> str:
    """Return an amount as people write it: ``0.5``, ``98.89``, ``1024``."""
    whole, part = divmod(thousandths, 1000)
    return f"{whole}.{part:03d}".rstrip("0") if part else str(whole)


def total(amounts: Iterable[Amounts]) -> Amounts:
    """Return all together, without ports: they are of different hosts."""
    cpus = mem = disk = gpus = 0
    for each in amounts:
        cpus, mem, disk, gpus = cpus + each.cpus, mem + each.mem, disk + each.disk, gpus + each.gpus
    return Amounts(cpus, mem, disk, gpus)


def ranges(parts: Iterable[tuple[int, int]]) -> Ranges:
    """Return ranges in order, those that touch as one; what is no port is left out."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted((max(begin, 0), min(end, 65535)) for begin, end in parts):
        if begin > end:
            continue
        if found and begin <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return tuple(found)


def united(one: Ranges, other: Ranges) -> Ranges:
    """Return the ports in either."""
    return ranges((*one, *other))


def without(these: Ranges, taken: Ranges) -> Ranges:
    """Return the ports of ``these`` that are not in ``taken``."""
    left: list[tuple[int, int]] = []
    for begin, end in these:
        for low, high in taken:
            if high < begin or low > end:
                continue
            if low > begin:
                left.append((begin, low - 1))
            begin = high + 1
        if begin <= end:
            left.append((begin, end))
    return tuple(left)


def count(these: Ranges) -> int:
    """Return how many ports there are."""
    found = 0
    for begin, end in these:
        found += end - begin + 1
    return found


def holds(these: Ranges, port: int) -> bool:
    """Tell whether a port is among them."""
    return any(begin <= port <= end for begin, end in these)


def lowest(these: Ranges, wanted: int) -> Ranges:
    """Return the lowest ``wanted`` ports; all of them where there are fewer."""
    found: list[tuple[int, int]] = []
    for begin, end in these:
        if wanted <= 0:
            break
        last = min(end, begin + wanted - 1)
        found.append((begin, last))
        wanted -= last - begin + 1
    return tuple(found)
