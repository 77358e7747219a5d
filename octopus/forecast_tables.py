"""The answers of ``octopus capacity`` and ``octopus simulate`` as tables and sentences for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from octopus.core.placement import Placement
from octopus.core.resources import count, shown
from octopus.fleet.report import Report, WhatIf
from octopus.fleet.simulation import Outcome, Simulation

MOST_REFUSALS = 40
"""Agents listed by name with why they refuse; the others are counted by reason."""

Section = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""A sentence, a head and rows; no rows, no table."""


def capacity(report: Report) -> Iterator[Section]:
    """Yield what there is to say of a cluster, the most useful first."""
    for note in report.notes:
        yield note, (), ()
    offered = sum(not line.withheld for line in report.agents)
    yield f"{offered} of {len(report.agents)} agents are offered (role {report.role})", _SUMS, [_sums(report, name) for name in report.sums]
    if report.shapes:
        yield _fits(report), _SHAPES, [_shape(report, name) for name in report.shapes]
    if report.what_if:
        yield _losses(report.what_if), (), ()
    yield "", _AGENTS, [_agent(report, at) for at in range(len(report.agents))]


_SUMS = ("resource", "total", "used", "free", "of it offered", "out of reach", "most on one agent", "unusable", "stranded")
_SHAPES = ("shape of the running mix", "fit", "ideal", "lost to pieces", "what stops it")
_AGENTS = ("agent", "cpus used", "free", "mem used", "free", "ports free", "imbalance", "withheld")


def _sums(report: Report, name: str) -> list[str]:
    one = report.sums[name]
    show = str if name == "ports" else shown
    away = ", ".join(f"{show(amount)} {why}" for why, amount in one.unavailable.items())
    lost = f"{report.unusable[name]:.0%}" if name in report.unusable else ""
    stuck = shown(report.stranded[name]) if name in report.stranded else ""
    piece = shown(report.largest[name]) if name in report.largest else ""
    return [name, show(one.total), show(one.used), show(one.free), show(one.offered), away, piece, lost, stuck]


def _shape(report: Report, name: str) -> list[str]:
    one = report.shapes[name]
    limits = ", ".join(f"{agents} {reason}" for reason, agents in sorted(one.limits.items(), key=lambda item: -item[1]))
    return [name, _bounds(one.real.least, one.real.most), str(one.ideal), f"{one.fragmentation_loss:.0%}", limits]


def _fits(report: Report) -> str:
    return f"the largest app that still fits is {report.largest_app}" if report.largest_app else "no app that runs fits once more"


def _losses(what_if: WhatIf) -> str:
    more = f"all that runs could be {what_if.inflation} % of what it is; agents that could be emptied: {len(what_if.emptied)}"
    if not what_if.losses or not what_if.losses[0].unplaced:
        return f"any one agent may be lost: its instances fit elsewhere; {more}"
    worst = what_if.losses[0]
    instances = "1 instance" if worst.unplaced == 1 else f"{worst.unplaced} instances"
    return f"without {worst.hostname}, {instances} would find no other place ({', '.join(worst.apps)}); {more}"


def _agent(report: Report, at: int) -> list[str]:
    line = report.agents[at]
    used, free = line.used, line.free
    ports = str(count(free.ports))
    return [
        line.hostname,
        shown(used.cpus),
        shown(free.cpus),
        shown(used.mem),
        shown(free.mem),
        ports,
        f"{line.imbalance:.0%}",
        line.withheld,
    ]


def simulation(found: Simulation) -> Iterator[Section]:
    """Yield what becomes of each app: how many, where, and which agents refuse."""
    for note in found.notes:
        yield note, (), ()
    for outcome in found.outcomes:
        yield _verdict(outcome), ("agent", "instances"), [[spot.hostname, str(spot.instances)] for spot in outcome.placement.where]
        for note in outcome.placement.notes:
            yield note, (), ()
        if not outcome.fits:
            yield from _refusals(outcome)


def _verdict(outcome: Outcome) -> str:
    placed, rolled = outcome.placement, outcome.upgrade
    if rolled is not None:
        begins = f"stops {rolled.strategy.stop} at once, starts {rolled.strategy.start}, never more than {rolled.strategy.capacity}"
        if rolled.finishes:
            return f"{placed.app}: the upgrade of {rolled.instances} comes to its end ({begins})"
        order = ", or further if others are stopped first" if rolled.order_decides else ""
        return f"{placed.app}: the upgrade hangs at {rolled.started} of {rolled.instances}{order} ({begins})"
    if not placed.asked:
        return f"{placed.app}: no more instances are asked for than run"
    if placed.fits:
        return f"{placed.app}: the one that is asked for fits" if placed.asked == 1 else f"{placed.app}: all {placed.asked} fit"
    return f"{placed.app}: {_bounds(placed.least, placed.most)} of {placed.asked} fit{_caution(placed)}"


def _caution(placed: Placement) -> str:
    if placed.least == placed.most:
        return ""
    return ", as the order of offers decides" if placed.exact else ", which cannot be said more exactly"


def _bounds(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


def _refusals(outcome: Outcome) -> Iterator[Section]:
    refusals = outcome.upgrade.stuck if outcome.upgrade is not None else outcome.placement.refusals
    rows = [[each.hostname, each.reasons[0], each.detail] for each in refusals[:MOST_REFUSALS]]
    yield "", ("takes no more", "reason", "because"), rows
    counted: dict[str, int] = {}
    for each in refusals[MOST_REFUSALS:]:
        counted[each.reasons[0]] = counted.get(each.reasons[0], 0) + 1
    if counted:
        yield "and " + ", ".join(f"{agents} more with {reason}" for reason, agents in counted.items()), (), ()
