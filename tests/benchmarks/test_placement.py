"""What placement costs on clusters of 100, 1000 and 10,000 agents, each with ten tasks."""

from __future__ import annotations

import random
from typing import Any

import pytest

from octopus.core.inventory import RUNNING, Agent, Task
from octopus.core.placement import View, headroom, place
from octopus.core.placement_app import App
from octopus.core.placement_constraints import Placed
from octopus.core.placement_offers import offers
from octopus.core.placement_operators import Constraint
from octopus.core.placement_rules import rules_of
from octopus.core.resources import Amounts

RULES = rules_of("1.8.222")
SIZES = [100, 1000, 10_000]
CONSTRAINTS = {
    "none": (),
    "unique": (Constraint("hostname", "UNIQUE"),),
    "racks": (Constraint("rack", "GROUP_BY", "20"), Constraint("hostname", "MAX_PER", "3"), Constraint("hostname", "LIKE", "agent-.*")),
}


def _made(size: int) -> tuple[list[Agent], list[Task]]:
    rng = random.Random(size)
    total = Amounts(32_000, 128_000_000, 1_000_000_000, 0, ((31000, 32000),))
    agents = [Agent(f"S{at}", f"agent-{at}", attributes={"rack": f"r{at % 20}"}, total=total) for at in range(size)]
    tasks = [
        Task(
            f"t{at}",
            "f",
            f"S{rng.randrange(size)}",
            RUNNING,
            ports=(31000 + at % 900,),
            amounts=Amounts(rng.randrange(1, 40) * 100, 1_000_000),
        )
        for at in range(size * 10)
    ]
    return agents, tasks


def _view(size: int) -> View:
    agents, tasks = _made(size)
    return View(offers=tuple(offers(agents, tasks, RULES)), rules=RULES)


@pytest.mark.parametrize("size", SIZES)
def test_seeing_a_cluster(benchmark: Any, size: int) -> None:
    """From agents and tasks to offers, once for all apps."""
    agents, tasks = _made(size)
    assert len(benchmark.pedantic(offers, (agents, tasks, RULES), rounds=3)) == size


@pytest.mark.parametrize("constraints", CONSTRAINTS)
@pytest.mark.parametrize("size", SIZES)
def test_headroom_of_one_app(benchmark: Any, size: int, constraints: str) -> None:
    """Meant to stay below 0.2 s for 10,000 agents."""
    app = App(id="/a", needs=Amounts(4000, 2_000_000), ports=(0, 0), constraints=CONSTRAINTS[constraints])
    view = _view(size)
    placed = [Placed(f"agent-{at}", {"rack": f"r{at % 20}"}) for at in range(size // 20)]
    assert benchmark.pedantic(headroom, (app, view, placed), rounds=3).most > 0


@pytest.mark.parametrize("constraints", CONSTRAINTS)
@pytest.mark.parametrize("size", SIZES)
def test_simulating_a_thousand(benchmark: Any, size: int, constraints: str) -> None:
    """With every agent that refuses and why; meant to stay below 2 s for 10,000 agents."""
    app = App(id="/a", needs=Amounts(4000, 2_000_000), ports=(0, 0), constraints=CONSTRAINTS[constraints])
    found, _ = benchmark.pedantic(place, (app, _view(size), 1000), rounds=2)
    assert found.most > 0
