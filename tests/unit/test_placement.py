"""What becomes of an app: how many, where, why not elsewhere; and what of a cluster counts."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus.core.inventory import Agent, MarathonTask
from octopus.core.mesos_state import decode_state
from octopus.core.placement import View, counted_instances, fits_alone, headroom, place, placed_on
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed
from octopus.core.placement_counting import Count
from octopus.core.placement_offers import offers
from octopus.core.placement_rules import Reason, rules_of
from octopus.core.resources import Amounts, shown, total
from tests.unit.placement_cases import app, offer, view
from tests.wire_data import mesos


@pytest.fixture(scope="module")
def recorded() -> View:
    """Give the cluster of six agents and five frameworks on Mesos 0.22."""
    snapshot = decode_state(mesos("master-state-0.22.0-large.json"))
    rules = rules_of("0.8.2")
    return View(offers=tuple(offers(snapshot.agents, snapshot.tasks, rules)), rules=rules)


def test_a_recorded_cluster(recorded: View) -> None:
    """98.89 CPUs are free on six hosts: of 4 CPUs and 8 GB they hold 1, 2, 4, 4, 6 and 6, of 1 CPU and 1 GB 96; sums say 24 and 98."""
    free = total(each.free["*"] for each in recorded.offers)
    assert (shown(free.cpus), shown(free.mem)) == ("98.89", "942978")
    large, small = (
        App(id="/a", needs=Amounts(cpus, mem), ports=(0,), declared=(0,)) for cpus, mem in ((4000, 8_192_000), (1000, 1_024_000))
    )
    assert sorted(fits_alone(large, recorded)) == [1, 2, 4, 4, 6, 6]
    assert headroom(large, recorded) == Count(least=23, most=23)
    found, after = place(small, recorded, 200)
    assert (found.least, found.most, found.fits) == (96, 96, False)
    assert shown(total(each.free["*"] for each in after.offers).mem) == "844674"
    assert {refusal.reasons for refusal in found.refusals} == {(Reason.INSUFFICIENT_CPUS,)}


def test_instances_go_where_most_room_is() -> None:
    """One possible outcome, the same each time; a group with the fewest first."""
    cluster = view(offer("a", 3, rack="r1"), offer("b", 2, rack="r1"), offer("c", 1, rack="r2"))
    found, after = place(app(), cluster, 4)
    assert found.fits
    assert {spot.hostname: spot.instances for spot in found.where} == {"a": 3, "b": 1}
    assert [each.free["*"].cpus for each in after.offers] == [0, 1000, 1000]
    even, _ = place(app("rack GROUP_BY"), cluster, 2)
    assert {spot.hostname for spot in even.where} == {"a", "c"}


def test_apps_after_each_other_share_what_there_is() -> None:
    """The second finds what the first has left."""
    first, after = place(app(cpus=3), view(offer("a", 4)), 1)
    second, _ = place(app(cpus=2), after, 1)
    assert (first.fits, second.fits) == (True, False)
    assert second.refusals[0].detail == "needs 2 cpus, 1 free"


def test_what_is_not_simulated_is_said() -> None:
    """External volumes, and GROUP_BY that fails in 1.11."""
    asking = msgspec.structs.replace(app("rack GROUP_BY"), unmodelled=("an external volume",))
    found, _ = place(asking, view(offer("a", 3, rack="r1"), version="1.11.0"), 1)
    assert (found.most, len(found.notes)) == (0, 2)
    assert found.notes[0] == "an external volume is not simulated"
    assert "divides by zero" in found.notes[1]


def test_nothing_asked_is_nothing_placed() -> None:
    """And it fits."""
    found, after = place(app(), view(offer("a")), 0)
    assert (found.fits, found.where) == (True, ())
    assert after == view(offer("a"))


OLD, NEW, LOST = (
    MarathonTask("/a", "S1", "2015-01-01", "a", "TASK_RUNNING"),
    MarathonTask("/a", "S2", "2015-03-01", "b", "TASK_STAGING"),
    MarathonTask("/a", "S3", "2015-03-01", "c", "TASK_UNREACHABLE"),
)


@pytest.mark.parametrize(
    ("version", "configured", "wanted"),
    [
        ("0.15.7", "2015-02-01", [OLD, NEW, LOST]),
        ("1.1.0", "2015-02-01", [NEW, LOST]),
        ("1.4.0", "2015-02-01", [NEW]),
        ("1.4.0", "", [OLD, NEW]),
    ],
)
def test_which_instances_count(version: str, configured: str, wanted: list[MarathonTask]) -> None:
    """All before 1.1, then those of the present configuration, from 1.4 on without lost ones."""
    assert counted_instances(App(id="/a", configured=configured), [OLD, NEW, LOST], rules_of(version)) == wanted


def test_instances_are_where_their_agents_are() -> None:
    """By the agent's id, by its host name before 0.11; of an agent that is gone only the name is known."""
    agent = Agent("S1", "a", attributes={"rack": "r1"}, region="eu", zone="z")
    tasks = [MarathonTask("/a", "S1"), MarathonTask("/a", host="a"), MarathonTask("/a", "S9", host="x")]
    here = Placed("a", {"rack": "r1"}, "eu", "z")
    assert placed_on(tasks, {"S1": agent}, {"a": agent}) == [here, here, Placed("x")]


CPUS = st.lists(st.integers(0, 6), min_size=1, max_size=6)


@given(CPUS, st.integers(1, 3), st.integers(0, 5), st.randoms())
@settings(deadline=None)
def test_order_of_agents_and_size_of_needs(sizes: list[int], need: int, more: int, random: object) -> None:
    """Shuffled agents hold the same; a larger need never fits more often; another free CPU never makes fewer."""
    hosts = [offer(f"h{at}", cpus) for at, cpus in enumerate(sizes)]
    found = headroom(app(cpus=need), view(*hosts))
    assert found == Count(least=sum(size // need for size in sizes), most=sum(size // need for size in sizes))
    random.shuffle(hosts)  # type: ignore[attr-defined]
    assert headroom(app(cpus=need), view(*hosts)) == found
    assert headroom(app(cpus=need + more), view(*hosts)).most <= found.least
    assert headroom(app(cpus=need), view(*hosts, offer("more", more))).least >= found.most
