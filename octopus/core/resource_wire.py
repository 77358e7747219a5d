"""Resources, attributes and fault domains as Mesos writes them, in v0 and v1, read into our values.

v0: objects of name and number, ports as text (``src/common/http.cpp``, ``model(Resources)``). v1, and the ``*_full`` lists of v0
from 0.28 on: lists of the protobuf ``Resource``. Revocable resources count for nothing: Marathon takes none.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from octopus.core.resources import NOTHING, UNRESERVED, Amounts, Attribute, milli, ranges
from octopus.core.wire import Label, PortRange, port_ranges

APART = ""
"""Whose a volume is, a disk of its own, or what is kept for one instance: no role's, so that no framework is taken to see it."""

MARATHON_LABELS = frozenset({"marathon_framework_id", "marathon_task_id"})
"""A reservation with such a label belongs to one instance of a resident app, and to no other."""


class V0Resources(msgspec.Struct, gc=False):
    """Resources by name; custom ones are nothing to Marathon."""

    cpus: float = 0.0
    mem: float = 0.0
    disk: float = 0.0
    gpus: float = 0.0
    ports: str = ""

    def amounts(self, *, ports: bool = True) -> Amounts:
        """Return them as whole numbers, with or without ports."""
        parts = [(each.begin, each.end) for each in port_ranges(self.ports)] if ports else []
        return Amounts(milli(self.cpus), milli(self.mem), milli(self.disk), milli(self.gpus), ranges(parts))


class _Scalar(msgspec.Struct, gc=False):
    value: float = 0.0


class _Text(msgspec.Struct, gc=False):
    value: str = ""


class _RangeList(msgspec.Struct):
    range: list[PortRange] = []


class _Set(msgspec.Struct):
    item: list[str] = []


class _Labels(msgspec.Struct):
    labels: list[Label] = []


class _Reservation(msgspec.Struct):
    role: str = ""
    labels: _Labels | None = None


class _Disk(msgspec.Struct):
    source: dict[str, object] | None = None
    persistence: dict[str, object] | None = None


class Resource(msgspec.Struct):
    """One entry of a list of resources; the last of ``reservations`` is the one that counts (1.4, refined reservations)."""

    name: str = ""
    scalar: _Scalar | None = None
    ranges: _RangeList | None = None
    role: str = UNRESERVED
    reservation: _Reservation | None = None
    reservations: list[_Reservation] = []
    revocable: dict[str, object] | None = None
    disk: _Disk | None = None

    @property
    def owner(self) -> str:
        """The role it is reserved for, ``*`` for none."""
        return (self.reservations[-1].role if self.reservations else self.role) or UNRESERVED

    @property
    def plain(self) -> bool:
        """Whether it is nobody's and usable by all, told at a glance: nearly all of 100,000 tasks' resources are."""
        return self.role == UNRESERVED and self.disk is None and self.reservation is None and not self.reservations

    @property
    def taken_apart(self) -> bool:
        """Whether an app without volumes cannot use it: a volume, a disk of its own, or kept for one resident instance."""
        held = [*self.reservations, *([self.reservation] if self.reservation else [])]
        labels = {label.key for each in held if each.labels for label in each.labels.labels}
        volume = self.disk is not None and (self.disk.source is not None or self.disk.persistence is not None)
        return volume or not MARATHON_LABELS.isdisjoint(labels)

    def amounts(self) -> Amounts:
        """Return it as whole numbers."""
        value = milli(self.scalar.value) if self.scalar else 0
        parts = ranges((each.begin, each.end) for each in self.ranges.range) if self.ranges else ()
        named = {"cpus": Amounts(cpus=value), "mem": Amounts(mem=value), "disk": Amounts(disk=value), "gpus": Amounts(gpus=value)}
        return Amounts(ports=parts) if self.name == "ports" else named.get(self.name, NOTHING)


def by_role(resources: Iterable[Resource], *, apart: bool = True) -> dict[str, Amounts]:
    """Return what there is for each role, ``*`` for all; under APART, unless not ``apart``, what an app without volumes cannot use."""
    found: dict[str, Amounts] = {}
    for each in resources:
        if each.revocable is None:
            owner = APART if apart and each.taken_apart else each.owner
            found[owner] = found.get(owner, NOTHING) + each.amounts()
    return found


def kept(resources: Iterable[Resource], *, apart: bool = True) -> dict[str, Amounts]:
    """Return the same but for what is nobody's."""
    found = by_role((each for each in resources if not each.plain), apart=apart)
    return {role: each for role, each in found.items() if role != UNRESERVED and each != NOTHING}


def in_all(resources: Iterable[Resource]) -> Amounts:
    """Return what there is, of whatever role and kind."""
    found = NOTHING
    for each in resources:
        if each.revocable is None:
            found += each.amounts()
    return found


class V1Attribute(msgspec.Struct):
    """An attribute of an agent, of one of the four types."""

    name: str
    scalar: _Scalar | None = None
    text: _Text | None = None
    ranges: _RangeList | None = None
    set: _Set | None = None

    def value(self) -> Attribute:
        """Return it as v0 writes it."""
        if self.scalar is not None:
            return self.scalar.value
        if self.ranges is not None:
            return "[" + ", ".join(f"{each.begin}-{each.end}" for each in self.ranges.range) + "]"
        if self.set is not None:
            return "{" + ", ".join(self.set.item) + "}"
        return self.text.value if self.text else ""


def attributes(listed: Iterable[V1Attribute]) -> dict[str, Attribute]:
    """Return attributes by name; of two of one name the first, as Marathon reads them."""
    found: dict[str, Attribute] = {}
    for each in listed:
        found.setdefault(each.name, each.value())
    return found


class _Named(msgspec.Struct):
    name: str = ""


class _FaultDomain(msgspec.Struct):
    region: _Named = msgspec.field(default_factory=_Named)
    zone: _Named = msgspec.field(default_factory=_Named)


class Domain(msgspec.Struct):
    """Where an agent or a master is (1.4)."""

    fault_domain: _FaultDomain = msgspec.field(default_factory=_FaultDomain)

    @property
    def region(self) -> str:
        """Name of the region."""
        return self.fault_domain.region.name

    @property
    def zone(self) -> str:
        """Name of the zone."""
        return self.fault_domain.zone.name


class DrainState(msgspec.Struct):
    """How far an agent's draining is (1.9): DRAINING or DRAINED."""

    state: str = ""
