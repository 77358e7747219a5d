"""Each measure is what its sentence says, on clusters small enough to count by hand, on a recorded one, and in its bounds."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus.core.capacity import (
    Headroom,
    Shape,
    at_share,
    free_on,
    front,
    ideal,
    imbalance,
    largest,
    largest_that_fits,
    measure,
    shapes,
    stranded,
    sums,
    unusable,
)
from octopus.core.capacity_whatif import Loss, Running, could_be_emptied, host_losses, inflation
from octopus.core.inventory import Agent, Task, used_by_agent
from octopus.core.mesos_state import decode_state
from octopus.core.placement import View, place
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed
from octopus.core.placement_counting import Count
from octopus.core.placement_fit import PLENTY
from octopus.core.placement_offers import Offer, offers
from octopus.core.placement_rules import rules_of
from octopus.core.resources import SCALARS, Amounts
from tests.unit.placement_cases import app, offer, view
from tests.wire_data import mesos

LARGE = App(id="/large", needs=Amounts(4000, 8_192_000), ports=(0,), declared=(0,))
SMALL = App(id="/small", needs=Amounts(1000, 1_024_000), ports=(0,), declared=(0,))


@pytest.fixture(scope="module")
def recorded() -> View:
    """Give the cluster of six agents and five frameworks on Mesos 0.22."""
    snapshot = decode_state(mesos("master-state-0.22.0-large.json"))
    rules = rules_of("0.8.2")
    return View(offers=tuple(offers(snapshot.agents, snapshot.tasks, rules)), rules=rules)


def test_a_recorded_cluster_is_hardly_chopped_up_but_out_of_balance(recorded: View) -> None:
    """23 of 24 large and 96 of 98 small apps fit: little is lost to pieces. Then 90 % of the free memory is without any CPU."""
    found = measure(LARGE, recorded)
    assert (found.real, found.without_constraints, found.ideal) == (Count(least=23, most=23), 23, 24)
    assert round(found.fragmentation_loss * 100) == 4
    small = measure(SMALL, recorded)
    assert (small.real.least, small.ideal, small.limits) == (96, 98, {})
    _, full = place(SMALL, recorded, 96)
    found_stranded = stranded(Shape(needs=SMALL.needs, ports=(0,), share=1.0), full)
    assert (found_stranded["cpus"], found_stranded["mem"]) == (0, 844_674_000)


def test_a_loss_has_two_parts() -> None:
    """Pieces: 3 + 3 CPUs hold two of two, not three. Rules: one on each rack leaves one of them."""
    cluster = view(offer("a", 3, rack="r1"), offer("b", 3, rack="r1"))
    assert measure(app("rack UNIQUE", cpus=2), cluster) == Headroom(
        app="/a",
        real=Count(least=1, most=1),
        without_constraints=2,
        ideal=3,
        fragmentation_loss=1 - 2 / 3,
        constraint_loss=1,
        limits={},
    )
    full = measure(app("rack UNIQUE", cpus=4), cluster, [Placed("x", {"rack": "r1"})])
    assert (full.ideal, full.fragmentation_loss, full.limits) == (1, 1.0, {"UnfulfilledConstraint": 2})
    assert measure(app(cpus=9), cluster).fragmentation_loss == 0.0


def test_ideal_is_by_the_scarcest_resource() -> None:
    """Ports count as well; what needs nothing fits without end."""
    cluster = view(offer("a", 4), offer("b", 4))
    ports = App(id="/a", needs=Amounts(cpus=1), ports=(0,) * 600)
    assert (ideal(app(), cluster), ideal(ports, cluster), ideal(App(id="/a"), cluster)) == (8, 3, PLENTY)


AGENTS = {
    "S1": Agent("S1", "a", total=Amounts(8000, 100_000, 0, 0, ((1, 10),)), offered=Amounts(cpus=9000)),
    "S2": Agent("S2", "b", total=Amounts(8000, 100_000, 0, 0, ((1, 10),)), drain="DRAINING", others=Amounts(cpus=1000)),
    "S3": Agent("S3", "c", total=Amounts(8000, 100_000), reserved={"db": Amounts(cpus=3000)}, reserved_used={}),
}
TASKS = [
    Task("t", "f", "S1", "TASK_RUNNING", ports=(5,), amounts=Amounts(cpus=2000)),
    Task("u", "f", "S3", "TASK_RUNNING", amounts=Amounts(cpus=9000)),
]


def test_sums_add_up() -> None:
    """Total is used and free and out of reach, by why; no agent uses more than it has."""
    rules = rules_of("1.8.222")
    cluster = View(offers=tuple(offers(AGENTS.values(), TASKS, rules)), rules=rules)
    found = sums(AGENTS, used_by_agent(TASKS), cluster)
    cpus, ports = found["cpus"], found["ports"]
    assert (cpus.total, cpus.used, cpus.free, cpus.offered, cpus.unavailable) == (24_000, 11_000, 6000, 6000, {"draining": 7000})
    assert (ports.total, ports.used, ports.free, ports.unavailable) == (20, 1, 9, {"draining": 10})
    calm = sums(AGENTS, {}, View(offers=tuple(offers(AGENTS.values(), [], rules)), rules=rules))
    assert calm["cpus"].unavailable == {"draining": 7000, "reserved for other roles": 3000}
    for each in (*found.values(), *calm.values()):
        assert each.total == each.used + each.free + sum(each.unavailable.values())


def test_the_running_mix() -> None:
    """Shapes by size with their share of instances; the median is that of instances, not of apps."""
    apps = [app(cpus=1, instances=7), app(cpus=4, instances=2), app(cpus=4, instances=1), app(cpus=9, instances=0)]
    mix = shapes(apps)
    assert [(shape.needs.cpus, shape.share) for shape in mix] == [(1000, 0.7), (4000, 0.3)]
    assert [at_share(mix, share).needs.cpus for share in (0.5, 0.7, 0.9, 1.5)] == [1000, 1000, 4000, 4000]
    assert shapes([]) == []


def test_what_the_running_mix_cannot_use() -> None:
    """Two CPUs on a small agent are lost to the three tenths that need four: 0.3 * 2 of 10."""
    mix = shapes([app(cpus=1, instances=7), app(cpus=4, instances=3)])
    cluster = view(offer("a", 8, mem=0), offer("b", 2, mem=50))
    found = unusable(mix, cluster)
    assert found == {"cpus": pytest.approx(0.06), "mem": pytest.approx(0.3), "disk": pytest.approx(0.15), "gpus": 0.0}


def test_what_is_stranded() -> None:
    """Memory where only CPU is wanting, CPU where only memory is; nothing where the shape fits or both are wanting."""
    cluster = view(offer("a", 1, mem=900), offer("b", 8, mem=100), offer("c", 8, mem=900), offer("d", 1, mem=100))
    found = stranded(Shape(needs=Amounts(4000, 512_000), ports=(), share=1.0), cluster)
    assert (found["cpus"], found["mem"]) == (8000, 900_000)


def test_balance_and_largest_pieces() -> None:
    """Free shares compared; the most on one agent; the agents that none surpasses in both."""
    cluster = view(offer("a", 8, mem=100), offer("b", 2, mem=900), offer("c", 2, mem=100), offer("d", 0, mem=0))
    assert imbalance(cluster.offers[0], Amounts(16_000, 1_000_000)) == pytest.approx(0.4)
    assert imbalance(cluster.offers[0], Amounts()) == 0.0
    assert (largest(cluster)["cpus"], largest(cluster)["mem"], largest(view())["cpus"]) == (8000, 900_000, 0)
    assert front(cluster) == [("a", 8000, 100_000), ("b", 2000, 900_000)]


def test_what_mesos_does_not_offer_is_not_free() -> None:
    """Draining agents count for nothing."""
    away = msgspec.structs.replace(offer("a", 8), withheld="draining")
    assert free_on(away) == Amounts()
    assert measure(app(), view(away)).limits == {"NotOffered": 1}


def test_the_largest_app_that_still_fits() -> None:
    """By CPUs, then memory; none where nothing fits."""
    cluster = view(offer("a", 3))
    apps = [msgspec.structs.replace(app(cpus=size), id=f"/{size}") for size in (1, 2, 4)]
    found = largest_that_fits(apps, cluster)
    assert found is not None
    assert found.id == "/2"
    assert largest_that_fits(apps[2:], cluster) is None


SIZES = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=6)


@given(SIZES, st.integers(1, 4), st.integers(1, 4), st.randoms())
@settings(deadline=None, max_examples=50)
def test_measures_stay_in_their_bounds(sizes: list[tuple[int, int]], cpus: int, mem: int, random: object) -> None:
    """Real is at most what fits without rules, that at most the ideal; shares are shares; the order of agents changes nothing."""
    hosts = [offer(f"h{at}", has, mem=room) for at, (has, room) in enumerate(sizes)]
    asking = App(id="/a", needs=Amounts(cpus * 1000, mem * 1000), constraints=app("hostname MAX_PER 2").constraints)
    mix = shapes([asking, app(cpus=2)])
    found, lost = measure(asking, view(*hosts)), unusable(mix, view(*hosts))
    assert found.real.most <= found.without_constraints <= found.ideal
    assert 0 <= found.fragmentation_loss <= 1
    assert all(0 <= lost[name] <= 1 for name in SCALARS)
    shuffled: list[Offer] = list(hosts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert measure(asking, view(*shuffled)) == found
    assert unusable(mix, view(*shuffled)) == pytest.approx(lost)
    grown = measure(asking, view(*hosts, offer("more", 1, mem=1)))
    assert (grown.real.least >= found.real.least, grown.ideal >= found.ideal) == (True, True)


def running(asking: App, **on: int) -> Running:
    """Return an app with so many instances on each host."""
    return Running(app=asking, on={f"{host}-S": (Placed(host),) * count for host, count in on.items()})


def test_how_far_everything_could_grow() -> None:
    """Four instances of one CPU and three CPUs free: by three quarters. Nothing running grows as far as is looked."""
    cluster = view(offer("a", 2), offer("b", 1))
    assert inflation([running(app(), a=4)], cluster) == 175
    assert inflation([running(app(cpus=3), a=4)], cluster) == 100
    assert inflation([], cluster) == 1000


def test_what_a_lost_agent_would_cost() -> None:
    """Two on a, room for one on b: one is left over; what is on b has room on a. An agent without instances costs nothing."""
    cluster = view(offer("a", 4), offer("b", 1), offer("c", 0))
    found = host_losses([running(app(), a=2, b=1)], cluster)
    assert found == [
        Loss(agent="a-S", hostname="a", unplaced=1, apps={"/a": 1}),
        Loss(agent="b-S", hostname="b", unplaced=0),
    ]
    assert [loss.hostname for loss in host_losses([running(app(), a=2, b=1)], cluster, most=1)] == ["a"]


def test_a_lost_agent_and_apps_of_one_on_each_host() -> None:
    """The others have theirs already."""
    [worst, *_] = host_losses([running(app("hostname UNIQUE"), a=1, b=1)], view(offer("a", 4), offer("b", 4)))
    assert (worst.unplaced, worst.apps) == (1, {"/a": 1})


def test_which_agents_could_be_emptied() -> None:
    """c has nothing, b's one has room on a; the last stays. What is draining is not counted; nothing is moved to what is empty."""
    draining = msgspec.structs.replace(offer("d", 4), withheld="draining")
    cluster = view(offer("a", 1), offer("b", 1), offer("c", 0), draining)
    assert could_be_emptied([running(app(), a=2, b=1)], cluster) == ["c", "b"]
    assert could_be_emptied([running(app(), a=2, b=1)], cluster, most=1) == ["c"]
    assert could_be_emptied([running(app(cpus=9), a=1, b=1)], view(offer("a", 1), offer("b", 1))) == []
    assert could_be_emptied([], view()) == []
