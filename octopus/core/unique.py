"""Apps with one instance on each host: which hosts lack one and why, how many there should be, and the next step.

The number to aim at is not that of agents: it is that of hosts which hold an instance and can go on holding it, and of those that would
take one now. Pure: who calls gives the moment, and acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from octopus.core.inventory import Agent, MarathonTask
from octopus.core.placement import Refusal, View, counted_instances, headroom, placed_on, reasons
from octopus.core.placement_app import App
from octopus.core.placement_constraints import read
from octopus.core.placement_offers import Offer

EXEMPT_LABEL = "OCTOPUS_UNIQUE"
SETTLED_AFTER = 90.0
"""Seconds an agent must have been registered: attributes and other daemons come with the first minute."""


class Standing(StrEnum):
    """How a host stands to a UNIQUE app."""

    RUNNING = "running"
    MISSING = "missing"
    BLOCKED = "blocked"
    NEW = "new"
    LEAVING = "leaving"
    MISPLACED = "misplaced"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's host. MISSING takes an instance now, BLOCKED does not, NEW has not settled.

    LEAVING holds one and is offered no more; MISPLACED holds one that the app's constraints would no longer allow.
    """

    agent: str
    hostname: str
    standing: Standing
    why: str = ""
    reasons: tuple[str, ...] = ()


class Verdict(StrEnum):
    """What to do about an app."""

    SCALE = "scale"
    NOTHING = "nothing"
    WAIT = "wait"
    REPORT = "report"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The next step: SCALE to ``instances``, else ``why`` not: NOTHING to do, WAIT for a moment, REPORT to a person.

    ``wanted`` is how many can run now, those on hosts that are leaving included.
    """

    verdict: Verdict
    instances: int
    why: str = ""
    wanted: int = 0


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """A UNIQUE app at one moment. ``target`` = hosts that hold one and are not leaving + hosts that take one now (those settled)."""

    app: str
    instances: int
    target: int
    hosts: tuple[Host, ...]
    step: Step

    def count(self, standing: Standing) -> int:
        """Return how many hosts stand so."""
        return sum(host.standing is standing for host in self.hosts)

    @property
    def eligible(self) -> int:
        """How many hosts are for the app: they hold one rightly or would take one, settled or not."""
        return sum(host.standing in _ELIGIBLE for host in self.hosts)


_ELIGIBLE = frozenset({Standing.RUNNING, Standing.MISSING, Standing.NEW})


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known: ``tasks`` by app; ``complete`` is False in a failover; ``now`` in seconds since 1970.

    ``unsettled`` says of agents, by id, why they are not to be relied on yet.
    """

    view: View
    agents: Mapping[str, Agent]
    tasks: Mapping[str, Sequence[MarathonTask]]
    now: float
    complete: bool = True
    unsettled: Mapping[str, str] = {}


def tasks_by_app(tasks: Iterable[MarathonTask]) -> dict[str, list[MarathonTask]]:
    """Return Marathon's tasks by app id."""
    found: dict[str, list[MarathonTask]] = {}
    for task in tasks:
        found.setdefault(task.app, []).append(task)
    return found


def is_followed(app: App) -> bool:
    """Whether an app is one on each host and has not opted out by its label ``OCTOPUS_UNIQUE=off``."""
    return app.unique_host and app.labels.get(EXEMPT_LABEL, "").casefold() != "off"


def coverage(app: App, moment: Moment, *, settled_after: float = SETTLED_AFTER, most: int = 0) -> Coverage:
    """Return how an app covers the hosts. ``most`` bounds how many instances one step adds, 0 for any number."""
    by_host = {agent.hostname: agent for agent in moment.agents.values()}
    counted = counted_instances(app, moment.tasks.get(app.id, ()), moment.view.rules)
    placed = placed_on(counted, moment.agents, by_host)
    holding = {each.hostname for each in placed}
    without = _only({offer.agent for offer in moment.view.offers if offer.hostname not in holding}, moment.view)
    refused = {refusal.agent: refusal for refusal in reasons(app, without, placed)}
    strangers = _misplaced(app, holding, moment.view)
    hosts = tuple(_host(offer, holding, strangers, refused, moment, settled_after) for offer in moment.view.offers)
    settled = _only({host.agent for host in hosts if host.standing is Standing.MISSING}, moment.view)
    more = headroom(app, settled, placed).least
    staying = len({host.hostname for host in hosts if host.standing is Standing.RUNNING})
    # One on a host that is gone is about to be started elsewhere: it is not counted on top of the place it will take.
    wanted = sum(each.hostname in by_host for each in placed) + more
    step = _step(app, hosts, wanted, most, moment)
    return Coverage(app=app.id, instances=app.instances, target=staying + more, hosts=hosts, step=step)


def _only(agents: set[str], view: View) -> View:
    return msgspec.structs.replace(view, offers=tuple(offer for offer in view.offers if offer.agent in agents))


def _misplaced(app: App, holding: set[str], view: View) -> dict[str, str]:
    """Return the hosts that hold one and that a constraint would refuse by itself today (an attribute changed), with what it says."""
    there = [offer for offer in view.offers if offer.hostname in holding]
    refused = read(app.constraints, there, (), view.rules).refused
    return {offer.hostname: why for offer, why in zip(there, refused, strict=True) if why}


def _host(
    offer: Offer,
    holding: set[str],
    strangers: Mapping[str, str],
    refused: Mapping[str, Refusal],
    moment: Moment,
    settled_after: float,
) -> Host:
    agent, hostname = offer.agent, offer.hostname
    if hostname in holding:
        leaving = offer.withheld or ("in maintenance" if offer.maintenance and moment.view.rules.maintenance else "")
        why = leaving or strangers.get(hostname, "")
        standing = Standing.LEAVING if leaving else Standing.MISPLACED if why else Standing.RUNNING
        return Host(agent=agent, hostname=hostname, standing=standing, why=why)
    if refusal := refused.get(agent):
        words = tuple(reason.value for reason in refusal.reasons)
        return Host(agent=agent, hostname=hostname, standing=Standing.BLOCKED, why=refusal.detail, reasons=words)
    age = moment.now - moment.agents[agent].registered
    if age < settled_after:
        return Host(agent=agent, hostname=hostname, standing=Standing.NEW, why=f"registered {max(0, round(age))} s ago")
    if why := moment.unsettled.get(agent, ""):
        return Host(agent=agent, hostname=hostname, standing=Standing.NEW, why=why)
    return Host(agent=agent, hostname=hostname, standing=Standing.MISSING)


def _step(app: App, hosts: Sequence[Host], wanted: int, most: int, moment: Moment) -> Step:
    """Return the next step, by rules in the order in which they forbid one; ``wanted`` can run. Never down: who is gone may come back."""
    if wait := _waits(app, wanted, moment):
        return Step(verdict=Verdict.WAIT, instances=app.instances, why=wait, wanted=wanted)
    if app.instances == 0:
        return Step(verdict=Verdict.NOTHING, instances=0, why="its owner has stopped it", wanted=wanted)
    if wanted > app.instances:
        instances = min(wanted, app.instances + most) if most else wanted
        why = f"{instances - app.instances} more would find a host"
        return Step(verdict=Verdict.SCALE, instances=instances, why=why, wanted=wanted)
    if wanted < app.instances:
        blocked = [f"{host.hostname}: {host.why}" for host in hosts if host.standing is Standing.BLOCKED]
        why = f"wants {app.instances}, {wanted} can run" + (f": {'; '.join(blocked[:5])}" if blocked else "")
        return Step(verdict=Verdict.REPORT, instances=app.instances, why=why, wanted=wanted)
    return Step(verdict=Verdict.NOTHING, instances=app.instances, wanted=wanted)


def _waits(app: App, wanted: int, moment: Moment) -> str:
    if not moment.complete:
        return "the state of the cluster is not complete"
    if not app.deploying:
        return ""
    # Such a deployment never ends, and keeps the app locked.
    hangs = f": it wants {app.instances}, {wanted} can run" if wanted < app.instances else ""
    return f"a deployment is under way{hangs}"
