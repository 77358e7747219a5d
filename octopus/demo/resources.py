"""Resources of agents and tasks, as Mesos adds them up and writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

PortRange = tuple[int, int]


def port_ranges(ports: Iterable[int]) -> tuple[PortRange, ...]:
    """Return the ranges (first, last) that hold exactly these ports, ascending."""
    ranges: list[PortRange] = []
    for port in sorted(set(ports)):
        if ranges and ranges[-1][1] == port - 1:
            ranges[-1] = (ranges[-1][0], port)
        else:
            ranges.append((port, port))
    return tuple(ranges)


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount: cpus in cores, mem and disk in MiB, ports as ranges (first, last)."""

    cpus: float = 0.0
    mem: float = 0.0
    disk: float = 0.0
    gpus: float = 0.0
    ports: tuple[PortRange, ...] = ()

    @classmethod
    def total(cls, parts: Iterable[Resources]) -> Resources:
        """Return the sum, scalars rounded to three decimals as Mesos does."""
        cpus = mem = disk = gpus = 0.0
        ports: set[int] = set()
        for part in parts:
            cpus, mem, disk, gpus = cpus + part.cpus, mem + part.mem, disk + part.disk, gpus + part.gpus
            ports.update(part.each_port())
        return cls(round(cpus, 3), round(mem, 3), round(disk, 3), round(gpus, 3), port_ranges(ports))

    def each_port(self) -> Iterable[int]:
        """Yield every port of every range."""
        return (port for first, last in self.ports for port in range(first, last + 1))

    def v0(self, *, gpus: bool) -> dict[str, Any]:
        """Return the object of the v0 endpoints: scalars always, ``ports`` as text when there are any; gpus since 1.0."""
        shown: dict[str, Any] = {"disk": float(self.disk), "mem": float(self.mem)}
        if gpus:
            shown["gpus"] = float(self.gpus)
        shown["cpus"] = float(self.cpus)
        if self.ports:
            shown["ports"] = "[" + ", ".join(f"{first}-{last}" for first, last in self.ports) + "]"
        return shown

    def v1(self, **extra: Any) -> list[dict[str, Any]]:
        """Return the list of Resource messages; ``extra`` (role, allocation_info) goes into each."""
        scalars = {"cpus": self.cpus, "mem": self.mem, "disk": self.disk, "gpus": self.gpus}
        shown: list[dict[str, Any]] = [
            {"name": name, "type": "SCALAR", "scalar": {"value": float(value)}, **extra} for name, value in scalars.items() if value
        ]
        if self.ports:
            ranges = [{"begin": first, "end": last} for first, last in self.ports]
            shown.append({"name": "ports", "type": "RANGES", "ranges": {"range": ranges}, **extra})
        return shown
