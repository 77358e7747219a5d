"""Marathon's constraints: which values agents have, and what those already placed let a further instance do.

Sources: ``mesos/Constraints.scala`` of 0.8.2, 1.1.5, 1.4.4, 1.6.0 and 1.11. A constraint is turned into one of four things: a test of
an agent alone, a cap on each value of a field, one value that all must share, or groups that must stay even.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from octopus.core.placement_offers import Offer
from octopus.core.placement_operators import Constraint, java_int, pattern
from octopus.core.placement_rules import Rules, Text
from octopus.core.resources import Attribute

Value = str | None
"""What an agent or an instance has for a field, None for nothing."""


class Placed(msgspec.Struct, frozen=True, gc=False):
    """An instance that counts: where it runs, as it was told to Marathon when it was started."""

    hostname: str
    attributes: dict[str, Attribute] = {}
    region: str = ""
    zone: str = ""


class Caps(msgspec.Struct, frozen=True):
    """At most so many more on each value of a field: ``values`` of the offers, ``left`` by value (``most`` where none is placed)."""

    values: tuple[Value, ...]
    left: dict[Value, int]
    most: int

    def of(self, value: Value) -> int:
        """Return how many more a value takes."""
        return self.left.get(value, self.most)


class Groups(msgspec.Struct, frozen=True):
    """Even groups (GROUP_BY): ``values`` of the offers, what is ``placed`` by value, and the number of groups asked for."""

    values: tuple[Value, ...]
    placed: dict[Value, int]
    wanted: int


class Shared(msgspec.Struct, frozen=True):
    """One value for all (CLUSTER without a value): ``open`` to any while nothing is placed, else one of ``allowed``."""

    values: tuple[Value, ...]
    open: bool
    allowed: tuple[Value, ...] = ()


class Reading(msgspec.Struct, frozen=True):
    """All constraints of an app over a list of offers: ``refused`` by offer, "" where an offer passes those that look at it alone."""

    refused: tuple[str, ...]
    caps: tuple[Caps, ...] = ()
    groups: tuple[Groups, ...] = ()
    shared: tuple[Shared, ...] = ()


def value_of(place: Offer | Placed, field: str, rules: Rules) -> Value:
    """Return what a place has for a field."""
    if field == "hostname" or (field == "@hostname" and rules.at_fields):
        return place.hostname
    if rules.at_fields and field == "@region":
        return place.region or None
    if rules.at_fields and field == rules.zone_field:
        return place.zone or None
    value = place.attributes.get(field)
    return None if value is None else text_of(value, rules.text)


def text_of(value: Attribute, form: Text) -> str:
    """Return an attribute as it is compared."""
    if isinstance(value, str):
        if value[:1] not in {"[", "{"}:
            return value
        return "" if form is Text.EMPTY else _listed(value)
    if form is Text.EMPTY:
        return ""
    if not math.isfinite(value):
        return str(value)
    # Java's HALF_EVEN works on the exact value of the double, and so does Python's.
    number = f"{value:,.3f}" if form is Text.GROUPED else f"{value:.3f}"
    short = number.rstrip("0").rstrip(".")
    return "0" if short == "-0" and form is Text.GROUPED else short


def _listed(text: str) -> str:
    """Return RANGES and SET sorted and without blanks, as Marathon writes them from 1.2 on."""
    parts = [part.strip() for part in text[1:-1].split(",")]
    if text[0] == "[":
        parts.sort(key=lambda part: java_int(part.partition("-")[0]) or 0)
    else:
        parts.sort()
    return text[0] + ",".join(parts) + text[-1]


def read(constraints: Iterable[Constraint], offers: Sequence[Offer], placed: Sequence[Placed], rules: Rules) -> Reading:
    """Return what the constraints come to for these offers, given what counts as placed."""
    refused = [""] * len(offers)
    caps: list[Caps] = []
    groups: list[Groups] = []
    shared: list[Shared] = []
    for constraint in constraints:
        values = tuple(value_of(offer, constraint.field, rules) for offer in offers)
        there = [value_of(each, constraint.field, rules) for each in placed]
        match constraint.operator:
            case "UNIQUE":
                caps.append(_caps(values, there, 1))
            case "MAX_PER" if not (rules.max_per_by_host and constraint.field != "hostname"):
                caps.append(_caps(values, there, java_int(constraint.value) or 0))
            case "GROUP_BY":
                groups.append(Groups(values, dict(Counter(there)), wanted_groups(constraint.value)))
            case "CLUSTER" if not constraint.value:
                shared.append(_shared(values, there, rules))
            case _:
                pass
        _refuse(constraint, values, there, rules, refused)
    return Reading(tuple(refused), tuple(caps), tuple(groups), tuple(shared))


def wanted_groups(value: str) -> int:
    """Return GROUP_BY's number: ``inf`` is as many as Java counts, what is no number 0."""
    return 2**31 - 1 if value == "inf" else max(0, java_int(value) or 0)


def _caps(values: tuple[Value, ...], there: Iterable[Value], most: int) -> Caps:
    # A value that has none yet is never compared with the number: MAX_PER 0 lets one through.
    counted = Counter(there)
    return Caps(values, {value: max(0, most - count) for value, count in counted.items()}, max(1, most))


def _shared(values: tuple[Value, ...], there: Sequence[Value], rules: Rules) -> Shared:
    if not there:
        return Shared(values, open=True)
    if rules.cluster_all:
        return Shared(values, open=False, allowed=(there[0],) if len(set(there)) == 1 else ())
    # From 1.6 on one of those placed is looked at, and which is nobody's promise.
    return Shared(values, open=False, allowed=tuple(dict.fromkeys(there)))


def _refuse(constraint: Constraint, values: Sequence[Value], there: Sequence[Value], rules: Rules, refused: list[str]) -> None:
    """Note each offer that a test of it alone refuses; equal values are tested once."""
    known: dict[Value, str] = {}
    for at, value in enumerate(values):
        if value not in known:
            known[value] = _why_not(constraint, value, there, rules)
        refused[at] = refused[at] or known[value]


def _why_not(constraint: Constraint, value: Value, there: Sequence[Value], rules: Rules) -> str:
    if value is None:
        return "" if constraint.operator == "UNLIKE" else f"{constraint}: the agent has no {constraint.field}"
    if _passes(constraint, value, there, rules):
        return ""
    return f"{constraint}: here {value!r}" if value else f"{constraint}: here nothing that can be compared"


def _passes(constraint: Constraint, value: str, there: Sequence[Value], rules: Rules) -> bool:
    wanted = constraint.value
    match constraint.operator:
        case "LIKE" | "UNLIKE":
            return _like(constraint, value, rules)
        case "CLUSTER" if wanted:
            return value == wanted and not (rules.cluster_all and any(other != value for other in there))
        case "IS":
            return value == (text_of(float(wanted), Text.PLAIN) if _is_number(wanted) else wanted)
    return True


def _like(constraint: Constraint, value: str, rules: Rules) -> bool:
    """Whether LIKE or UNLIKE passes. Without a pattern none does, but for host names before 1.6, where it is the empty pattern."""
    like = constraint.operator == "LIKE"
    if not constraint.value:
        return rules.empty_pattern_matches_empty_host and constraint.field == "hostname" and (value == "") is like
    expression = pattern(constraint.value)
    return expression is not None and (expression.fullmatch(value) is not None) is like


def _is_number(text: str) -> bool:
    whole, point, part = text.partition(".")
    digits = (whole + part).isascii() and whole.isdecimal()
    return digits and (part.isdecimal() if point else True)
