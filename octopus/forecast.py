"""``octopus capacity`` and ``octopus simulate``: reads the cluster once and computes what it can still take."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct, structs

from octopus import building
from octopus.config import Config
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
from octopus.core.cluster import Cluster
from octopus.core.errors import ConfigError, InvalidDocument, InvalidTarget, printable
from octopus.core.placement import Placement, View, place
from octopus.core.placement_app import App, parse_apps
from octopus.core.placement_deployment import Upgrade, upgrade
from octopus.core.resources import NOTHING, Amounts
from octopus.forecast_cluster import Seen

MOST_PLACINGS = 200_000
"""Agents times apps up to which "what if" is worked out: a few seconds."""

MOST_SHAPES = 2_000_000
"""Agents times shapes up to which the unusable share is."""

MAX_DOCUMENT = 16 * 1024 * 1024
STANDARD_INPUT = "-"
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


class Report(Struct, frozen=True, kw_only=True):
    """How full the cluster is. ``shapes`` are median, p90 and largest of the running mix; the rest is as ``core.capacity`` has it.

    ``what_if`` and ``unusable`` are left out where the cluster is too large for them; ``notes`` say so.
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


class Outcome(Struct, frozen=True, kw_only=True):
    """What becomes of one app: instances that are added, or an upgrade of those that run."""

    placement: Placement
    upgrade: Upgrade | None = None

    @property
    def fits(self) -> bool:
        """Whether it surely does."""
        return self.placement.fits and (self.upgrade is None or self.upgrade.finishes)


class Simulation(Struct, frozen=True, kw_only=True):
    """What becomes of all that was asked for, one after the other."""

    complete: bool
    notes: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def fits(self) -> bool:
        """Whether all of it surely does."""
        return all(outcome.fits for outcome in self.outcomes)


async def capacity(config: Config) -> Report:
    """Return how full the cluster is. Raise ConfigError, BadUpstream, OrchestratorUnavailable."""
    return report(Seen(await _read(config)))


async def simulate(config: Config, name: str, more: int | None = None) -> Simulation:
    """Return what becomes of ``name``: a file of Marathon JSON, ``-`` for standard input, an app's id or a group's.

    ``more`` instances of each are added; None for what it asks for beyond what runs, and for the upgrade of a document's app that runs
    already. Raise InvalidDocument (65), NoSuchTarget, InvalidTarget,
    ConfigError, BadUpstream, OrchestratorUnavailable.
    """
    body = document(name)
    seen = Seen(await _read(config))
    apps = seen.named(name) if body is None else parse_apps(body, seen.rules)
    return forecast(seen, apps, more, documents=body is not None)


def document(name: str) -> bytes | None:
    """Return the bytes of a file or of standard input, None where ``name`` is no file. Raise InvalidTarget, InvalidDocument."""
    if name == STANDARD_INPUT:
        body = sys.stdin.buffer.read(MAX_DOCUMENT + 1)
    elif Path(name).is_file():
        try:
            with Path(name).open("rb") as file:
                body = file.read(MAX_DOCUMENT + 1)
        except OSError as error:
            raise InvalidTarget(notice=f"{printable(name)}: {error.strerror}") from error
    else:
        return None
    if len(body) > MAX_DOCUMENT:
        raise InvalidDocument([("", f"is longer than {MAX_DOCUMENT} bytes")])
    return body


def report(seen: Seen) -> Report:
    """Return how full a cluster is."""
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
    )


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


def forecast(seen: Seen, apps: Sequence[App], more: int | None, *, documents: bool = False) -> Simulation:
    """Return what becomes of these apps, one after the other: each finds what those before it have left.

    ``documents``: they are as somebody would PUT them. One that runs is then upgraded, unless ``more`` instances are to be added.
    """
    view = seen.view
    outcomes = []
    for app in apps:
        outcome, view = _one(seen, view, app, more, upgraded=documents and more is None)
        outcomes.append(outcome)
    return Simulation(complete=seen.complete, notes=seen.notes(), outcomes=tuple(outcomes))


def _one(seen: Seen, view: View, app: App, more: int | None, *, upgraded: bool) -> tuple[Outcome, View]:
    old = seen.old(app)
    known = seen.cluster.marathon.apps.get(app.id)
    if upgraded and old:
        # What an upgrade leaves when it is over is not looked at: those after it are placed as if it had not begun.
        placement, _ = place(app, view, 0)
        return Outcome(placement=placement, upgrade=upgrade(app, view, old)), view
    asked = max(0, app.instances - len(old)) if more is None else more
    placement, after = place(app, view, asked, seen.placed(known or app))
    return Outcome(placement=placement), after


async def _read(config: Config) -> Cluster:
    if config.docker.inventory:
        raise ConfigError(["docker.inventory: one engine has no capacity to tell of; this needs [mesos]"])
    async with AsyncExitStack() as stack:
        sources = building.sources(config, stack)
        for feed in sources.feeds:
            await feed.refresh()
        return sources.cluster
