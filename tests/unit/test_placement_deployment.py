"""Upgrades: what stops and starts at once, and which never come to an end."""

from __future__ import annotations

import msgspec
import pytest

from octopus.core.placement import View
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed
from octopus.core.placement_deployment import Old, Strategy, strategy, upgrade
from octopus.core.placement_offers import Offer
from octopus.core.placement_rules import Reason, rules_of
from octopus.core.resources import Amounts
from tests.unit.placement_cases import app, offer, view


@pytest.mark.parametrize(
    ("version", "instances", "healthy", "over", "resident", "old", "wanted", "because"),
    [
        ("1.8.222", 4, 1.0, 1.0, False, 4, (0, 8, 4), "the default: as many new as old"),
        ("1.8.222", 4, 1.0, 0.0, False, 4, (0, 5, 1), "one over, or nothing could ever start"),
        ("1.8.222", 4, 0.5, 0.0, False, 4, (2, 4, 2), "half stop first"),
        ("1.8.222", 4, 0.0, 0.0, False, 4, (4, 4, 4), "all stop first"),
        ("1.8.222", 3, 0.5, 0.5, False, 3, (1, 4, 2), "2 healthy of 3, 4 in all"),
        ("1.8.222", 4, 1.0, 0.0, True, 4, (1, 4, 1), "a resident app is never over: one stops"),
        ("1.8.222", 2, 1.0, 0.0, False, 5, (3, 3, 1), "those too many stop"),
        ("1.8.222", 4, 1.0, 1.0, False, 0, (0, 8, 4), "nothing there yet"),
        ("0.11.1", 4, 1.0, 0.0, False, 4, (0, 5, 1), "0.11 adds one only when nothing can be stopped"),
        ("0.11.1", 4, 0.5, 0.0, False, 4, (2, 4, 2), "and not here"),
        (
            "0.11.1",
            2,
            1.0,
            0.0,
            False,
            5,
            (3, 2, 0),
            "3 stop as 2 are to stay healthy, and there is no room for a new one before more stop",
        ),
        ("1.8.222", 10, 0.7, 0.0, False, 10, (3, 10, 3), "7 exactly, as doubles have it"),
    ],
)
def test_what_is_done_at_once(
    version: str, instances: int, healthy: float, over: float, resident: bool, old: int, wanted: tuple[int, int, int], because: str
) -> None:
    """``computeRestartStrategy``: stopped, capacity, started."""
    asking = App(id="/a", instances=instances, minimum_health=healthy, maximum_over=over, resident=resident)
    stop, capacity, start = wanted
    assert strategy(asking, old, rules_of(version)) == Strategy(stop=stop, capacity=capacity, start=start), because


def running(*hosts: str, cpus: float = 1) -> list[Old]:
    """Return old instances on these hosts."""
    return [Old(agent=f"{host}-S", placed=Placed(host), uses=Amounts(cpus=round(cpus * 1000))) for host in hosts]


def hosts(cpus: float, version: str, *names: str) -> View:
    """Return hosts with so many CPUs left beside what runs there."""
    return view(*(offer(name, cpus) for name in names), version=version)


def asking(*constraints: str, instances: int, healthy: float = 1.0, over: float = 1.0) -> App:
    """Return an app that is upgraded so."""
    return msgspec.structs.replace(app(*constraints), instances=instances, minimum_health=healthy, maximum_over=over)


@pytest.mark.parametrize(
    ("version", "healthy", "over", "started", "because"),
    [
        ("0.11.1", 1.0, 1.0, 0, "every host has an old one, which counts: nothing can start, nothing may stop"),
        ("0.11.1", 0.5, 0.0, 2, "one stops first, and its host takes the new one"),
        ("1.1.0", 1.0, 1.0, 2, "old ones do not count from 1.1 on"),
    ],
)
def test_a_unique_app_on_every_host(version: str, healthy: float, over: float, started: int, because: str) -> None:
    """Before 1.1 an upgrade that stops nothing first never ends."""
    found = upgrade(asking("hostname UNIQUE", instances=2, healthy=healthy, over=over), hosts(2, version, "a", "b"), running("a", "b"))
    assert found.started == started, because
    assert found.finishes is (started == 2)
    assert {reason for refusal in found.stuck for reason in refusal.reasons} == (set() if started else {Reason.UNFULFILLED_CONSTRAINT})


def test_a_restart_counts_the_old_ones_until_1_10() -> None:
    """Nothing in the app changes, so they are of the same configuration."""
    roll = asking("hostname UNIQUE", instances=2)
    found = [
        upgrade(roll, hosts(2, version, "a", "b"), running("a", "b"), restart=restart).finishes
        for version, restart in (("1.8.222", False), ("1.8.222", True), ("1.11.0", True))
    ]
    assert found == [True, False, True]


def test_a_full_cluster_cannot_be_rolled_with_nothing_stopped() -> None:
    """By default there must be room for as many again; half stopped first, none is needed."""
    full = hosts(0, "1.8.222", "a", "b")
    stuck = upgrade(asking(instances=2), full, running("a", "b"))
    assert (stuck.started, stuck.finishes) == (0, False)
    assert {refusal.hostname for refusal in stuck.stuck} == {"a", "b"}
    assert upgrade(asking(instances=2, healthy=0.5, over=0.0), full, running("a", "b")).finishes
    assert upgrade(asking(instances=2, healthy=1.0, over=0.0), hosts(1, "1.8.222", "a", "b"), running("a", "b")).finishes


def test_one_free_place_carries_an_upgrade_through() -> None:
    """One new starts, one old stops, and so on."""
    spare = view(offer("a", 0), offer("b", 0), offer("c", 1))
    four, old = asking(instances=4, over=0.25), running("a", "a", "b", "b")
    assert upgrade(four, spare, old).finishes
    assert upgrade(four, spare, old, steps=2).started == 2


def test_the_order_in_which_old_ones_stop_may_decide() -> None:
    """The one on b leaves room for the new one, the one on a does not: what is told is the worse end."""
    cluster: tuple[Offer, ...] = (offer("a", 0), offer("b", 1))
    larger = msgspec.structs.replace(asking(instances=2, healthy=0.5, over=0.0), needs=Amounts(cpus=2000))
    found = upgrade(larger, view(*cluster), running("a", "b"))
    assert (found.started, found.order_decides, found.finishes) == (0, True, False)


def test_an_app_that_is_to_have_none_is_done() -> None:
    """Whatever runs."""
    assert upgrade(asking(instances=0), hosts(1, "1.8.222", "a"), running("a")).finishes


def test_ports_of_old_instances_come_free_with_them() -> None:
    """A fixed port keeps the new one off the host until the old one stops."""
    fixed = msgspec.structs.replace(asking(instances=1), ports=(80,))
    old = [Old(agent="a-S", placed=Placed("a"), uses=Amounts(cpus=1000, ports=((80, 80),)))]
    first = upgrade(fixed, hosts(4, "1.8.222", "a"), old)
    assert (first.finishes, first.stuck[0].reasons) == (False, (Reason.INSUFFICIENT_PORTS,))
    assert upgrade(msgspec.structs.replace(fixed, minimum_health=0.0, maximum_over=0.0), hosts(4, "1.8.222", "a"), old).finishes
