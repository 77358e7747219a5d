"""Rolling upgrades: what Marathon stops and starts at once, and whether it ever comes to the end on this cluster.

Sources: ``core/deployment/impl/TaskReplaceActor.scala`` (computeRestartStrategy) and, before 1.1, ``upgrade/TaskReplaceActor.scala``.
Some are stopped at once, as many started as the capacity leaves; then one old stops for each new that is healthy. Every new instance is
taken to become healthy.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import msgspec

from octopus.core.placement import Refusal, View, reasons, spread
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed
from octopus.core.placement_rules import Rules
from octopus.core.resources import NOTHING, Amounts

MOST_STEPS = 1000
"""Rounds of starting and stopping that are followed."""


class Old(msgspec.Struct, frozen=True, kw_only=True):
    """An instance that is to be replaced: its agent, what constraints see of it, and what it uses, ports included."""

    agent: str
    placed: Placed
    uses: Amounts = NOTHING


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """How an upgrade begins: how many are stopped at once, how many there may be in all, and how many are started at once."""

    stop: int
    capacity: int
    start: int


class Upgrade(msgspec.Struct, frozen=True, kw_only=True):
    """How an upgrade goes: ``started`` of ``instances`` new ones find a place; ``stuck`` are the agents that refuse the next one.

    ``order_decides``: stopping the old ones in another order ends otherwise; what is told is then the worse end.
    """

    app: str
    instances: int
    strategy: Strategy
    started: int
    order_decides: bool = False
    stuck: tuple[Refusal, ...] = ()

    @property
    def finishes(self) -> bool:
        """Whether it surely comes to its end."""
        return self.started >= self.instances


def strategy(app: App, old: int, rules: Rules) -> Strategy:
    """Return how the upgrade of ``old`` healthy instances begins."""
    healthy = math.ceil(app.instances * app.minimum_health)
    capacity = int(app.instances * (1 + app.maximum_over))
    stop = max(0, old - healthy)
    if rules.spare_unless_killing:
        capacity += stop == 0 and capacity == app.instances
    elif healthy == capacity and capacity <= old:
        # A resident app must not exceed its number, so one more is stopped first.
        stop, capacity = (old - healthy + 1, capacity) if app.resident else (stop, capacity + 1)
    if not rules.spare_unless_killing and app.instances < old:
        stop = max(old - app.instances, stop)
    stop = min(stop, old)
    return Strategy(stop=stop, capacity=capacity, start=max(0, min(app.instances, capacity - (old - stop))))


def upgrade(app: App, view: View, old: Sequence[Old], *, restart: bool = False, steps: int = MOST_STEPS) -> Upgrade:
    """Return how replacing ``old`` by ``app`` goes on this cluster, in which the old ones still run.

    ``restart``: nothing in the app changes; old instances then count for its constraints until 1.10 (MARATHON-8771).
    One that is not through after ``steps`` rounds counts as one that does not finish.
    """
    ends = [_Rolling(app, view, order, restart=restart).run(steps) for order in (old, old[::-1])]
    worst = min(ends, key=lambda each: each.started)
    return msgspec.structs.replace(worst, order_decides=ends[0].started != ends[1].started)


class _Rolling:
    """One run of an upgrade, in which old instances are stopped in the order given."""

    def __init__(self, app: App, view: View, old: Sequence[Old], *, restart: bool) -> None:
        self._app = app
        self._view = view
        self._old = deque(old)
        self._new: list[Placed] = []
        rules = view.rules
        self._old_count = not rules.only_current_configuration or (restart and not rules.group_by_target)
        self._strategy = strategy(app, len(old), rules)

    def run(self, steps: int) -> Upgrade:
        """Go on until all are started, nothing finds a place, or ``steps`` rounds are over."""
        self._stop(self._strategy.stop)
        queued = waiting = 0
        for _ in range(steps):
            more = max(0, min(self._app.instances - queued, self._strategy.capacity - len(self._old) - queued))
            queued, waiting = queued + more, waiting + more
            found = self._start(waiting)
            if not found:
                break
            waiting -= found
            self._stop(found)
        done = len(self._new) >= self._app.instances
        return Upgrade(
            app=self._app.id,
            instances=self._app.instances,
            strategy=self._strategy,
            started=len(self._new),
            stuck=() if done else tuple(reasons(self._app, self._view, self._placed())),
        )

    def _placed(self) -> list[Placed]:
        return [*(each.placed for each in self._old if self._old_count), *self._new]

    def _start(self, waiting: int) -> int:
        counts, self._view = spread(self._app, self._view, waiting, self._placed(), self._app.instances)
        for offer, each in zip(self._view.offers, counts, strict=True):
            self._new += [Placed(offer.hostname, offer.attributes, offer.region, offer.zone)] * each
        return sum(counts)

    def _stop(self, number: int) -> None:
        gone: dict[str, Amounts] = {}
        for _ in range(min(number, len(self._old))):
            each = self._old.popleft()
            gone[each.agent] = gone.get(each.agent, NOTHING) + each.uses
        offers = tuple(offer.giving(gone[offer.agent]) if offer.agent in gone else offer for offer in self._view.offers)
        self._view = msgspec.structs.replace(self._view, offers=offers)
