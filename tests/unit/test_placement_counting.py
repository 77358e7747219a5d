"""Bounds hold against every order of offers, tried one by one on small clusters."""

from __future__ import annotations

from functools import cache

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from octopus.core.placement import headroom, place
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed
from octopus.core.placement_counting import Count
from octopus.core.placement_flow import most_flow
from octopus.core.placement_offers import Offer
from octopus.core.placement_operators import Constraint
from tests.unit.placement_cases import app, offer, view

RACKS = ("r1", "r2", None)
ZONES = ("z1", "z2")
HOSTS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(RACKS), st.sampled_from(ZONES)), min_size=1, max_size=4)
PLACED = st.lists(st.tuples(st.sampled_from(["r1", "r2", "r9", None]), st.sampled_from(ZONES)), max_size=3)
FIELDS = st.sampled_from(["hostname", "rack", "zone"])
CAPS = st.one_of(
    st.builds(lambda field: Constraint(field, "UNIQUE"), FIELDS),
    st.builds(lambda field, most: Constraint(field, "MAX_PER", str(most)), FIELDS, st.integers(0, 3)),
)
SHARED = st.builds(lambda field: Constraint(field, "CLUSTER"), FIELDS)
GROUPS = st.builds(lambda field, number: Constraint(field, "GROUP_BY", number), FIELDS, st.sampled_from(["", "1", "2", "3", "inf"]))
Host = tuple[int, str | None, str]
Where = tuple[str | None, str | None, str | None]


def values(field: str, where: Where) -> str | None:
    """Return a field's value: of host, rack and zone."""
    return where[("hostname", "rack", "zone").index(field)]


def allows(constraint: Constraint, here: Where, there: tuple[Where, ...], *, old: bool, target: int) -> bool:
    """Say what Marathon's source says of one offer, in the plainest words (``mesos/Constraints.scala``); ``target`` 0: before 1.11."""
    value = values(constraint.field, here)
    others = [values(constraint.field, each) for each in there]
    if value is None:
        return False
    counts = {each: others.count(each) for each in others}
    match constraint.operator:
        case "UNIQUE":
            return value not in others
        case "MAX_PER":
            return value not in counts or counts[value] < int(constraint.value)
        case "CLUSTER":
            return all(each == value for each in others) if old else (not others or others[0] == value)
    number = {"inf": 2**31 - 1, "": 0}.get(constraint.value) if constraint.value in {"inf", ""} else int(constraint.value)
    wanted = number or 0
    if not target:
        return value not in counts or (len(counts) >= wanted and counts[value] == min(counts.values()))
    if not wanted:
        return False
    each, rest = divmod(target if there else 1, wanted)
    if value not in counts:
        return len(counts) < wanted
    spent = sum(max(0, count - each) for count in counts.values())
    return counts[value] < each or (counts[value] == each and rest - spent > 0)


def outcomes(asking: App, hosts: list[Host], before: tuple[Where, ...], *, version: str, asked: int) -> set[int]:
    """Return how many of ``asked`` are placed under every order of offers; each is tried until no offer is taken any more."""
    target = len(before) + asked if version == "1.11.0" else 0
    spots: list[Where] = [(f"h{at}", rack, zone) for at, (_, rack, zone) in enumerate(hosts)]

    @cache
    def ends(room: tuple[int, ...], placed: tuple[Where, ...], count: int) -> frozenset[int]:
        if count == asked:
            return frozenset({count})
        found: set[int] = set()
        for at, left in enumerate(room):
            taken = all(allows(each, spots[at], placed, old=version == "1.5.0", target=target) for each in asking.constraints)
            if left and taken:
                # The first one counts for CLUSTER, the others only by how many there are.
                after = (*placed[:1], *sorted((*placed[1:], spots[at]), key=str)) if placed else (spots[at],)
                found |= ends((*room[:at], left - 1, *room[at + 1 :]), after, count + 1)
        return frozenset(found or {count})

    return set(ends(tuple(cpus for cpus, _, _ in hosts), before, 0))


def located(at: int, cpus: int, rack: str | None, zone: str) -> Offer:
    """Return a host's offer."""
    return offer(f"h{at}", cpus, zone=zone) if rack is None else offer(f"h{at}", cpus, rack=rack, zone=zone)


def bounds(asking: App, hosts: list[Host], before: tuple[Where, ...], *, version: str, asked: int) -> Count:
    """Return what we say."""
    offers = [located(at, *each) for at, each in enumerate(hosts)]
    placed = [
        Placed(host or "", {name: value for name, value in (("rack", rack), ("zone", zone)) if value is not None})
        for host, rack, zone in before
    ]
    found, _ = place(asking, view(*offers, version=version), asked, placed)
    assert found.least <= sum(spot.instances for spot in found.where) <= found.most
    return Count(least=found.least, most=found.most, exact=found.exact)


def made(*constraints: Constraint) -> App:
    """Return an app with constraints."""
    return App(id="/a", needs=app().needs, constraints=constraints)


def before_of(placed: list[tuple[str | None, str]]) -> tuple[Where, ...]:
    """Return instances on hosts that are gone."""
    return tuple((f"gone{at}", rack, zone) for at, (rack, zone) in enumerate(placed))


ENOUGH = 12
VERSIONS = st.sampled_from(["1.5.0", "1.8.222", "1.11.0"])


def check(asking: App, hosts: list[Host], placed: list[tuple[str | None, str]], version: str, asked: int = ENOUGH) -> Count:
    """Compare what we say with every order."""
    before = before_of(placed)
    ends = outcomes(asking, hosts, before, version=version, asked=asked)
    found = bounds(asking, hosts, before, version=version, asked=asked)
    assert found.least <= min(ends)
    assert max(ends) <= found.most
    if found.exact:
        assert (found.least, found.most) == (min(ends), max(ends))
    return found


@given(HOSTS, PLACED, st.sampled_from(["hostname", "rack"]).flatmap(lambda field: st.tuples(st.just(field), st.integers(0, 3))), VERSIONS)
@settings(max_examples=60, deadline=None)
def test_nested_caps_are_exact(hosts: list[Host], placed: list[tuple[str | None, str]], cap: tuple[str, int], version: str) -> None:
    """Hosts lie within racks, so no order matters."""
    field, most = cap
    found = check(made(Constraint("hostname", "MAX_PER", "2"), Constraint(field, "MAX_PER", str(most))), hosts, placed, version)
    assert found.exact
    assert found.least == found.most


@given(HOSTS, PLACED, GROUPS, VERSIONS, st.integers(1, ENOUGH))
@settings(max_examples=120, deadline=None)
def test_even_groups_are_exact(
    hosts: list[Host], placed: list[tuple[str | None, str]], groups: Constraint, version: str, asked: int
) -> None:
    """One GROUP_BY, from any counts: both ends are reached by some order."""
    assert check(made(groups), hosts, placed, version, asked).exact


@given(HOSTS, PLACED, SHARED, VERSIONS, CAPS)
@settings(max_examples=60, deadline=None)
def test_a_shared_value_is_exact(
    hosts: list[Host], placed: list[tuple[str | None, str]], shared: Constraint, version: str, cap: Constraint
) -> None:
    """CLUSTER without a value, with nothing or one value placed, beside a cap."""
    assume(version == "1.5.0" or len(placed) < 2)
    assert check(made(shared, cap), hosts, placed, version).exact


@given(HOSTS, PLACED, st.lists(st.one_of(CAPS, SHARED, GROUPS), min_size=1, max_size=3), VERSIONS, st.integers(1, ENOUGH))
@example([(2, "r1", "z1"), (2, "r2", "z1")], [], [Constraint("rack", "GROUP_BY", "2"), Constraint("zone", "MAX_PER", "3")], "1.8.222", 4)
@example([(2, "r1", "z1"), (2, "r2", "z2")], [("r1", "z1")], [Constraint("rack", "GROUP_BY", "")], "1.11.0", 2)
@settings(max_examples=120, deadline=None)
def test_any_mixture_is_within_its_bounds(
    hosts: list[Host], placed: list[tuple[str | None, str]], constraints: list[Constraint], version: str, asked: int
) -> None:
    """Rules that cross: never more than the most, never fewer than the least, and exact where it says so."""
    assume(version == "1.5.0" or len(placed) < 2 or not any(each.operator == "CLUSTER" for each in constraints))
    check(made(*constraints), hosts, placed, version, asked)


@given(HOSTS, PLACED, GROUPS)
@settings(max_examples=60, deadline=None)
def test_headroom_of_a_target_is_the_most_that_is_placed_whole(
    hosts: list[Host], placed: list[tuple[str | None, str]], groups: Constraint
) -> None:
    """1.11 balances for the target: what fits is the largest number of which all are placed, and all smaller ones are, too."""
    before = before_of(placed)
    whole = [asked for asked in range(1, ENOUGH + 1) if outcomes(made(groups), hosts, before, version="1.11.0", asked=asked) == {asked}]
    offers = [located(at, *each) for at, each in enumerate(hosts)]
    there = [Placed(host or "", {k: v for k, v in (("rack", rack), ("zone", zone)) if v}) for host, rack, zone in before]
    found = headroom(made(groups), view(*offers, version="1.11.0"), there)
    assert found.least == max(whole, default=0)
    assert whole == list(range(1, len(whole) + 1))


CELLS = st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), st.integers(1, 3), max_size=6)


@given(CELLS, st.integers(0, 3), st.integers(0, 3))
@settings(deadline=None)
def test_the_flow_is_the_largest(cells: dict[tuple[str, str], int], left: int, right: int) -> None:
    """Against every choice there is."""

    @cache
    def best(rest: tuple[tuple[tuple[str, str], int], ...], ones: tuple[tuple[str, int], ...], others: tuple[tuple[str, int], ...]) -> int:
        if not rest:
            return 0
        ((one, other), most), *more = rest
        sent, taken = dict(ones), dict(others)
        found = 0
        for amount in range(min(most, left - sent.get(one, 0), right - taken.get(other, 0)) + 1):
            after = {**sent, one: sent.get(one, 0) + amount}, {**taken, other: taken.get(other, 0) + amount}
            found = max(found, amount + best(tuple(more), tuple(sorted(after[0].items())), tuple(sorted(after[1].items()))))
        return found

    flow = most_flow([(one, other, most) for (one, other), most in cells.items()], lambda _: left, lambda _: right)
    assert flow == best(tuple(cells.items()), (), ())


def test_a_flow_gives_back_what_was_taken_in_haste() -> None:
    """The first cell takes the only way of the second; a longer path puts it right."""
    cells = [("a", "x", 1), ("a", "y", 1), ("b", "x", 1)]
    assert most_flow(cells, lambda _: 1, lambda _: 1) == 2
    assert most_flow([("a", "x", 2), ("a", "x", 3)], lambda _: 9, lambda _: 9) == 5
    assert most_flow([("a", "x", 1), ("b", "x", 1), ("b", "y", 1), ("c", "y", 1), ("a", "z", 1)], lambda _: 1, lambda _: 1) == 3


def test_two_fields_that_cross_have_a_most_and_at_least_half() -> None:
    """Two zones and two racks, one instance in each: two if the corners are opposite, one never."""
    corners = [offer("a", rack="r1", zone="z1"), offer("b", rack="r1", zone="z2"), offer("c", rack="r2", zone="z1")]
    assert headroom(app("rack UNIQUE", "zone UNIQUE"), view(*corners)) == Count(least=1, most=2, exact=False)
    rows = [offer("a", rack="r1", zone="z1", row="1"), offer("b", rack="r1", zone="z2", row="2"), offer("c", rack="r2", zone="z1", row="2")]
    found = headroom(app("rack UNIQUE", "zone UNIQUE", "row UNIQUE"), view(*rows))
    assert (found.least, found.most) == (1, 2)
