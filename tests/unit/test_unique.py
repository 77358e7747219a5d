"""Apps of one on each host: which hosts lack one, how many there should be, and when nothing is done."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from octopus.core.inventory import Agent, MarathonTask
from octopus.core.placement import View
from octopus.core.placement_app import App
from octopus.core.placement_offers import offers
from octopus.core.placement_operators import Constraint
from octopus.core.placement_rules import rules_of
from octopus.core.resources import Amounts
from octopus.core.unique import Coverage, Moment, Standing, Verdict, coverage, is_followed, tasks_by_app

NOW = 10_000.0
STATSD = App(
    id="/ops/statsd",
    instances=2,
    needs=Amounts(1000, 64_000),
    constraints=(Constraint("hostname", "UNIQUE"), Constraint("rack", "UNLIKE", "dmz")),
)


def agent(name: str, cpus: float = 4, **more: object) -> Agent:
    """Return an agent that has been there for long."""
    made = Agent(f"{name}-S", name, total=Amounts(round(cpus * 1000), 4_096_000), attributes={"rack": "r1"}, registered=1.0)
    return msgspec.structs.replace(made, **more)


def on(*hosts: str) -> list[MarathonTask]:
    """Return an instance on each of these hosts."""
    return [MarathonTask("/ops/statsd", f"{host}-S", host=host) for host in hosts]


def covered(
    *agents: Agent,
    instances: int = 2,
    tasks: tuple[str, ...] = (),
    complete: bool = True,
    most: int = 0,
    unsettled: Mapping[str, str] | None = None,
    version: str = "1.8.222",
    **app: object,
) -> Coverage:
    """Return how the app covers these agents."""
    rules = rules_of(version)
    moment = Moment(
        view=View(offers=tuple(offers(agents, [], rules)), rules=rules),
        agents={each.id: each for each in agents},
        tasks=tasks_by_app(on(*tasks)),
        now=NOW,
        complete=complete,
        unsettled=unsettled or {},
    )
    return coverage(msgspec.structs.replace(STATSD, instances=instances, **app), moment, most=most)


A, B, C = agent("a"), agent("b"), agent("c")


def test_a_host_that_joins_gets_an_instance() -> None:
    """The two that run stay, the third host takes one: scale to three."""
    found = covered(A, B, C, tasks=("a", "b"))
    assert [(host.hostname, host.standing) for host in found.hosts] == [
        ("a", Standing.RUNNING),
        ("b", Standing.RUNNING),
        ("c", Standing.MISSING),
    ]
    assert (found.target, found.step.verdict, found.step.instances) == (3, Verdict.SCALE, 3)
    assert found.step.why == "1 more would find a host"
    assert [found.count(standing) for standing in Standing] == [2, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("joined", "why", "reasons"),
    [
        (agent("c", 0.5), "needs 1 cpus, 0.5 free", ("InsufficientCpus",)),
        (agent("c", attributes={"rack": "dmz"}), "rack UNLIKE dmz: here 'dmz'", ("UnfulfilledConstraint",)),
        (agent("c", drain="DRAINING"), "draining", ("NotOffered",)),
        (agent("c", reserved={"db": Amounts(4000, 4_096_000)}), "what is left is reserved for other roles", ("NotOffered",)),
    ],
)
def test_a_host_that_cannot_hold_one_is_not_counted(joined: Agent, why: str, reasons: tuple[str, ...]) -> None:
    """Too full, excluded, draining, kept for others: said with Marathon's reason, and nothing is scaled."""
    found = covered(A, B, joined, tasks=("a", "b"))
    [host] = [each for each in found.hosts if each.hostname == "c"]
    assert (host.standing, host.why, host.reasons) == (Standing.BLOCKED, why, reasons)
    assert (found.target, found.step.verdict) == (2, Verdict.NOTHING)


def test_a_new_host_settles_first() -> None:
    """Attributes and other daemons come with the first minute."""
    found = covered(A, B, agent("c", registered=NOW - 30), tasks=("a", "b"))
    assert (found.hosts[2].standing, found.hosts[2].why, found.step.verdict) == (Standing.NEW, "registered 30 s ago", Verdict.NOTHING)
    assert covered(A, B, agent("c", registered=NOW - 90), tasks=("a", "b")).step.instances == 3


def test_a_host_that_comes_and_goes_is_not_relied_on() -> None:
    """However long ago it registered: who watched it says why."""
    found = covered(A, B, C, tasks=("a", "b"), unsettled={"c-S": "came back 3 times within 10 min"})
    assert (found.hosts[2].standing, found.hosts[2].why) == (Standing.NEW, "came back 3 times within 10 min")
    assert (found.target, found.eligible, found.step.verdict) == (2, 3, Verdict.NOTHING)


def test_a_host_whose_attribute_changed_still_holds_its_instance() -> None:
    """Marathon leaves it where it is: it counts as one that runs, but not as one to aim at, and what is wrong is said."""
    found = covered(A, agent("b", attributes={"rack": "dmz"}), tasks=("a", "b"))
    assert (found.hosts[1].standing, found.hosts[1].why) == (Standing.MISPLACED, "rack UNLIKE dmz: here 'dmz'")
    assert (found.target, found.eligible, found.step.wanted, found.step.verdict) == (1, 1, 2, Verdict.NOTHING)


@pytest.mark.parametrize(
    ("fields", "verdict", "why"),
    [
        ({"complete": False}, Verdict.WAIT, "the state of the cluster is not complete"),
        ({"deploying": True}, Verdict.WAIT, "a deployment is under way"),
        ({"deploying": True, "instances": 9}, Verdict.WAIT, "a deployment is under way: it wants 9, 3 can run"),
        ({"instances": 0}, Verdict.NOTHING, "its owner has stopped it"),
    ],
)
def test_when_nothing_is_done(fields: dict[str, object], verdict: Verdict, why: str) -> None:
    """In a failover, in a deployment, and when somebody stopped the app."""
    found = covered(A, B, C, tasks=("a", "b"), **fields)  # type: ignore[arg-type]
    assert (found.step.verdict, found.step.why) == (verdict, why)
    assert found.step.instances == fields.get("instances", 2)


def test_a_host_that_leaves_changes_nothing_while_it_is_there() -> None:
    """Its instance counts as one of those wanted, not as one to aim at; its place is nobody's."""
    found = covered(A, agent("b", drain="DRAINING"), tasks=("a", "b"))
    assert (found.hosts[1].standing, found.hosts[1].why) == (Standing.LEAVING, "draining")
    assert (found.target, found.step.verdict, found.step.instances) == (1, Verdict.NOTHING, 2)


@pytest.mark.parametrize(("version", "standing"), [("1.8.222", Standing.LEAVING), ("1.3.0", Standing.RUNNING)])
def test_a_host_in_maintenance_is_one_that_leaves(version: str, standing: Standing) -> None:
    """To a Marathon that knows of it; one that lacks an instance takes none."""
    away = msgspec.structs.replace(B, maintenance=True)
    found = covered(A, away, msgspec.structs.replace(C, maintenance=True), tasks=("a", "b"), version=version)
    assert found.hosts[1].standing is standing
    known = standing is Standing.LEAVING
    assert (found.hosts[1].why, found.target) == ("in maintenance", 1) if known else ("", 3)
    assert found.step.verdict is (Verdict.NOTHING if known else Verdict.SCALE)


def test_it_never_scales_down() -> None:
    """More wanted than can run is told, with what stands in the way."""
    found = covered(A, agent("b", 0.5), instances=5, tasks=("a",))
    assert (found.step.verdict, found.step.instances) == (Verdict.REPORT, 5)
    assert found.step.why == "wants 5, 1 can run: b: needs 1 cpus, 0.5 free"
    assert covered(A, instances=3, tasks=("a",)).step.why == "wants 3, 1 can run"


def test_an_instance_on_a_host_that_is_gone_is_not_counted_twice() -> None:
    """Marathon will start it on the new host by itself: no more are wanted than before."""
    found = covered(A, C, instances=2, tasks=("a", "gone"))
    assert (found.target, found.step.verdict, found.step.instances) == (2, Verdict.NOTHING, 2)


def test_a_step_is_bounded() -> None:
    """At most so many at a time."""
    found = covered(A, B, C, instances=1, tasks=("a",), most=1)
    assert (found.target, found.step.instances) == (3, 2)


def test_two_agents_on_one_host_are_one_place() -> None:
    """Marathon compares host names."""
    twin = msgspec.structs.replace(C, id="c2-S")
    found = covered(A, B, C, twin, tasks=("a", "b"))
    assert (found.target, found.step.instances) == (3, 3)


@pytest.mark.parametrize(
    ("constraints", "label", "wanted"),
    [
        ([("hostname", "UNIQUE", "")], "", True),
        ([("@hostname", "UNIQUE", "")], "", True),
        ([("hostname", "MAX_PER", "1")], "", True),
        ([("hostname", "UNIQUE", "")], "off", False),
        ([("hostname", "UNIQUE", "")], "OFF", False),
        ([("hostname", "UNIQUE", "")], "on", True),
        ([("rack", "UNIQUE", "")], "", False),
        ([], "", False),
    ],
)
def test_which_apps_are_followed(constraints: list[tuple[str, str, str]], label: str, wanted: bool) -> None:
    """One on each host by a constraint, and not exempt by its label."""
    labels = {"OCTOPUS_UNIQUE": label} if label else {}
    assert is_followed(App(id="/a", constraints=tuple(Constraint(*each) for each in constraints), labels=labels)) is wanted
