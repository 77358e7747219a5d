"""What Marathon may see of each agent: what is free on it, for which role, and why it is offered nothing of some.

Free is total less used, of what Mesos would offer a framework of Marathon's role (``master/allocator/mesos/hierarchical.cpp``): what
nobody reserved and what is reserved for that role. What stands in offers now counts as free: other frameworks decline, as a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from octopus.core.inventory import Agent, Task, used_by_agent
from octopus.core.placement_rules import Rules
from octopus.core.resources import NOTHING, UNRESERVED, Amounts, Attribute, without

LEAST_CPUS, LEAST_MEM = 10, 32_000
"""An agent with less of both is offered to nobody (``--min_allocatable_resources``; MIN_CPUS and MIN_MEM before)."""


class Window(msgspec.Struct, frozen=True, gc=False):
    """A machine's planned maintenance: host name (no case) and ip must both be the agent's; ``end`` 0 is never. Seconds since 1970.

    One that is left out is "", and so no agent's: Mesos compares both (``MachineID``).
    """

    hostname: str
    ip: str
    start: float
    end: float = 0.0

    def covers(self, agent: Agent, now: float) -> bool:
        """Whether the agent is in maintenance (``mesos/Availability.scala``)."""
        same = self.hostname.casefold() == agent.hostname.casefold() and self.ip == agent.ip
        return same and self.start <= now and (not self.end or now < self.end)


class Offer(msgspec.Struct, frozen=True, gc=False):
    """One agent, as Marathon may be offered it.

    ``free`` by role; where the master does not say what of a reservation is used, ``least`` holds what is surely free, ``free`` what
    may be. ``withheld`` says why Mesos offers nothing, ``maintenance`` that Marathon would decline from 1.6 on.
    """

    agent: str
    hostname: str
    free: dict[str, Amounts]
    least: dict[str, Amounts]
    attributes: dict[str, Attribute] = {}
    region: str = ""
    zone: str = ""
    withheld: str = ""
    maintenance: bool = False

    @property
    def certain(self) -> bool:
        """Whether what is free is known exactly."""
        return self.free is self.least or self.free == self.least

    def taking(self, amounts: Amounts, roles: Iterable[str]) -> Offer:
        """Return what is left after ``amounts`` are taken from these roles, reserved ones first."""
        order = sorted(roles, key=lambda role: role == UNRESERVED)
        return msgspec.structs.replace(self, free=_less(self.free, amounts, order), least=_less(self.least, amounts, order))

    def giving(self, amounts: Amounts) -> Offer:
        """Return what there is once somebody gives ``amounts`` back to what is not reserved."""
        free = {**self.free, UNRESERVED: self.free.get(UNRESERVED, NOTHING) + amounts}
        least = {**self.least, UNRESERVED: self.least.get(UNRESERVED, NOTHING) + amounts}
        return msgspec.structs.replace(self, free=free, least=least)


def offers(
    agents: Iterable[Agent], tasks: Iterable[Task], rules: Rules, *, windows: Iterable[Window] = (), now: float = 0.0
) -> list[Offer]:
    """Return every agent as an offer, by host name, then id. ``now`` in seconds since 1970, for maintenance."""
    used = used_by_agent(tasks)
    planned = tuple(windows)
    ordered = sorted(agents, key=lambda agent: (agent.hostname, agent.id))
    return [_offer(agent, used.get(agent.id, NOTHING), rules, planned, now) for agent in ordered]


def _offer(agent: Agent, by_tasks: Amounts, rules: Rules, windows: tuple[Window, ...], now: float) -> Offer:
    most, sure = free_by_role(agent, by_tasks + agent.others)
    visible = rules.visible_roles
    free = {role: amounts for role, amounts in most.items() if role in visible}
    least = free if sure is most else {role: amounts for role, amounts in sure.items() if role in visible}
    return Offer(
        agent=agent.id,
        hostname=agent.hostname,
        free=free,
        least=least,
        attributes=agent.attributes,
        region=agent.region,
        zone=agent.zone,
        withheld=_withheld(agent, free, rules),
        maintenance=agent.maintenance or any(window.covers(agent, now) for window in windows),
    )


def _withheld(agent: Agent, free: Mapping[str, Amounts], rules: Rules) -> str:
    """Return why Mesos offers an agent to nobody, or not to Marathon, "" when it does."""
    if agent.drain:
        return agent.drain.lower()
    if agent.deactivated:
        return "deactivated"
    if not agent.active:
        return "disconnected"
    if agent.total.gpus and rules.features is not None and "gpu_resources" not in rules.features:
        return "has GPUs, and Marathon runs without gpu_resources"
    cpus, mem = sum(each.cpus for each in free.values()), sum(each.mem for each in free.values())
    if cpus >= LEAST_CPUS or mem >= LEAST_MEM:
        return ""
    return "what is left is reserved for other roles" if agent.reserved.keys() - rules.visible_roles else "nothing left to offer"


def free_by_role(agent: Agent, used: Amounts) -> tuple[dict[str, Amounts], dict[str, Amounts]]:
    """Return what may be free for each role, and what surely is. They differ where it is not known of which role ``used`` is."""
    kept = NOTHING
    for each in agent.reserved.values():
        kept += each
    if agent.reserved_used is not None:
        spent = NOTHING
        for each in agent.reserved_used.values():
            spent += each
        free = {role: each - agent.reserved_used.get(role, NOTHING) for role, each in agent.reserved.items()}
        free[UNRESERVED] = agent.total - kept - (used - spent)
        return free, free
    left = agent.total - used
    most, least = {}, {}
    for role, each in {**agent.reserved, UNRESERVED: agent.total - kept}.items():
        ports = without(each.ports, used.ports)
        most[role] = msgspec.structs.replace(each.least(left), ports=ports)
        least[role] = msgspec.structs.replace(each - used, ports=ports)
    return most, least


def _less(free: Mapping[str, Amounts], amounts: Amounts, order: Iterable[str]) -> dict[str, Amounts]:
    left, rest = dict(free), amounts
    for role in order:
        have = left.get(role, NOTHING)
        left[role] = have - rest
        rest -= have
    return left
