"""How full a cluster is, all in one report: every measure of ``core.capacity`` that the size of the cluster allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, structs

from octopus.core.capacity import (
    Headroom,
    Sums,
    at_share,
    front,
    imbalance,
    largest,
    largest_that_fits,
    measure,
    shapes,
    stranded,
    sums,
    unusable,
)
from octopus.core.capacity_whatif import Loss, could_be_emptied, host_losses, inflation
from octopus.core.globs import Glob
from octopus.core.resources import NOTHING, Amounts
from octopus.core.unique import Coverage, Standing, coverage, is_followed, tasks_by_app
from octopus.core.unique import Moment as UniqueMoment
from octopus.fleet.seen import Seen

MOST_PLACINGS = 200_000
"""Agents times apps up to which "what if" is worked out: a few seconds."""

MOST_SHAPES = 2_000_000
"""Agents times shapes up to which the unusable share is."""

MOST_NAMED = 100
"""Apps whose own headroom is told, and UNIQUE apps that are."""

TOO_LARGE = "the cluster is too large for all figures: growth, loss of an agent, emptying or the unusable share are left out"


class AgentLine(Struct, frozen=True, kw_only=True):
    """One agent: what it has, what is used, what is free for Marathon, and why Mesos offers none of it. Thousandths."""

    agent: str
    hostname: str
    total: Amounts
    used: Amounts
    free: Amounts
    imbalance: float
    withheld: str = ""


class WhatIf(Struct, frozen=True, kw_only=True):
    """Growth in percent that still fits, what each agent's loss would cost, and agents that could be emptied."""

    inflation: int
    losses: tuple[Loss, ...]
    emptied: tuple[str, ...]


class UniqueLine(Struct, frozen=True, kw_only=True):
    """How an app of one on each host stands, in hosts: ``eligible`` hold one rightly or would take one.

    On those that are ``leaving`` or ``misplaced`` one runs that would not be put there today.
    """

    app: str
    eligible: int
    running: int
    missing: int
    blocked: int
    leaving: int
    misplaced: int


class Report(Struct, frozen=True, kw_only=True):
    """How full the cluster is. ``shapes`` are median, p90 and largest of the running mix; the rest is as ``core.capacity`` has it.

    ``what_if`` and ``unusable`` are left out where the cluster is too large for them; ``notes`` say so. ``apps`` and ``unique`` hold
    what was asked for by name, at most MOST_NAMED each.
    """

    complete: bool
    notes: tuple[str, ...]
    marathon: str
    role: str
    sums: dict[str, Sums]
    agents: tuple[AgentLine, ...]
    shapes: dict[str, Headroom] = {}
    largest_app: str = ""
    unusable: dict[str, float] = {}
    stranded: dict[str, int] = {}
    largest: dict[str, int] = {}
    front: tuple[tuple[str, int, int], ...] = ()
    what_if: WhatIf | None = None
    apps: tuple[Headroom, ...] = ()
    unique: tuple[UniqueLine, ...] = ()


def report(seen: Seen, *, named: Iterable[str] = ()) -> Report:
    """Return how full a cluster is; ``named`` are globs over the apps whose own headroom is wanted."""
    view, apps = seen.view, list(seen.cluster.marathon.apps.values())
    mix = shapes(apps)
    small = len(view.offers) * len(apps) <= MOST_PLACINGS
    few = len(view.offers) * len(mix) <= MOST_SHAPES
    lines = [_line(seen, offer.agent, at) for at, offer in enumerate(view.offers)]
    plain = Report(
        complete=seen.complete,
        notes=(*seen.notes(), *(() if small and few else (TOO_LARGE,))),
        marathon=".".join(map(str, seen.rules.version)) if apps else "",
        role=seen.rules.role,
        sums=sums(seen.agents, seen.used, view),
        agents=tuple(lines),
        largest=largest(view),
        front=tuple(front(view)),
    )
    if not mix:
        return plain
    biggest = largest_that_fits(apps, view)
    references = {"median": at_share(mix, 0.5), "p90": at_share(mix, 0.9), "largest": mix[-1]}
    return structs.replace(
        plain,
        shapes={name: measure(structs.replace(shape.app, id=name), view) for name, shape in references.items()},
        largest_app=biggest.id if biggest else "",
        unusable=unusable(mix, view) if few else {},
        stranded=stranded(references["median"], view),
        what_if=_what_if(seen) if small else None,
        apps=tuple(_named(seen, [Glob(each) for each in named])),
    )


def coverages(seen: Seen, now: float) -> list[Coverage]:
    """Return how each app of one on each host covers the hosts, by id; ``now`` in seconds since 1970."""
    told = seen.cluster.marathon
    moment = UniqueMoment(view=seen.view, agents=seen.agents, tasks=tasks_by_app(told.tasks.values()), now=now, complete=seen.complete)
    return [coverage(app, moment) for _, app in sorted(told.apps.items()) if is_followed(app)]


def unique_lines(found: Sequence[Coverage]) -> tuple[UniqueLine, ...]:
    """Return coverages as counts of hosts, at most MOST_NAMED of them."""
    return tuple(
        UniqueLine(
            app=each.app,
            eligible=each.eligible,
            running=each.count(Standing.RUNNING),
            missing=each.count(Standing.MISSING),
            blocked=each.count(Standing.BLOCKED),
            leaving=each.count(Standing.LEAVING),
            misplaced=each.count(Standing.MISPLACED),
        )
        for each in found[:MOST_NAMED]
    )


def _named(seen: Seen, globs: Sequence[Glob]) -> list[Headroom]:
    apps = [app for _, app in sorted(seen.cluster.marathon.apps.items()) if any(glob.matches(app.id) for glob in globs)]
    return [measure(app, seen.view, seen.placed(app)) for app in apps[:MOST_NAMED]]


def _what_if(seen: Seen) -> WhatIf:
    running, view = seen.running(), seen.view
    return WhatIf(
        inflation=inflation(running, view),
        losses=tuple(host_losses(running, view)),
        emptied=tuple(could_be_emptied(running, view)),
    )


def _line(seen: Seen, agent_id: str, at: int) -> AgentLine:
    agent, offer = seen.agents[agent_id], seen.view.offers[at]
    free = NOTHING
    for each in offer.least.values():
        free += each
    return AgentLine(
        agent=agent.id,
        hostname=agent.hostname,
        total=agent.total,
        used=seen.used.get(agent.id, NOTHING) + agent.others,
        free=free,
        imbalance=imbalance(offer, agent.total),
        withheld=offer.withheld,
    )
