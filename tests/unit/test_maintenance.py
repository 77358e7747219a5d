"""Mesos' plan of maintenance: how it is read, and what it is to the agents, in and after its time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from octopus.core.cluster import Cluster
from octopus.core.errors import BadUpstream
from octopus.core.inventory import Agent, Snapshot
from octopus.core.maintenance import Plan, decode_schedule
from octopus.core.mesos_events import AgentAdded
from octopus.core.placement_offers import Window, offers
from octopus.core.placement_rules import rules_of


def schedule(*windows: dict[str, Any]) -> bytes:
    """Return a plan as Mesos answers it."""
    return json.dumps({"windows": list(windows)}).encode()


A = {"machine_ids": [{"hostname": "A", "ip": "10.0.0.1"}], "unavailability": {"start": {"nanoseconds": 100_000_000_000}}}
B = {
    "machine_ids": [{"hostname": "b", "ip": "10.0.0.2"}, {"ip": "10.0.0.3"}, {"hostname": "e"}],
    "unavailability": {"start": {"nanoseconds": 50_000_000_000}, "duration": {"nanoseconds": 10_000_000_000}},
}


def test_a_plan_is_read() -> None:
    """Each machine with its own window; without a duration for ever; what cannot be read is passed over."""
    assert decode_schedule(schedule(A, {"machine_ids": 7}, B)) == (
        Window("A", "10.0.0.1", 100.0, 0.0),
        Window("b", "10.0.0.2", 50.0, 60.0),
        Window("", "10.0.0.3", 50.0, 60.0),
        Window("e", "", 50.0, 60.0),
    )
    assert decode_schedule(b"{}") == ()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"windows": 7}'])
def test_what_is_no_plan_is_told(body: bytes) -> None:
    """A broken master, not an empty plan."""
    with pytest.raises(BadUpstream):
        decode_schedule(body)


@pytest.mark.parametrize(
    ("agent", "now", "covered"),
    [
        (Agent("1", "a", "10.0.0.1"), 99.0, False),
        (Agent("1", "a", "10.0.0.1"), 100.0, True),
        (Agent("1", "a", "10.0.0.9"), 100.0, False),
        (Agent("2", "B", "10.0.0.2"), 59.0, True),
        (Agent("2", "B", "10.0.0.2"), 60.0, False),
        (Agent("3", "c", "10.0.0.3"), 50.0, False),
        (Agent("5", "e", "10.0.0.5"), 50.0, False),
        (Agent("4", "d", "10.0.0.4"), 50.0, False),
    ],
)
def test_whom_a_plan_covers(agent: Agent, now: float, covered: bool) -> None:
    """By host name whatever its case and address, both as the agent registered: with one of them alone Mesos finds no agent."""
    assert Plan(decode_schedule(schedule(A, B))).covers(agent, now) is covered


def test_agents_in_maintenance_are_marked_however_they_come() -> None:
    """Those known when the plan is read, those of the next state, and those that join; and no more when it is over."""
    cluster = Cluster()
    first, second = Agent("1", "a", "10.0.0.1"), Agent("2", "b", "10.0.0.2")
    cluster.replace(Snapshot(agents=[first, second]), 55.0)
    cluster.plan(decode_schedule(schedule(A, B)), 55.0)
    assert {agent.hostname: agent.maintenance for agent in cluster.agents.values()} == {"a": False, "b": True}
    [_, offer] = offers(cluster.agents.values(), [], rules_of("1.8.222"))
    assert offer.maintenance
    cluster.replace(Snapshot(agents=[first, second]), 100.0)
    assert {agent.hostname: agent.maintenance for agent in cluster.agents.values()} == {"a": True, "b": False}
    cluster.apply(AgentAdded(Agent("3", "a", "10.0.0.1")))
    assert cluster.agents["3"].maintenance
    cluster.plan((), 101.0)
    assert not any(agent.maintenance for agent in cluster.agents.values())
