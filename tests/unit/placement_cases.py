"""Small clusters for tests of placement."""

from __future__ import annotations

from octopus.core.placement import View
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed
from octopus.core.placement_offers import Offer
from octopus.core.placement_operators import Constraint
from octopus.core.placement_rules import rules_of
from octopus.core.resources import Amounts, Attribute

PORTS = ((31000, 31999),)


def offer(hostname: str, cpus: float = 4, *, role: str = "*", mem: float = 4096, free: Amounts | None = None, **more: Attribute) -> Offer:
    """Return an agent with so many CPUs free; further arguments are attributes."""
    has = {role: free or Amounts(round(cpus * 1000), round(mem * 1000), 1_000_000, 0, PORTS)}
    return Offer(agent=f"{hostname}-S", hostname=hostname, free=has, least=has, attributes=dict(more))


def view(*offers: Offer, version: str = "1.8.222", role: str = "*", region: str = "") -> View:
    """Return a cluster as Marathon of a version sees it."""
    return View(offers=offers, rules=rules_of(version, role=role), region=region)


def app(*constraints: str, cpus: float = 1, instances: int = 1) -> App:
    """Return an app of one CPU; constraints are written ``rack GROUP_BY 2``."""
    parts = [text.split(" ") for text in constraints]
    listed = tuple(Constraint(each[0], each[1], each[2] if len(each) > 2 else "") for each in parts)
    return App(id="/a", instances=instances, needs=Amounts(cpus=round(cpus * 1000)), constraints=listed)


def racks(**sizes: float) -> tuple[Offer, ...]:
    """Return one agent in each rack, with so many CPUs."""
    return tuple(offer(f"h-{rack}", cpus, rack=rack) for rack, cpus in sizes.items())


def on(*values: str | None) -> list[Placed]:
    """Return instances in these racks, each on a host of its own that is gone."""
    return [Placed(f"gone-{at}", {} if rack is None else {"rack": rack}) for at, rack in enumerate(values)]
