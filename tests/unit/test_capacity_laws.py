"""What holds of every cluster: sums, growth, the order of agents; and small clusters searched exhaustively beside our answers."""

from __future__ import annotations

from itertools import product

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus.core.capacity import Shape, free_on, front, ideal, largest, measure, shapes, stranded, sums, unusable
from octopus.core.capacity_whatif import Running, could_be_emptied, host_losses, inflation
from octopus.core.inventory import Agent, Task, used_by_agent
from octopus.core.placement import View
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed
from octopus.core.placement_offers import Offer, offers
from octopus.core.placement_rules import rules_of
from octopus.core.resources import SCALARS, Amounts
from tests.unit.placement_cases import app, offer, view

RULES = rules_of("1.8.222")

AMOUNTS = st.builds(
    lambda cpus, mem, ports: Amounts(cpus * 500, mem * 100_000, 0, 0, ((31_000, 31_000 + ports),) if ports else ()),
    st.integers(0, 16),
    st.integers(0, 16),
    st.integers(0, 20),
)
AGENTS = st.lists(
    st.tuples(
        AMOUNTS,
        st.dictionaries(st.sampled_from(["*", "db", "web"]), AMOUNTS, max_size=2),
        AMOUNTS,
        AMOUNTS,
        st.sampled_from(["", "DRAINING"]),
    ),
    min_size=1,
    max_size=5,
)
TASKS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 16), st.integers(0, 16), st.integers(0, 20)), max_size=8)


@given(AGENTS, TASKS, st.booleans())
@settings(deadline=None, max_examples=150)
def test_sums_add_up_whatever_the_master_says(agents: list[tuple[Amounts, dict[str, Amounts], Amounts, Amounts, str]], tasks, told) -> None:  # type: ignore[no-untyped-def]
    """Total is used, free and out of reach; what is offered is part of what is free; nothing is below nothing."""
    known = {
        f"S{at}": Agent(
            f"S{at}", f"h{at}", total=total, reserved=kept, reserved_used={} if told else None, others=others, offered=offered, drain=drain
        )
        for at, (total, kept, others, offered, drain) in enumerate(agents)
    }
    running = [
        Task(f"t{at}", "f", f"S{where % len(known)}", "TASK_RUNNING", ports=(31_000 + port,), amounts=Amounts(cpus * 500, mem * 100_000))
        for at, (where, cpus, mem, port) in enumerate(tasks)
    ]
    found = sums(known, used_by_agent(running), View(offers=tuple(offers(known.values(), running, RULES)), rules=RULES))
    for each in found.values():
        assert each.total == each.used + each.free + sum(each.unavailable.values())
        assert 0 <= each.offered <= each.free
        assert min(each.used, each.free, *each.unavailable.values(), 0) == 0


HOSTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=5)
NEEDS = st.tuples(st.integers(1, 3), st.integers(1, 3))


def cluster(hosts: list[tuple[int, int]]) -> list[Offer]:
    """Return hosts with so many CPUs and MB."""
    return [offer(f"h{at}", cpus, mem=mem) for at, (cpus, mem) in enumerate(hosts)]


def sized(cpus: int, mem: int, instances: int = 1) -> App:
    """Return an app of so many CPUs and MB."""
    return App(id="/a", instances=instances, needs=Amounts(cpus * 1000, mem * 1000))


@given(HOSTS, NEEDS, NEEDS)
@settings(deadline=None, max_examples=100)
def test_a_smaller_app_never_fits_less_often(hosts: list[tuple[int, int]], one: tuple[int, int], other: tuple[int, int]) -> None:
    """Nor is its ideal smaller."""
    small = (min(one[0], other[0]), min(one[1], other[1]))
    there = view(*cluster(hosts))
    large, little = measure(sized(one[0], one[1]), there), measure(sized(small[0], small[1]), there)
    assert little.real.least >= large.real.least
    assert little.ideal >= large.ideal


@given(HOSTS, NEEDS, st.randoms())
@settings(deadline=None, max_examples=100)
def test_the_order_of_agents_changes_no_figure(hosts: list[tuple[int, int]], needs: tuple[int, int], chance: object) -> None:
    """Of free resources, their largest pieces, what is stranded and what is of no use."""
    there = cluster(hosts)
    mixed = list(there)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    shape = Shape(needs=Amounts(needs[0] * 1000, needs[1] * 1000), ports=(), share=1.0)
    one, two = view(*there), view(*mixed)
    assert (largest(one), stranded(shape, one), front(one)) == (largest(two), stranded(shape, two), front(two))
    for name, share in unusable([shape], one).items():
        assert abs(share - unusable([shape], two)[name]) < 1e-9
    asking = sized(needs[0], needs[1])
    assert ideal(asking, one) == ideal(asking, two)


@given(HOSTS, st.lists(st.tuples(NEEDS, st.integers(1, 5)), min_size=1, max_size=3))
@settings(deadline=None, max_examples=100)
def test_what_is_of_no_use_is_what_its_sentence_says(hosts: list[tuple[int, int]], mix: list[tuple[tuple[int, int], int]]) -> None:
    """Counted instance by instance: what is free where one drawn at random does not fit, by all that is free."""
    there = view(*cluster(hosts))
    found = unusable(shapes([sized(needs[0], needs[1], number) for needs, number in mix]), there)
    drawn = [needs for needs, number in mix for _ in range(number)]
    for name, at in (("cpus", 0), ("mem", 1)):
        free = sum(host[at] for host in hosts)
        lost = sum(host[at] for host in hosts for needs in drawn if host[0] < needs[0] or host[1] < needs[1])
        assert abs(found[name] - (lost / len(drawn) / free if free else 0.0)) < 1e-9
    assert set(found) == set(SCALARS)


def fewest_left(free: list[int], moved: list[int]) -> int:
    """Return how few of these instances stay without a place, over every way to put them."""
    fewest = len(moved)
    for places in product(range(-1, len(free)), repeat=len(moved)):
        room = list(free)
        for size, place in zip(moved, places, strict=True):
            if place >= 0:
                room[place] -= size
        if min(room, default=0) >= 0:
            fewest = min(fewest, places.count(-1))
    return fewest


ON = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=2)
"""Apps: CPUs of an instance, and how many run on the first and on the second host."""


def placed(apps: list[tuple[int, int, int]], hosts: list[str]) -> list[Running]:
    """Return what runs where."""
    found = []
    for at, (cpus, *numbers) in enumerate(apps):
        on = {f"{host}-S": (Placed(host),) * number for host, number in zip(hosts, numbers, strict=False) if number}
        found.append(Running(app=msgspec.structs.replace(app(cpus=cpus), id=f"/a{at}"), on=on))
    return found


@given(st.lists(st.integers(0, 4), min_size=2, max_size=3), ON)
@settings(deadline=None, max_examples=80)
def test_no_loss_is_told_as_smaller_than_it_is(free: list[int], apps: list[tuple[int, int, int]]) -> None:
    """Beside every way to move what runs on the lost host; with instances of one size the number is exact."""
    hosts = [f"h{at}" for at in range(len(free))]
    there = view(*(offer(host, cpus) for host, cpus in zip(hosts, free, strict=True)))
    for loss in host_losses(placed(apps, hosts), there):
        at = hosts.index(loss.hostname)
        moved = [cpus for cpus, *numbers in apps for _ in range(numbers[at])]
        fewest = fewest_left(free[:at] + free[at + 1 :], moved)
        assert loss.unplaced >= fewest
        if len(set(moved)) == 1:
            assert loss.unplaced == fewest


@given(st.lists(st.integers(0, 4), min_size=2, max_size=3), ON)
@settings(deadline=None, max_examples=80)
def test_what_could_be_emptied_can_be(free: list[int], apps: list[tuple[int, int, int]]) -> None:
    """All that runs on the first that is told has a place elsewhere, in some way."""
    hosts = [f"h{at}" for at in range(len(free))]
    there = view(*(offer(host, cpus) for host, cpus in zip(hosts, free, strict=True)))
    for hostname in could_be_emptied(placed(apps, hosts), there)[:1]:
        at = hosts.index(hostname)
        moved = [cpus for cpus, *numbers in apps if at < 2 for _ in range(numbers[at])]
        assert fewest_left(free[:at] + free[at + 1 :], moved) == 0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=3), st.integers(1, 3), st.integers(1, 4))
@settings(deadline=None, max_examples=80)
def test_growth_is_the_largest_that_fits(free: list[int], cpus: int, number: int) -> None:
    """Of one app, searched percent by percent: how many more fit is a division."""
    hosts = [f"h{at}" for at in range(len(free))]
    there = view(*(offer(host, each) for host, each in zip(hosts, free, strict=True)))
    room = sum(each // cpus for each in free)
    expected = max(percent for percent in range(100, 1001) if -(-number * (percent - 100) // 100) <= room)
    running = Running(app=app(cpus=cpus), on={"h0-S": (Placed("h0"),) * number})
    assert inflation([running], there) == expected
    assert free_on(there.offers[0]).cpus == free[0] * 1000
