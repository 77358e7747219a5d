"""What a Marathon of a given version and set-up does differently when it places instances.

Each difference is one field of Rules, so that nothing else asks for versions. Files are those of Marathon's own tree, under
``src/main/scala/mesosphere``; a version is the first release that has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from octopus.core.resources import UNRESERVED

_NUMBERS = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,6}))?.*", re.DOTALL)
_NEWEST = (1, 11, 0)
_OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE")
_ALL_OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "MAX_PER", "UNLIKE", "IS")


class Reason(StrEnum):
    """Why an agent takes no instance: Marathon's words in the order in which it names one (``mesos/NoOfferMatchReason.scala``).

    NOT_OFFERED comes first and is ours: what Mesos does not offer, Marathon never gets to refuse.
    """

    NOT_OFFERED = "NotOffered"
    UNFULFILLED_ROLE = "UnfulfilledRole"
    UNFULFILLED_CONSTRAINT = "UnfulfilledConstraint"
    NO_CORRESPONDING_RESERVATION_FOUND = "NoCorrespondingReservationFound"
    AGENT_MAINTENANCE = "AgentMaintenance"
    INSUFFICIENT_CPUS = "InsufficientCpus"
    INSUFFICIENT_MEMORY = "InsufficientMemory"
    INSUFFICIENT_DISK = "InsufficientDisk"
    INSUFFICIENT_GPUS = "InsufficientGpus"
    INSUFFICIENT_PORTS = "InsufficientPorts"
    DECLINED_SCARCE_RESOURCES = "DeclinedScarceResources"


class Entries(StrEnum):
    """How resources of several roles count together (``mesos/ResourceMatcher.scala``)."""

    ANY = "0.8: an entry of any role must hold the whole need; no role can be chosen, and disk is looked at but not used up"
    ONE = "0.9: the largest entry of an accepted role must hold the whole need"
    SUMMED = "1.1: entries of accepted roles count together"


class Text(StrEnum):
    """How attributes that are no text are compared (``mesos/Constraints.scala``, getValueString)."""

    EMPTY = "0.8: scalars, ranges and sets are all the empty text"
    GROUPED = "1.2: a number as the locale writes it, 1,024"
    PLAIN = "1.6.322: a number with at most three decimals, 1024"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Marathon's behaviour; the defaults are those of 1.11. Made by ``rules_of``.

    ``role`` is the framework's role, ``app_roles`` what its apps have of their own from 1.9 on, ``features`` what it was started with,
    None where it does not say.
    """

    version: tuple[int, int, int] = _NEWEST
    role: str = UNRESERVED
    app_roles: frozenset[str] = frozenset()
    features: frozenset[str] | None = None
    default_roles: frozenset[str] | None = None
    operators: tuple[str, ...] = _ALL_OPERATORS
    entries: Entries = Entries.SUMMED
    text: Text = Text.PLAIN
    any_case: bool = True
    empty_values: bool = False
    values_checked: bool = True
    at_fields: bool = True
    zone_field: str = "@zone"
    cluster_all: bool = False
    empty_pattern_matches_empty_host: bool = False
    max_per_by_host: bool = False
    group_by_target: bool = True
    only_current_configuration: bool = True
    without_lost: bool = True
    contiguous_ports: bool = False
    local_region: bool = True
    maintenance: bool = True
    gpus: bool = True
    gpus_kept: bool = True
    spare_unless_killing: bool = False

    @property
    def visible_roles(self) -> frozenset[str]:
        """The roles whose resources Mesos offers it."""
        return self.app_roles | {self.role, UNRESERVED}

    def own_roles(self, role: str = "") -> frozenset[str]:
        """Return the roles of which an app may have resources at all; ``role`` is its own, "" the framework's."""
        return frozenset({role or self.role, UNRESERVED})

    def accepted_roles(self, asked: Iterable[str], role: str = "") -> frozenset[str]:
        """Return the roles whose resources an app gets that asks for these; none asked: the default. Before 0.9 all it sees."""
        own = self.own_roles(role)
        if self.entries is Entries.ANY:
            return own
        return (frozenset(asked) or self.default_roles or own) & own


def version_of(text: str) -> tuple[int, int, int]:
    """Return a version's numbers; what cannot be read is taken as the newest."""
    found = _NUMBERS.fullmatch(text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else _NEWEST


def rules_of(
    version: str = "",
    *,
    role: str = UNRESERVED,
    features: Iterable[str] | None = None,
    default_roles: Iterable[str] = (),
    maintenance: bool | None = None,
) -> Rules:
    """Return what a Marathon of ``version`` does. ``maintenance`` is what it says of ``--maintenance_mode`` (1.7), None for nothing."""
    numbers = version_of(version)
    since = numbers.__ge__
    known = None if features is None else frozenset(features)
    operators = _ALL_OPERATORS if since((1, 6, 322)) else _ALL_OPERATORS[:-1] if since((1, 3, 0)) else _OPERATORS
    asked_for = known is not None and "maintenance_mode" in known
    return Rules(
        version=numbers,
        role=role or UNRESERVED,
        features=known,
        default_roles=frozenset(default_roles) or None,
        operators=operators,
        entries=Entries.SUMMED if since((1, 1, 0)) else Entries.ONE if since((0, 9, 0)) else Entries.ANY,
        text=Text.PLAIN if since((1, 6, 322)) else Text.GROUPED if since((1, 2, 0)) else Text.EMPTY,
        any_case=not (0, 9, 0) <= numbers < (1, 5, 0),
        empty_values=not since((1, 5, 0)),
        values_checked=since((1, 3, 0)),
        at_fields=since((1, 6, 0)),
        zone_field="@zone" if since((1, 6, 322)) else "@field",
        cluster_all=not since((1, 6, 0)),
        empty_pattern_matches_empty_host=not since((1, 6, 0)),
        max_per_by_host=(1, 3, 0) <= numbers < (1, 4, 4),
        group_by_target=since((1, 11, 0)),
        only_current_configuration=since((1, 1, 0)),
        without_lost=since((1, 4, 0)),
        contiguous_ports=not since((0, 9, 0)),
        local_region=since((1, 6, 0)),
        maintenance=since((1, 6, 0)) and (asked_for or (since((1, 7, 149)) and maintenance is not False)),
        gpus=since((1, 3, 0)),
        gpus_kept=since((1, 8, 180)),
        spare_unless_killing=not since((1, 1, 0)),
    )
