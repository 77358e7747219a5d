"""What one agent holds of an app by resources, roles and ports, for each version, and why it holds no more."""

from __future__ import annotations

import msgspec
import pytest

from octopus.core.inventory import Agent, Task
from octopus.core.placement import View, fits_alone, headroom, place, reasons
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed
from octopus.core.placement_fit import PLENTY, Fit, contiguous
from octopus.core.placement_offers import Offer, Window, free_by_role, offers
from octopus.core.placement_rules import Reason, rules_of
from octopus.core.resources import NOTHING, Amounts
from tests.unit.placement_cases import PORTS, app, offer, view


def host(**roles: Amounts) -> Offer:
    """Return an agent with this free for each role; ``any`` is for what nobody reserved."""
    free = {"*" if role == "any" else role: amounts for role, amounts in roles.items()}
    return Offer(agent="S", hostname="h", free=free, least=free)


def needing(cpus: int = 1, mem: int = 0, disk: int = 0, ports: tuple[int, ...] = (), roles: tuple[str, ...] = (), **more: object) -> App:
    """Return an app that needs whole CPUs and MB."""
    made = App(id="/a", needs=Amounts(cpus * 1000, mem * 1000, disk * 1000), ports=ports, roles=roles)
    return msgspec.structs.replace(made, **more)


TWO = host(any=Amounts(3000, 64_000, 100_000), web=Amounts(2000, 64_000))


@pytest.mark.parametrize(
    ("version", "asking", "room", "because"),
    [
        ("1.1.0", needing(), 5, "3 and 2 CPUs count together from 1.1 on"),
        ("0.11.1", needing(), 5, "one after the other from the larger entry"),
        ("1.1.0", needing(2), 2, "5 CPUs in all"),
        ("0.11.1", needing(2), 2, "one of 3 and one of 2"),
        ("0.11.1", needing(4), 0, "before 1.1 no entry holds 4"),
        ("1.1.0", needing(4), 1, "together they do"),
        ("1.1.0", needing(roles=("*",)), 3, "unreserved only"),
        ("1.1.0", needing(roles=("web",)), 2, "reserved only"),
        ("1.1.0", needing(roles=("db",)), 0, "a role Marathon has not"),
        ("0.8.2", needing(roles=("*",)), 5, "0.8 cannot choose a role"),
        ("1.1.0", needing(mem=64), 2, "memory ends first"),
        ("1.1.0", needing(disk=60), 1, "disk is used up"),
        ("0.8.2", needing(disk=60), 5, "0.8 looks at the disk and uses none"),
        ("0.8.2", needing(disk=101), 0, "one entry must hold it"),
        ("1.1.0", needing(0), PLENTY, "needs nothing"),
    ],
)
def test_roles_and_scalars(version: str, asking: App, room: int, because: str) -> None:
    """``ResourceMatcher.scala`` of 0.8.2, 0.11.1 and 1.1: three ways to add up."""
    assert Fit(asking, rules_of(version, role="web")).room(TWO) == room, because


def test_0_8_needs_an_entry_of_disk_whatever_the_app_needs() -> None:
    """An agent whose disk is all taken is of no use to it."""
    full = host(any=Amounts(4000, 4000))
    old, new = Fit(needing(), rules_of("0.8.2")), Fit(needing(), rules_of("0.9.0"))
    assert (old.room(full), new.room(full)) == (0, 4)
    assert [reason for reason, _ in old.why(full)] == [Reason.INSUFFICIENT_DISK]
    assert [reason for reason, _ in Fit(needing(disk=5), rules_of("0.8.2")).why(full)] == [Reason.INSUFFICIENT_DISK]


PORT_HOST = host(any=Amounts(90_000, 1000, 1000, 0, ((10, 19), (30, 34))))


@pytest.mark.parametrize(
    ("version", "ports", "declared", "least", "most", "because"),
    [
        ("0.9.0", (0,), (), 15, 15, "one each"),
        ("0.9.0", (0, 0, 0, 0), (), 3, 3, "15 ports in fours, of any range"),
        ("0.9.0", (12,), (), 1, 1, "a fixed port only once"),
        ("0.9.0", (12, 0, 0), (), 1, 1, "and others beside it"),
        ("0.9.0", (12, 40), (), 0, 0, "40 is not offered"),
        ("0.9.0", (12, 12), (), 0, 0, "one port cannot be had twice"),
        ("0.9.0", (12, *[0] * 15), (), 0, 0, "not enough beside it"),
        ("0.8.2", (0, 0, 0, 0), (0, 0, 0, 0), 2, 3, "four beside each other: two of ten or one, where chance puts them, and one of five"),
        ("0.8.2", (0,), (8080,), 15, 15, "a wish that is not offered"),
        ("0.8.2", (0, 0), (10, 34), 5, 7, "the wish first, then pairs of 9 and of 4"),
        ("0.8.2", (12,), (), 1, 1, "fixed ports as later"),
    ],
)
def test_ports(version: str, ports: tuple[int, ...], declared: tuple[int, ...], least: int, most: int, because: str) -> None:
    """``PortsMatcher.scala`` of 0.8.2 and later."""
    asking = needing(ports=ports, declared=declared)
    found = headroom(asking, View(offers=(PORT_HOST,), rules=rules_of(version)))
    assert (found.least, found.most) == (least, most), because


@pytest.mark.parametrize(("length", "k"), [(5, 1), (9, 2), (10, 4), (3, 4), (12, 3)])
def test_ports_beside_each_other_against_every_choice(length: int, k: int) -> None:
    """The least and the most over all places where chance may put them."""

    def ends(left: int) -> tuple[int, int]:
        if left < k:
            return 0, 0
        split = [(ends(before), ends(left - k - before)) for before in range(left - k + 1)]
        return 1 + min(one[0] + other[0] for one, other in split), 1 + max(one[1] + other[1] for one, other in split)

    wanted = ends(length)
    free = ((100, 99 + length),)
    assert (contiguous(free, [0] * k, surely=True), contiguous(free, [0] * k, surely=False)) == wanted


def test_0_8_looks_at_one_entry_of_ports() -> None:
    """What is unreserved comes first."""
    both = host(web=Amounts(9000, 0, 1000, 0, ((50, 59),)), any=Amounts(9000, 0, 1000, 0, ((10, 11),)))
    none = host(any=Amounts(9000, 0, 1000))
    assert Fit(needing(ports=(0,), declared=(0,)), rules_of("0.8.2", role="web")).room(both) == 2
    assert Fit(needing(ports=(0,)), rules_of("0.9.0", role="web")).room(both) == 12
    fit = Fit(needing(ports=(0, 0), declared=(0, 0)), rules_of("0.8.2"))
    assert fit.why(none) == [(Reason.INSUFFICIENT_PORTS, "needs 2 ports beside each other, 0 free")]


@pytest.mark.parametrize(
    ("asking", "offered", "version", "wanted"),
    [
        (needing(5), offer("h"), "1.8.222", [(Reason.INSUFFICIENT_CPUS, "needs 5 cpus, 4 free")]),
        (needing(5), offer("h"), "0.11.1", [(Reason.INSUFFICIENT_CPUS, "needs 5 cpus of one role, 4 free")]),
        (
            needing(5, mem=9000, disk=9000, ports=(80,)),
            offer("h"),
            "1.8.222",
            [
                (Reason.INSUFFICIENT_CPUS, "needs 5 cpus, 4 free"),
                (Reason.INSUFFICIENT_MEMORY, "needs 9000 mem, 4096 free"),
                (Reason.INSUFFICIENT_DISK, "needs 9000 disk, 1000 free"),
                (Reason.INSUFFICIENT_PORTS, "port 80 not free"),
            ],
        ),
        (needing(ports=(0,) * 1001), offer("h"), "1.8.222", [(Reason.INSUFFICIENT_PORTS, "needs 1001 ports, 1000 free")]),
        (needing(roles=("web",)), offer("h"), "1.8.222", [(Reason.UNFULFILLED_ROLE, "nothing free for a role Marathon has")]),
        (needing(), host(any=NOTHING), "1.8.222", [(Reason.UNFULFILLED_ROLE, "nothing free for *")]),
        (needing(), offer("h"), "1.8.222", []),
    ],
)
def test_every_reason_in_marathons_order(asking: App, offered: Offer, version: str, wanted: list[tuple[Reason, str]]) -> None:
    """``NoOfferMatchReason.scala``, reasonFunnel: roles, constraints, then resources."""
    assert Fit(asking, rules_of(version)).why(offered) == wanted


GPU_HOST = host(any=Amounts(4000, 4000, 0, 2000))


def test_agents_with_gpus_are_kept_for_apps_that_need_them() -> None:
    """From 1.8 on by default; the app's label says otherwise; an app that needs one gets one."""
    new, old = rules_of("1.8.222"), rules_of("1.7.236")
    assert (Fit(app(), new).room(GPU_HOST), Fit(app(), old).room(GPU_HOST)) == (0, 4)
    assert Fit(app(), new).why(GPU_HOST) == [(Reason.DECLINED_SCARCE_RESOURCES, "has GPUs, which the app does not need")]
    assert Fit(needing(gpu_behaviour="unrestricted"), new).room(GPU_HOST) == 4
    one = msgspec.structs.replace(app(), needs=Amounts(1000, 0, 0, 1000))
    assert Fit(one, new).room(GPU_HOST) == 2
    assert Fit(one, new).why(offer("h")) == [(Reason.INSUFFICIENT_GPUS, "needs 1 gpus, 0 free")]


def test_other_regions_are_not_used_unless_named() -> None:
    """From 1.6 on; an agent without a region, or a master whose region is not known, hinders nothing."""
    far = msgspec.structs.replace(offer("h"), region="us")
    new = rules_of("1.8.222")
    assert Fit(app(), new, region="eu").why(far)[0][0] is Reason.UNFULFILLED_CONSTRAINT
    assert [
        Fit(app(), new, region="us").room(far),
        Fit(app(), new).room(far),
        Fit(app("@region IS us"), new, region="eu").room(far),
        Fit(app(), rules_of("1.5.0"), region="eu").room(far),
        Fit(app(), new, region="eu").room(offer("h")),
    ] == [4] * 5


def test_maintenance_is_told_as_marathon_tells_it() -> None:
    """Both words, the first of them the constraint's; older Marathons go on placing."""
    down = msgspec.structs.replace(offer("h"), maintenance=True)
    [refusal] = reasons(app(), view(down))
    assert refusal.reasons == (Reason.UNFULFILLED_CONSTRAINT, Reason.AGENT_MAINTENANCE)
    assert refusal.detail == "in maintenance"
    assert headroom(app(), view(down, version="1.5.0")).least == 4


AGENT = Agent("S1", "Host-1", "10.0.0.1", total=Amounts(4000, 4_096_000, 0, 0, ((1, 10),)))


def only(agent: Agent, tasks: tuple[Task, ...] = (), version: str = "1.8.222", **more: object) -> Offer:
    """Return the one offer of an agent."""
    [found] = offers([agent], tasks, rules_of(version, role="web", features=["x"]), **more)  # type: ignore[arg-type]
    return found


def test_free_is_total_less_tasks_less_others() -> None:
    """Ports are those of the tasks, whatever role they are of."""
    agent = msgspec.structs.replace(AGENT, others=Amounts(cpus=500))
    tasks = (Task("t", "f", "S1", "TASK_RUNNING", ports=(3,), amounts=Amounts(1000, 96_000)), Task("u", "f", "S2", "TASK_RUNNING"))
    assert only(agent, tasks).free == {"*": Amounts(2500, 4_000_000, 0, 0, ((1, 2), (4, 10)))}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"drain": "DRAINING", "deactivated": True}, "draining"),
        ({"deactivated": True}, "deactivated"),
        ({"active": False}, "disconnected"),
        ({"total": Amounts(4000, 4_096_000, 0, 1000)}, "has GPUs, and Marathon runs without gpu_resources"),
        ({"others": Amounts(3991, 4_064_001)}, "nothing left to offer"),
        ({"others": Amounts(3990, 4_090_000)}, ""),
    ],
)
def test_what_mesos_does_not_offer(fields: dict[str, object], why: str) -> None:
    """Our word, for Marathon never gets to see it."""
    offered = only(msgspec.structs.replace(AGENT, **fields))
    assert offered.withheld == why
    assert (Fit(needing(0), rules_of("")).room(offered) == 0) is bool(why)
    if why:
        [refusal] = reasons(app(), view(offered))
        assert (refusal.reasons, refusal.detail) == ((Reason.NOT_OFFERED,), why)


@pytest.mark.parametrize(
    ("window", "now", "covered"),
    [
        (Window("host-1", "10.0.0.1", 100, 200), 150, True),
        (Window("HOST-1", "10.0.0.1", 100), 1e9, True),
        (Window("host-1", "10.0.0.1", 100, 200), 99, False),
        (Window("host-1", "", 100), 150, False),
        (Window("", "10.0.0.1", 100), 150, False),
        (Window("host-1", "10.0.0.1", 100, 200), 200, False),
        (Window("host-2", "10.0.0.1", 100, 200), 150, False),
        (Window("host-1", "10.0.0.9", 100, 200), 150, False),
    ],
)
def test_maintenance_windows(window: Window, now: float, covered: bool) -> None:
    """Host name without case and ip must both fit, in the time between."""
    assert only(AGENT, windows=[window], now=now).maintenance is covered


RESERVED = {"web": Amounts(1000, 1_000_000), "db": Amounts(1000, 0)}


def test_what_is_kept_for_others_is_not_offered() -> None:
    """With all told, exact: unreserved is the rest, and the use of it what no reservation holds."""
    agent = msgspec.structs.replace(AGENT, reserved=RESERVED, reserved_used={"web": Amounts(cpus=400)}, others=Amounts(cpus=1400))
    offered = only(agent)
    assert offered.certain
    assert {role: free.cpus for role, free in offered.free.items()} == {"*": 1000, "web": 600}


def test_what_is_not_told_makes_bounds_wider() -> None:
    """Between: all that is used is of this role, and none of it is."""
    agent = msgspec.structs.replace(AGENT, reserved=RESERVED, reserved_used=None, others=Amounts(cpus=1400, ports=((9, 10),)))
    most, least = free_by_role(agent, agent.others)
    assert {role: (least[role].cpus, most[role].cpus) for role in most} == {"web": (0, 1000), "db": (0, 1000), "*": (600, 2000)}
    assert most["*"].ports == ((1, 8),)
    cluster = View(offers=(only(agent),), rules=rules_of("1.8.222", role="web"))
    found, _ = place(msgspec.structs.replace(app(), needs=Amounts(cpus=200)), cluster, 20)
    assert (found.least, found.most, found.exact) == (3, 15, False)
    assert found.notes == ("the master does not say what of the reserved resources is used: bounds are wider for it",)


def test_what_is_placed_is_taken_reserved_first() -> None:
    """And the lowest ports that are not the fixed ones."""
    fit = Fit(needing(3, ports=(0,)), rules_of("1.8.222", role="web"))
    both = host(any=Amounts(9000, 9000, 0, 0, PORTS), web=Amounts(2000, 9000))
    left = fit.taken(both, 2)
    assert (left.free["web"].cpus, left.free["*"].cpus) == (0, 5000)
    assert left.free["*"].ports == ((31002, 31999),)
    assert left.giving(Amounts(cpus=1000)).free["*"].cpus == left.giving(Amounts(cpus=1000)).least["*"].cpus == 6000
    fixed = Fit(needing(1, ports=(31000, 0)), rules_of("1.8.222"))
    assert fixed.taken(host(any=Amounts(9000, 0, 0, 0, PORTS)), 1).free["*"].ports == ((31002, 31999),)
    old = Fit(needing(1, disk=5), rules_of("0.8.2"))
    assert old.taken(host(any=Amounts(9000, 0, 5000)), 1).free["*"] == Amounts(8000, 0, 5000)


def test_alone_means_without_the_others() -> None:
    """Each agent by itself, with the constraints that look at it alone."""
    cluster = view(offer("a", 4, rack="r1"), offer("b", 2, rack="r2"))
    assert fits_alone(app("hostname UNIQUE"), cluster) == [4, 2]
    assert fits_alone(app("rack LIKE r2"), cluster) == [0, 2]


def test_a_role_and_a_constraint_are_both_told() -> None:
    """The role first, as Marathon's funnel has it."""
    [refusal] = reasons(
        needing(constraints=app("rack UNIQUE").constraints, roles=("web",)), view(offer("a", rack="r1")), [Placed("x", {"rack": "r1"})]
    )
    assert refusal.reasons == (Reason.UNFULFILLED_ROLE, Reason.UNFULFILLED_CONSTRAINT)
