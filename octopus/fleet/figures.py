"""Figures for monitoring, before they are in the form of Prometheus or StatsD; those of a capacity report.

Names are those of the README. CPUs are CPUs, memory and disk of the cluster MB as Mesos counts them, ports a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from octopus.core.capacity import Headroom, Sums
from octopus.fleet.report import Report


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One figure with its samples: the values of ``labels``, and the number. A ``counter`` only grows while the gateway runs.

    ``name`` is without prefix; a counter's ends in ``_total``.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    counter: bool = False
    samples: tuple[tuple[tuple[str, ...], float], ...] = ()


def single(name: str, value: float, help_text: str, *, counter: bool = False) -> Family:
    """Return a figure without labels."""
    return Family(name=name, help=help_text, counter=counter, samples=(((), value),))


def labelled(name: str, label: str, values: Mapping[str, float], help_text: str, *, counter: bool = False) -> Family:
    """Return a figure with one label."""
    return Family(
        name=name, help=help_text, labels=(label,), counter=counter, samples=tuple(((key,), each) for key, each in values.items())
    )


STATES = {
    "": "offered",
    "draining": "draining",
    "drained": "drained",
    "deactivated": "deactivated",
    "disconnected": "disconnected",
    "nothing left to offer": "full",
    "what is left is reserved for other roles": "reserved",
}
"""What ``octopus_hosts`` calls the reasons for which Mesos offers nothing of an agent; any other is ``withheld``."""


def capacity_families(found: Report) -> Iterator[Family]:
    """Yield the figures of a report on a complete state."""
    yield from _sums(found)
    yield from _headrooms([*found.shapes.values(), *found.apps])
    yield labelled("unusable_ratio", "resource", found.unusable, "share of the free resource that a random instance of ours cannot use")
    yield labelled("stranded", "resource", _units(found.stranded), "free where the median app fails for want of something else")
    yield labelled("largest_free", "resource", _units(found.largest), "the most that is free on any one agent")
    hosts = Counter(STATES.get(line.withheld, "withheld") for line in found.agents)
    yield labelled("hosts", "state", {**dict.fromkeys(STATES.values(), 0), **hosts}, "agents by what Mesos does with them")
    if found.what_if is not None:
        losses = found.what_if.losses
        yield single("hostloss_unplaced_max", losses[0].unplaced if losses else 0, "instances without a place if the worst agent were lost")
        yield single("inflation_ratio", found.what_if.inflation / 100, "how many times its instances everything could have")
        yield single("hosts_emptiable", len(found.what_if.emptied), "agents whose instances fit on the others")
    for name in ("eligible", "running", "missing", "blocked", "leaving", "misplaced"):
        values = {line.app: float(getattr(line, name)) for line in found.unique}
        yield labelled(f"unique_{name}", "app", values, f"hosts of an app of one on each host: {name}")


def _sums(found: Report) -> Iterator[Family]:
    role = found.role
    for name in ("total", "used", "offered", "free"):
        samples = tuple(((resource, role), _unit(resource, getattr(each, name))) for resource, each in found.sums.items())
        yield Family(name=f"cluster_{name}", help=f"{name}, over all agents", labels=("resource", "role"), samples=samples)
    away = tuple(
        ((resource, role, why), _unit(resource, amount)) for resource, each in found.sums.items() for why, amount in _unavailable(each)
    )
    yield Family(name="cluster_unavailable", help="free and out of reach, by why", labels=("resource", "role", "reason"), samples=away)


def _unavailable(each: Sums) -> Iterable[tuple[str, int]]:
    return each.unavailable.items()


def _headrooms(found: Iterable[Headroom]) -> Iterator[Family]:
    measured = list(found)
    yield labelled("headroom_instances", "app", {each.app: each.real.least for each in measured}, "instances more that surely fit")
    ideal = {each.app: float(each.ideal) for each in measured}
    yield labelled("headroom_ideal_instances", "app", ideal, "instances more that would fit if all that is free lay on one agent")
    loss = {each.app: each.fragmentation_loss for each in measured}
    yield labelled("fragmentation_loss_ratio", "app", loss, "share of the ideal headroom lost to pieces")
    rules = {each.app: float(each.constraint_loss) for each in measured}
    yield labelled("constraint_loss_instances", "app", rules, "instances that would fit but for the app's constraints")


def _unit(resource: str, amount: int) -> float:
    return float(amount) if resource == "ports" else amount / 1000


def _units(amounts: Mapping[str, int]) -> dict[str, float]:
    return {name: _unit(name, amount) for name, amount in amounts.items()}
