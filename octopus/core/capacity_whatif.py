"""What would become of the cluster if: everything grew, an agent were lost, agents were emptied.

Workload inflation and cluster compaction are those of Verma, Korupolu, Wilkes (CLUSTER 2014). All by the same simulated placement,
largest apps first, on what is surely free; instances that Marathon does not know stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from octopus.core.placement import View, place
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed

MOST_PERCENT = 1000
MOST_AGENTS = 200
"""Agents that are looked at one by one; the fullest first."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """An app and where its instances are: by the agent's id, what constraints see of each."""

    app: App
    on: dict[str, tuple[Placed, ...]] = {}

    @property
    def everywhere(self) -> list[Placed]:
        """All instances."""
        return [each for placed in self.on.values() for each in placed]


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What would find no other place if an agent were lost: so many instances in all, by app."""

    agent: str
    hostname: str
    unplaced: int
    apps: dict[str, int] = {}


def _largest_first(running: Sequence[Running]) -> list[Running]:
    return sorted(running, key=lambda each: (-each.app.needs.cpus, -each.app.needs.mem, each.app.id))


def inflation(running: Sequence[Running], view: View) -> int:
    """Return the largest percentage of the present instances of every app that surely fit together, from 100 to MOST_PERCENT."""
    low, high = 100, MOST_PERCENT
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _grown(running, view, middle) else (low, middle - 1)
    return low


def _grown(running: Sequence[Running], view: View, percent: int) -> bool:
    for each in _largest_first(running):
        there = each.everywhere
        more = -(-len(there) * (percent - 100) // 100)
        found, view = place(each.app, view, more, there)
        if not found.fits:
            return False
    return True


class _Moved(msgspec.Struct, frozen=True):
    """The cluster without an agent: what is left over by app, and where everything else is."""

    view: View
    running: tuple[Running, ...]
    over: dict[str, int]


def _moved(running: Sequence[Running], view: View, agent: str) -> _Moved:
    """Take an agent away and place what is on it on the others."""
    left = msgspec.structs.replace(view, offers=tuple(offer for offer in view.offers if offer.agent != agent))
    seen = {offer.agent: Placed(offer.hostname, offer.attributes, offer.region, offer.zone) for offer in left.offers}
    over: dict[str, int] = {}
    after = []
    for each in _largest_first(running):
        there = {name: placed for name, placed in each.on.items() if name != agent}
        if wanted := len(each.on.get(agent, ())):
            found, left = place(each.app, left, wanted, [one for placed in there.values() for one in placed])
            if not found.fits:
                over[each.app.id] = wanted - found.least
            for spot in found.where:
                there[spot.agent] = there.get(spot.agent, ()) + (seen[spot.agent],) * spot.instances
        after.append(Running(app=each.app, on=there))
    return _Moved(left, tuple(after), over)


def host_losses(running: Sequence[Running], view: View, *, most: int = MOST_AGENTS) -> list[Loss]:
    """Return for each agent what would find no other place without it, the worst first; those with most instances are looked at."""
    count = {offer.agent: sum(len(each.on.get(offer.agent, ())) for each in running) for offer in view.offers}
    chosen = sorted((offer for offer in view.offers if count[offer.agent]), key=lambda offer: (-count[offer.agent], offer.hostname))
    found = []
    for offer in chosen[:most]:
        over = _moved(running, view, offer.agent).over
        found.append(Loss(agent=offer.agent, hostname=offer.hostname, unplaced=sum(over.values()), apps=over))
    return sorted(found, key=lambda loss: (-loss.unplaced, loss.hostname))


def could_be_emptied(running: Sequence[Running], view: View, *, most: int = MOST_AGENTS) -> list[str]:
    """Return host names of agents whose instances all fit on the others, taken away one after the other, those with fewest first."""
    count = {offer.agent: sum(len(each.on.get(offer.agent, ())) for each in running) for offer in view.offers}
    order = sorted((offer for offer in view.offers if not offer.withheld), key=lambda offer: (count[offer.agent], offer.hostname))
    emptied: list[str] = []
    # The last one has nowhere to move its instances to.
    for offer in order[: min(most, len(order) - 1)]:
        after = _moved(running, view, offer.agent)
        if not after.over:
            view, running = after.view, after.running
            emptied.append(offer.hostname)
    return emptied
