"""What containers really use, summed by app and by agent, beside what their tasks have reserved.

An engine counts for each container since its start. What an app used in all is the sum of what its containers counted between two
readings: containers come and go, and their counters with them. Only what was read is compared: reserved is that of the tasks whose
container answered, so that an engine that is silent does not look like one that idles.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from octopus.core.resources import NOTHING, Amounts, total

FORGET = 3600.0
"""Seconds after which an app without containers is forgotten, with what it used in all."""


class Reading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an engine says of one container at a time (seconds since 1970, its own clock): CPU time in nanoseconds, the rest in bytes.

    All but ``memory`` count up from the container's start.
    """

    at: float
    cpu: int = 0
    memory: int = 0
    received: int = 0
    sent: int = 0
    read: int = 0
    written: int = 0


class Measured(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A container that was read, whose it is, and what its task has reserved."""

    container: str
    app: str
    reserved: Amounts
    reading: Reading


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What containers use now: ``cpus`` as a number of CPUs between the last two readings, ``memory`` in bytes; ``reserved`` beside it.

    ``rated`` is how many of them were read twice.
    """

    containers: int = 0
    rated: int = 0
    cpus: float = 0.0
    memory: int = 0
    reserved: Amounts = NOTHING


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What an app's containers used in all since we look: CPU seconds, bytes."""

    cpu: float = 0.0
    received: int = 0
    sent: int = 0
    read: int = 0
    written: int = 0

    def plus(self, before: Reading, after: Reading) -> Spent:
        """Return it with what came between two readings of a container; a counter that fell began anew."""
        return Spent(
            cpu=self.cpu + _more(before.cpu, after.cpu) / 1e9,
            received=self.received + _more(before.received, after.received),
            sent=self.sent + _more(before.sent, after.sent),
            read=self.read + _more(before.read, after.read),
            written=self.written + _more(before.written, after.written),
        )


class _Known(msgspec.Struct, frozen=True):
    measured: Measured
    cpus: float | None


class UsageBook:
    """What was read last on each agent. ``now`` is in seconds, of one clock of the caller's."""

    def __init__(self) -> None:
        self._agents: dict[str, tuple[float, dict[str, _Known]]] = {}
        self._spent: dict[str, Spent] = {}
        self._seen: dict[str, float] = {}

    def take(self, agent: str, found: Iterable[Measured], now: float) -> None:
        """Note all containers of an agent that were read."""
        _, before = self._agents.get(agent, (0.0, {}))
        known: dict[str, _Known] = {}
        for each in found:
            spent = self._spent.setdefault(each.app, Spent())
            self._seen[each.app] = now
            old = before.get(each.container)
            if old is None:
                known[each.container] = _Known(each, None)
                continue
            self._spent[each.app] = spent.plus(old.measured.reading, each.reading)
            known[each.container] = _Known(each, _rate(old.measured.reading, each.reading, old.cpus))
        self._agents[agent] = (now, known)

    def forget(self, since: float, now: float) -> None:
        """Forget agents that were not read since then, and apps without containers for FORGET seconds."""
        self._agents = {agent: each for agent, each in self._agents.items() if each[0] >= since}
        for app in [app for app, seen in self._seen.items() if now - seen > FORGET]:
            del self._seen[app], self._spent[app]

    def by_app(self) -> dict[str, Use]:
        """Return what each app's containers use now."""
        found: dict[str, list[_Known]] = {}
        for _, containers in self._agents.values():
            for each in containers.values():
                found.setdefault(each.measured.app, []).append(each)
        return {app: _use(known) for app, known in sorted(found.items())}

    def by_agent(self) -> dict[str, Use]:
        """Return what the containers of our tasks use on each agent, by its id."""
        return {agent: _use(list(containers.values())) for agent, (_, containers) in self._agents.items()}

    def spent(self) -> dict[str, Spent]:
        """Return what each app used in all."""
        return dict(self._spent)


def _more(before: int, after: int) -> int:
    return after - before if after >= before else after


def _rate(before: Reading, after: Reading, known: float | None) -> float | None:
    """Return CPUs between two readings; the last known where both are of one moment."""
    seconds = after.at - before.at
    return _more(before.cpu, after.cpu) / 1e9 / seconds if seconds > 0 else known


def _use(known: list[_Known]) -> Use:
    rates = [each.cpus for each in known if each.cpus is not None]
    return Use(
        containers=len(known),
        rated=len(rates),
        cpus=sum(rates),
        memory=sum(each.measured.reading.memory for each in known),
        reserved=total(each.measured.reserved for each in known),
    )
