"""How full a cluster is and how much of what is free can be used: each measure is defined where it is computed.

Sums of free resources mislead: what is free lies in pieces on many agents. All measures are of what is surely free on agents that
Mesos offers, for Marathon's role and for what nobody reserved. Names of the literature: hole filling (Verma, Korupolu, Wilkes,
CLUSTER 2014) is headroom; stranded (Verma et al., "Borg", EuroSys 2015); unusable share (FGD: Weng et al., USENIX ATC 2023).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from octopus.core.inventory import Agent
from octopus.core.placement import View, fits_alone, headroom, reasons
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed
from octopus.core.placement_counting import Count
from octopus.core.placement_fit import PLENTY, Fit
from octopus.core.placement_offers import Offer
from octopus.core.placement_rules import Reason
from octopus.core.resources import NOTHING, SCALARS, Amounts, count


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """One resource over all agents: ``total`` = ``used`` + ``free`` + the values of ``unavailable``; ``offered`` is part of ``free``.

    ``unavailable`` is what is free and out of reach, by why: not offered (draining, disconnected …) or reserved for other roles.
    Thousandths; ports are counted.
    """

    total: int
    used: int
    offered: int
    free: int
    unavailable: dict[str, int]


class Headroom(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster takes of one app.

    ``real`` with its constraints, ``without_constraints`` by resources alone, ``ideal`` = the smallest of (all that is free) / (what one
    needs): what would fit if everything lay on one agent. ``fragmentation_loss`` = 1 - without_constraints / ideal, 0 where nothing
    could fit: how much the cluster is chopped up. ``constraint_loss`` = without_constraints - real.most: what its own rules forbid.
    ``limits`` counts the agents that take none now by the first reason in Marathon's words.
    """

    app: str
    real: Count
    without_constraints: int
    ideal: int
    fragmentation_loss: float
    constraint_loss: int
    limits: dict[str, int]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What one instance of some app needs, and the share of all instances that need exactly this."""

    needs: Amounts
    ports: tuple[int, ...]
    share: float

    @property
    def app(self) -> App:
        """An app of this shape, without rules of its own."""
        return App(id="", needs=self.needs, ports=self.ports, declared=self.ports)


def free_on(offer: Offer) -> Amounts:
    """Return what is surely free on an agent for Marathon, of whatever role; nothing where Mesos offers none of it."""
    found = NOTHING
    for each in () if offer.withheld else offer.least.values():
        found += each
    return found


def sums(agents: Mapping[str, Agent], used: Mapping[str, Amounts], view: View) -> dict[str, Sums]:
    """Return Sums by resource (5 of them). ``used`` is what tasks use, by the agent's id; the parts add up on each agent."""
    parts = [_parts(offer, agents[offer.agent], used.get(offer.agent, NOTHING)) for offer in view.offers]
    return {name: _summed(name, parts) for name in (*SCALARS, "ports")}


class _Parts(msgspec.Struct, frozen=True):
    total: Amounts
    used: Amounts
    offered: Amounts
    free: Amounts
    why: str


def _parts(offer: Offer, agent: Agent, by_tasks: Amounts) -> _Parts:
    used = by_tasks + agent.others
    used -= used - agent.total
    return _Parts(agent.total, used, agent.offered, free_on(offer), offer.withheld or "reserved for other roles")


def _summed(name: str, parts: Sequence[_Parts]) -> Sums:
    def amount(of: Amounts) -> int:
        return count(of.ports) if name == "ports" else int(getattr(of, name))

    unavailable: Counter[str] = Counter()
    total = used = offered = free = 0
    for part in parts:
        whole = amount(part.total)
        busy = min(whole, amount(part.used))
        left = min(whole - busy, amount(part.free))
        total, used, free = total + whole, used + busy, free + left
        offered += min(left, amount(part.offered))
        unavailable[part.why] += whole - busy - left
    return Sums(total=total, used=used, offered=offered, free=free, unavailable={why: each for why, each in unavailable.items() if each})


def ideal(app: App, view: View) -> int:
    """Return how many instances would fit if all that is surely free lay on one agent; a fixed port is still had once an agent."""
    free = [free_on(offer) for offer in view.offers]
    most = PLENTY
    for name in SCALARS:
        if need := getattr(app.needs, name):
            most = min(most, sum(getattr(each, name) for each in free) // need)
    if app.ports:
        most = min(most, sum(count(each.ports) for each in free) // len(app.ports))
    return most


def measure(app: App, view: View, placed: Sequence[Placed] = ()) -> Headroom:
    """Return what a cluster takes of an app, and what keeps it from taking more."""
    real = headroom(app, view, placed)
    bare = msgspec.structs.replace(app, constraints=())
    alone = min(sum(fits_alone(bare, view)), PLENTY)
    best = max(ideal(app, view), alone)
    return Headroom(
        app=app.id,
        real=real,
        without_constraints=alone,
        ideal=best,
        fragmentation_loss=1 - alone / best if best else 0.0,
        constraint_loss=max(0, alone - real.most),
        limits=dict(Counter(refusal.reasons[0].value for refusal in reasons(app, view, placed))),
    )


def shapes(apps: Iterable[App]) -> list[Shape]:
    """Return the running mix: each distinct shape with its share of all instances, by CPUs, memory and the rest."""
    counted: Counter[tuple[Amounts, tuple[int, ...]]] = Counter()
    for app in apps:
        if app.instances:
            counted[app.needs, app.ports] += app.instances
    everything = counted.total()
    found = [Shape(needs=needs, ports=ports, share=number / everything) for (needs, ports), number in counted.items()]
    return sorted(found, key=_size)


def _size(shape: Shape) -> tuple[int, ...]:
    return shape.needs.cpus, shape.needs.mem, shape.needs.disk, shape.needs.gpus, *shape.ports


def at_share(mix: Sequence[Shape], share: float) -> Shape:
    """Return the shape below which this share of all instances lies, by CPUs then memory: 0.5 is the median. ``mix`` is not empty."""
    below = 0.0
    for shape in mix:
        below += shape.share
        if below >= share - 1e-9:
            return shape
    return mix[-1]


def unusable(mix: Sequence[Shape], view: View) -> dict[str, float]:
    """Return for each resource the share of what is free that an instance drawn from the running mix cannot use, from 0 to 1.

    The sum over agents and shapes of share times what is free on the agent, where not one of the shape fits there, by all that is free.
    """
    free = [free_on(offer) for offer in view.offers]
    lost = dict.fromkeys(SCALARS, 0.0)
    for shape in mix:
        for room, each in zip(fits_alone(shape.app, view), free, strict=True):
            if not room:
                for name in SCALARS:
                    lost[name] += shape.share * getattr(each, name)
    everything = {name: sum(getattr(each, name) for each in free) for name in SCALARS}
    return {name: min(1.0, lost[name] / everything[name]) if everything[name] else 0.0 for name in SCALARS}


_OF = {
    "cpus": Reason.INSUFFICIENT_CPUS,
    "mem": Reason.INSUFFICIENT_MEMORY,
    "disk": Reason.INSUFFICIENT_DISK,
    "gpus": Reason.INSUFFICIENT_GPUS,
}


def stranded(shape: Shape, view: View) -> dict[str, int]:
    """Return for each resource what is free of it on agents where the shape fails for want of something else only, in thousandths."""
    fit = Fit(shape.app, view.rules, region=view.region, surely=True)
    found = dict.fromkeys(SCALARS, 0)
    for offer in view.offers:
        why = {reason for reason, _ in fit.why(offer)}
        for name in SCALARS:
            if why and _OF[name] not in why:
                found[name] += getattr(free_on(offer), name)
    return found


def imbalance(offer: Offer, total: Amounts) -> float:
    """Return how unlike an agent's free CPU and memory are: the difference of their free shares, from 0 to 1."""
    free = free_on(offer)
    cpus = free.cpus / total.cpus if total.cpus else 0.0
    mem = free.mem / total.mem if total.mem else 0.0
    return abs(cpus - mem)


def largest(view: View) -> dict[str, int]:
    """Return for each resource the most that is free on any one agent, in thousandths."""
    free = [free_on(offer) for offer in view.offers]
    return {name: max((getattr(each, name) for each in free), default=0) for name in SCALARS}


def front(view: View) -> list[tuple[str, int, int]]:
    """Return the agents of which none has more of CPU and memory both: host, free CPU, free memory, most CPU first."""
    free = [(offer.hostname, free_on(offer)) for offer in view.offers]
    found: list[tuple[str, int, int]] = []
    for hostname, each in sorted(free, key=lambda item: (-item[1].cpus, -item[1].mem, item[0])):
        if (each.cpus or each.mem) and (not found or each.mem > found[-1][2]):
            found.append((hostname, each.cpus, each.mem))
    return found


def largest_that_fits(apps: Iterable[App], view: View) -> App | None:
    """Return the app with the largest needs (CPUs, then memory) of which one more instance surely finds a place, None for none."""
    for app in sorted(apps, key=lambda each: (-each.needs.cpus, -each.needs.mem, each.id)):
        if any(fits_alone(app, view)):
            return app
    return None
