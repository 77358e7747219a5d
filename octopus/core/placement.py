"""What Marathon would do with an app on this cluster: how many instances find a place, where, and why an agent takes none.

All of it is computed from what Mesos and Marathon say; nothing is asked of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from octopus.core.inventory import Agent, MarathonTask
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed, Reading, read
from octopus.core.placement_counting import Count, Goal, count
from octopus.core.placement_fit import Fit, Why
from octopus.core.placement_offers import Offer
from octopus.core.placement_rules import Reason, Rules
from octopus.core.placement_spread import Board

MOST_PLACED = 1_000_000
"""Instances that are put on agents one by one."""

LOST = frozenset({"TASK_LOST", "TASK_UNREACHABLE", "TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_DROPPED", "TASK_UNKNOWN"})
GROUP_BY_FAILS = "GROUP_BY without a number divides by zero in Marathon 1.11, as its source reads: nothing would be placed"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that takes no further instance: every reason in Marathon's words, the one it would name first, and a sentence."""

    agent: str
    hostname: str
    reasons: tuple[Reason, ...]
    detail: str


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """Instances on one agent."""

    agent: str
    hostname: str
    instances: int


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of ``asked`` more instances of an app.

    At least ``least`` and at most ``most`` find a place, whatever the order of offers; both are reached by some order where
    ``exact``. ``where`` is one possible outcome: Marathon promises none. ``refusals`` are the agents that take no more after it.
    """

    app: str
    asked: int
    least: int
    most: int
    exact: bool
    where: tuple[Spot, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether all that is asked for surely finds a place."""
        return self.least >= self.asked


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster as a Marathon meets it at one moment: offers, its rules, and the master's own region ("" unknown)."""

    offers: tuple[Offer, ...]
    rules: Rules
    region: str = ""


def counted_instances(app: App, tasks: Iterable[MarathonTask], rules: Rules) -> list[MarathonTask]:
    """Return those of an app's tasks that its constraints look at, when more of the same are added.

    Before 1.1 all; then only those of the present configuration (``ResourceMatcher.scala``); from 1.4 on without lost ones
    (``TaskLauncherActor.scala``; one unreachable for longer counts again, which cannot be told from Mesos' word for it).
    """
    return [
        task
        for task in tasks
        if not (rules.only_current_configuration and app.configured and task.version and task.version < app.configured)
        and not (rules.without_lost and task.state in LOST)
    ]


def placed_on(tasks: Iterable[MarathonTask], agents: Mapping[str, Agent], by_host: Mapping[str, Agent]) -> list[Placed]:
    """Return where instances are: by the agent's id, before 0.11 by its host name. Of an agent that is gone only the name is known."""
    found = []
    for task in tasks:
        agent = agents.get(task.agent) or by_host.get(task.host)
        if agent is None:
            found.append(Placed(task.host))
        else:
            found.append(Placed(task.host or agent.hostname, agent.attributes, agent.region, agent.zone))
    return found


def headroom(app: App, view: View, placed: Sequence[Placed] = ()) -> Count:
    """Return how many more instances of an app find a place; with constraints, beside those placed."""
    return _Run(app, view, placed).count(None)


def fits_alone(app: App, view: View) -> list[int]:
    """Return how many instances each offer surely holds by itself: all rules but those among instances. In the order of offers."""
    run = _Run(app, view, ())
    return [0 if refused else room for room, refused in zip(run.surely, run.reading.refused, strict=True)]


def reasons(app: App, view: View, placed: Sequence[Placed] = ()) -> list[Refusal]:
    """Return every agent that takes no instance now, and why."""
    return _Run(app, view, placed).refusals()


def place(app: App, view: View, asked: int, placed: Sequence[Placed] = ()) -> tuple[Placement, View]:
    """Return what becomes of ``asked`` more instances, and the cluster after it."""
    run = _Run(app, view, placed)
    found = run.count(asked)
    run.spread(min(asked, MOST_PLACED), len(placed) + asked)
    after = msgspec.structs.replace(view, offers=run.after())
    spots = [
        Spot(agent=offer.agent, hostname=offer.hostname, instances=each)
        for offer, each in zip(view.offers, run.board.counts, strict=True)
        if each
    ]
    result = Placement(
        app=app.id,
        asked=asked,
        least=found.least,
        most=found.most,
        exact=found.exact,
        where=tuple(spots),
        refusals=tuple(run.refusals()),
        notes=run.notes(),
    )
    return result, after


def spread(app: App, view: View, asked: int, placed: Sequence[Placed], target: int) -> tuple[list[int], View]:
    """Put up to ``asked`` instances on agents in one possible way: how many on each offer, and the cluster after it.

    ``target`` is the number of instances in all that the app is to have, by which 1.11 balances groups.
    """
    run = _Run(app, view, placed)
    run.spread(asked, target)
    return run.board.counts, msgspec.structs.replace(view, offers=run.after())


class _Run:
    """One app against one view."""

    def __init__(self, app: App, view: View, placed: Sequence[Placed]) -> None:
        self._app = app
        self._view = view
        self._placed = placed
        self._fit = Fit(app, view.rules, region=view.region)
        sure = Fit(app, view.rules, region=view.region, surely=True)
        self.reading: Reading = read(app.constraints, view.offers, placed, view.rules)
        self.surely = [sure.room(offer) for offer in view.offers]
        certain = not view.rules.contiguous_ports and all(offer.certain for offer in view.offers)
        self.perhaps = self.surely if certain else [self._fit.room(offer) for offer in view.offers]
        self.board = self._board(len(placed))

    def _board(self, target: int) -> Board:
        return Board(self.surely, self.reading, max(1, target) if self._view.rules.group_by_target else 0)

    def count(self, asked: int | None) -> Count:
        """Return bounds: at least by what is surely free, at most by what may be."""
        goal = Goal(current=len(self._placed), asked=asked, by_target=self._view.rules.group_by_target)
        least = count(self.surely, self.reading, goal)
        if self.perhaps is self.surely:
            return least
        most = count(self.perhaps, self.reading, goal)
        return Count(least=min(least.least, most.least), most=most.most, exact=most.exact and least == most)

    def spread(self, asked: int, target: int) -> None:
        """Put instances on agents in one possible way."""
        self.board = self._board(target)
        self.board.spread(asked)

    def after(self) -> tuple[Offer, ...]:
        """Return the offers without what is placed."""
        counts = zip(self._view.offers, self.board.counts, strict=True)
        return tuple(self._fit.taken(offer, each) if each else offer for offer, each in counts)

    def refusals(self) -> list[Refusal]:
        """Return the agents that take no more, with what is placed."""
        found = []
        for at, offer in enumerate(self.after()):
            why = self._why(at, offer)
            if why:
                names = tuple(dict.fromkeys(reason for reason, _ in why))
                detail = "; ".join(dict.fromkeys(text for _, text in why))
                found.append(Refusal(agent=offer.agent, hostname=offer.hostname, reasons=names, detail=detail))
        return found

    def _why(self, at: int, offer: Offer) -> list[Why]:
        refused = self.reading.refused[at]
        blocked = "" if refused else self.board.blocked(at)
        if self.board.room[at] > 0 and not blocked:
            return []
        why = self._fit.why(offer)
        if offer.withheld:
            return why
        if not (refused or blocked):
            return why
        text = refused or _WORDS[blocked]
        head = [each for each in why if each[0] is Reason.UNFULFILLED_ROLE]
        return [*head, (Reason.UNFULFILLED_CONSTRAINT, text), *(each for each in why if each not in head)]

    def notes(self) -> tuple[str, ...]:
        """Return what the answer leaves out or rests on."""
        found = [f"{what} is not simulated" for what in self._app.unmodelled]
        if self._view.rules.group_by_target and any(not groups.wanted for groups in self.reading.groups):
            found.append(GROUP_BY_FAILS)
        if not all(offer.certain for offer in self._view.offers):
            found.append("the master does not say what of the reserved resources is used: bounds are wider for it")
        return tuple(found)


_WORDS = {
    "cap": "as many instances as the constraint allows are there",
    "shared": "the instances placed have another value",
    "group": "the groups would be uneven",
}
