"""What judging an app of one on each host costs, on clusters of 100, 1000 and 10,000 agents."""

from __future__ import annotations

from typing import Any

import pytest

from octopus.core.inventory import Agent, MarathonTask
from octopus.core.placement import View
from octopus.core.placement_app import App
from octopus.core.placement_offers import offers
from octopus.core.placement_operators import Constraint
from octopus.core.placement_rules import rules_of
from octopus.core.resources import Amounts
from octopus.core.unique import Moment, coverage


@pytest.mark.parametrize("running", [0.0, 0.99])
@pytest.mark.parametrize("size", [100, 1000, 10_000])
def test_judging_one_app(benchmark: Any, size: int, running: float) -> None:
    """With no instance yet, and with one on nearly every host."""
    rules = rules_of("1.8.222")
    total = Amounts(32_000, 128_000_000, 0, 0, ((31000, 32000),))
    agents = {f"S{at}": Agent(f"S{at}", f"agent-{at}", total=total) for at in range(size)}
    there = [MarathonTask("/a", f"S{at}", host=f"agent-{at}") for at in range(int(size * running))]
    view = View(offers=tuple(offers(agents.values(), [], rules)), rules=rules)
    app = App(id="/a", instances=size, needs=Amounts(100, 64_000), ports=(0,), constraints=(Constraint("hostname", "UNIQUE"),))
    moment = Moment(view=view, agents=agents, tasks={"/a": there}, now=1e9)
    assert benchmark.pedantic(coverage, (app, moment), rounds=3).target == size
