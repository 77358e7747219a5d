"""Resources, attributes and domains of agents, as masters of every version tell them."""

from __future__ import annotations

import json

import msgspec
import pytest

from octopus.core.inventory import Agent
from octopus.core.mesos_events import decode_get_state
from octopus.core.mesos_state import decode_state
from octopus.core.placement_offers import free_by_role
from octopus.core.resource_wire import APART, Resource, V1Attribute, attributes, by_role, in_all
from octopus.core.resources import NOTHING, Amounts, shown
from tests.wire_data import mesos


def resource(**fields: object) -> dict[str, object]:
    """Return one entry of a list of resources."""
    return {"type": "SCALAR", **fields}


CPUS = resource(name="cpus", scalar={"value": 4})
STATIC = resource(name="cpus", scalar={"value": 2}, role="web")
REFINED = resource(name="cpus", scalar={"value": 1}, reservations=[{"role": "eng"}, {"role": "eng/ci"}])
OWNED = resource(
    name="mem", scalar={"value": 9}, role="web", reservation={"labels": {"labels": [{"key": "marathon_task_id", "value": "x"}]}}
)
VOLUME = resource(name="disk", scalar={"value": 5}, disk={"persistence": {"id": "x"}})
MOUNT = resource(name="disk", scalar={"value": 7}, disk={"source": {"type": "MOUNT"}})
SPARE = resource(name="cpus", scalar={"value": 3}, revocable={})
PORTS = resource(name="ports", ranges={"range": [{"begin": 1, "end": 5}]})
CUSTOM = resource(name="fpgas", scalar={"value": 3})
EVERYTHING = [CPUS, STATIC, REFINED, OWNED, VOLUME, MOUNT, SPARE, PORTS, CUSTOM]


def test_resources_count_for_the_role_they_are_reserved_for() -> None:
    """The last reservation counts; volumes, other disks and a resident instance's own are for no role, revocable ones are left out."""
    found = by_role(msgspec.convert(EVERYTHING, list[Resource]))
    assert found.pop(APART) == Amounts(0, 9_000, 12_000)
    assert found == {"*": Amounts(cpus=4000, ports=((1, 5),)), "web": Amounts(cpus=2000), "eng/ci": Amounts(cpus=1000)}


def test_all_resources_are_what_the_agent_has() -> None:
    """Volumes and reservations included, revocable ones not."""
    assert in_all(msgspec.convert(EVERYTHING, list[Resource])) == Amounts(7000, 9000, 12000, 0, ((1, 5),))


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        ({"type": "TEXT", "text": {"value": "r1"}}, "r1"),
        ({"type": "SCALAR", "scalar": {"value": 2}}, 2.0),
        ({"type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 2}, {"begin": 5, "end": 9}]}}, "[1-2, 5-9]"),
        ({"type": "SET", "set": {"item": ["b", "a"]}}, "{b, a}"),
        ({"type": "TEXT"}, ""),
    ],
)
def test_attributes_of_each_type(wire: dict[str, object], value: str | float) -> None:
    """v1's four types become what v0 writes; of two with one name the first counts."""
    both = [{"name": "x", **wire}, {"name": "x", "text": {"value": "second"}}]
    assert attributes(msgspec.convert(both, list[V1Attribute])) == {"x": value}


def agents(name: str) -> dict[str, Agent]:
    """Return the agents of a recorded state by host name."""
    return {agent.hostname: agent for agent in decode_state(mesos(name)).agents}


def test_reservations_of_0_28() -> None:
    """What is kept for a role is told; what is used of it is not, without the full lists."""
    [agent] = agents("master-state-0.28.0-reservations.json").values()
    assert agent.reserved == {"marathon": Amounts(1100, 144_000, 138_000, 0, ((31903, 31903),))}
    assert agent.reserved_used is None


def test_attributes_of_0_27() -> None:
    """Attributes come by name."""
    assert agents("master-state-0.27.0-attributes.json")["10.0.5.136"].attributes == {"public_ip": "true"}


def test_0_22_says_what_frameworks_use_beyond_their_tasks() -> None:
    """Per agent nothing is told, so executors of frameworks' own are one sum for all: 4.8 CPUs in this cluster."""
    snapshot = decode_state(mesos("master-state-0.22.0-large.json"))
    assert shown(snapshot.unattributed.cpus) == "4.8"
    assert all(agent.others == NOTHING for agent in snapshot.agents)
    later = decode_state(mesos("recorded-after-state.json"))
    assert later.unattributed == NOTHING


def v0_agent(**fields: object) -> Agent:
    """Return one agent as 1.9 and later tell it."""
    wire = {
        "id": "S1",
        "hostname": "h",
        "resources": {"cpus": 8, "mem": 100, "disk": 0, "ports": "[1-10]"},
        "used_resources": {"cpus": 3, "mem": 50, "disk": 0, "ports": "[2-3, 9-9]"},
        **fields,
    }
    task = {
        "id": "t",
        "framework_id": "f",
        "slave_id": "S1",
        "state": "TASK_RUNNING",
        "resources": {"cpus": 1, "mem": 50, "ports": "[2-2]"},
    }
    state = {"slaves": [wire], "frameworks": [{"id": "f", "tasks": [task]}], "domain": {"fault_domain": {"region": {"name": "eu"}}}}
    snapshot = decode_state(json.dumps(state).encode())
    assert snapshot.region == "eu"
    return snapshot.agents[0]


def test_what_no_task_uses_is_others() -> None:
    """Custom executors: told as used, in no task."""
    agent = v0_agent()
    assert agent.total == Amounts(8000, 100_000, 0, 0, ((1, 10),))
    assert agent.others == Amounts(2000, 0, 0, 0, ((3, 3), (9, 9)))
    assert (agent.active, agent.deactivated, agent.drain, agent.region) == (True, False, "", "")


def test_use_of_reservations_is_known_only_by_the_full_lists() -> None:
    """Nothing reserved is known to be unused; reserved without the lists is not known; with them it is exact."""
    reserved = {"web": {"cpus": 4, "mem": 0, "disk": 0}}
    assert v0_agent().reserved_used == {}
    assert v0_agent(reserved_resources=reserved).reserved_used is None
    full = v0_agent(reserved_resources=reserved, used_resources_full=[CPUS, STATIC])
    assert full.reserved_used == {"web": Amounts(cpus=2000)}


def test_the_full_lists_of_v0_tell_volumes_apart() -> None:
    """What is reserved, by its entries: a resident instance's own is not free for its role, used or not."""
    lists = {
        "reserved_resources": {"web": {"cpus": 2, "mem": 9}},
        "reserved_resources_full": {"web": [STATIC, OWNED]},
        "unreserved_resources_full": [CPUS, MOUNT],
    }
    agent = v0_agent(**lists, used_resources_full=[STATIC])
    assert (agent.reserved, agent.reserved_used) == (
        {"web": Amounts(cpus=2000), APART: Amounts(0, 9000, 7000)},
        {"web": Amounts(cpus=2000)},
    )
    early = v0_agent(reserved_resources=lists["reserved_resources"], used_resources_full=[STATIC, OWNED])
    assert early.reserved_used == {"web": Amounts(2000, 9000)}


def test_what_is_set_apart_is_free_for_nobody() -> None:
    """A disk of its own, a volume and what is kept for one resident instance are no part of what is free, while unused as while used."""
    for allocated in ([], [OWNED, VOLUME]):
        info = {"id": {"value": "S1"}, "hostname": "h"}
        wire = {"agent_info": info, "total_resources": EVERYTHING, "allocated_resources": allocated}
        state = {"get_tasks": {}, "get_agents": {"agents": [wire]}, "get_frameworks": {}}
        [found] = decode_get_state(json.dumps({"get_state": state}).encode()).agents
        free, sure = free_by_role(found, found.others)
        assert free == sure
        assert (free["*"], free["web"]) == (Amounts(cpus=4000, ports=((1, 5),)), Amounts(cpus=2000))


def test_an_odd_attribute_costs_only_itself() -> None:
    """The agent is known all the same: people enter its tasks."""
    odd = {"rack": "r1", "cores": 8, "odd": None, "list": [1], "huge": 10**400}
    assert v0_agent(attributes=odd).attributes == {"rack": "r1", "cores": 8}


def test_draining_and_domains_are_told() -> None:
    """1.9 drains, 1.4 says where an agent is."""
    domain = {"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "eu-1"}}}
    agent = v0_agent(drain_info={"state": "DRAINING"}, deactivated=True, active=False, domain=domain, offered_resources={"cpus": 1})
    assert (agent.drain, agent.deactivated, agent.active, agent.region, agent.zone) == ("DRAINING", True, False, "eu", "eu-1")
    assert agent.offered == Amounts(cpus=1000)


def test_v1_tells_the_same() -> None:
    """Reservations and what is used of them, domain and draining, by GET_STATE."""
    info = {"id": {"value": "S1"}, "hostname": "h", "domain": {"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "a"}}}}
    agent = {
        "agent_info": info,
        "total_resources": [CPUS, STATIC],
        "allocated_resources": [STATIC],
        "drain_info": {"state": "DRAINED"},
        "registered_time": {"nanoseconds": 5_000_000_000},
    }
    state = {"get_tasks": {}, "get_agents": {"agents": [agent]}, "get_frameworks": {}}
    [found] = decode_get_state(json.dumps({"get_state": state}).encode()).agents
    assert (found.total, found.reserved, found.reserved_used) == (
        Amounts(cpus=6000),
        {"web": Amounts(cpus=2000)},
        {"web": Amounts(cpus=2000)},
    )
    assert (found.others, found.drain, found.region, found.zone, found.registered) == (Amounts(cpus=2000), "DRAINED", "eu", "a", 5.0)
