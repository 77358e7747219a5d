"""What a cluster of 100,000 tasks on 10,000 agents costs: finding a task, and reading the same state again."""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest

from octopus.core.cluster import Cluster
from octopus.core.errors import NoSuchTarget
from octopus.core.find import find
from octopus.core.inventory import RUNNING, Agent, Snapshot, Task
from octopus.core.types import TargetName

FRAMEWORK = "36e2eead-777d-47bb-9b22-f0e24e6ad73c-0000"


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """Give a made snapshot: 20,000 apps in 100 groups, five tasks each."""
    rng = random.Random(1)
    agents = [Agent(f"S{number}", f"agent-{number}.example", "10.0.0.1", 5051) for number in range(10_000)]

    def task(number: int) -> Task:
        app, group = number % 20_000, number % 100
        run = uuid.UUID(int=rng.getrandbits(128))
        name = f"app-{app}.group{group}"
        return Task(
            f"group{group}_app-{app}.{run}", FRAMEWORK, f"S{number % 10_000}", RUNNING, name, started=float(number), container=str(run)
        )

    return Snapshot(agents=agents, frameworks={FRAMEWORK: "marathon"}, tasks=[task(number) for number in range(100_000)])


@pytest.fixture(scope="module")
def cluster(snapshot: Snapshot) -> Cluster:
    """Give a cluster that knows it."""
    known = Cluster()
    known.replace(snapshot)
    return known


@pytest.mark.parametrize("form", ["id", "start", "app", "path"])
def test_finding_a_task(benchmark: Any, cluster: Cluster, snapshot: Snapshot, form: str) -> None:
    """By its id, the start of it, and its app's spellings."""
    task = snapshot.tasks[77]
    body = {"id": task.id, "start": task.id[:-20], "app": "group77_app-77", "path": "/group77/app-77"}[form]
    name = TargetName(text=body, body=body, any=form in {"app", "path"})
    assert benchmark(find, cluster, name, lambda task: True).app == "/group77/app-77"


def test_suggesting_a_name(benchmark: Any, cluster: Cluster) -> None:
    """For a name with a slip in it, among 20,000 apps."""

    def miss() -> str:
        with pytest.raises(NoSuchTarget) as caught:
            find(cluster, TargetName(text="gruop5_app-5", body="gruop5_app-5"), lambda task: True)
        return caught.value.notice

    assert "did you mean group5_app-5" in benchmark(miss)


def test_reading_the_same_again(benchmark: Any, cluster: Cluster, snapshot: Snapshot) -> None:
    """Applying a snapshot in which nothing changed."""
    benchmark.pedantic(cluster.replace, (snapshot,), rounds=2)
    assert len(cluster.tasks) == 100_000
