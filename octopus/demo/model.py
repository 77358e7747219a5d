"""What a Mesos master knows: frameworks, agents, tasks and their statuses."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from octopus.demo.resources import Resources

MAX_COMPLETED_TASKS = 1000
"""Finished tasks a master keeps for each framework (its flag ``max_completed_tasks_per_framework``)."""

LIVE_STATES = frozenset({"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"})


@dataclass(slots=True)
class Status:
    """One status update. ``from_master`` marks those that no executor sent: they name no container."""

    state: str
    timestamp: float
    uuid: str = ""
    message: str = ""
    reason: str = ""
    from_master: bool = False


@dataclass(slots=True)
class Executor:
    """A pod's executor: a container of its own around those of its tasks; ``first_task`` starts before its network is known."""

    id: str
    framework_id: str
    agent_id: str
    container_id: str
    resources: Resources
    first_task: str = ""


@dataclass(slots=True)
class Task:
    """A task; ``container`` is its ContainerInfo as JSON (None: a plain command), ``executor`` is set for pods only.

    ``image``, ``command`` and ``env`` are what its container is started with; ``readded`` says that the master has it from its
    agent, which came back, with ``data`` in its statuses and no word on which of them are acknowledged; ``encoded`` is
    the v0 JSON while it is valid.
    """

    id: str
    name: str
    framework_id: str
    agent_id: str
    container_id: str
    resources: Resources
    state: str = "TASK_STAGING"
    statuses: list[Status] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    container: dict[str, Any] | None = None
    executor: Executor | None = None
    discovery: bool = False
    port_name: str = "default"
    role: str = "*"
    ip: str = ""
    image: str = ""
    command: str = ""
    env: dict[str, str] = field(default_factory=dict)
    readded: bool = False
    encoded: bytes | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """The host ports it was given."""
        return tuple(self.resources.each_port())

    @property
    def docker(self) -> bool:
        """Whether the Docker containerizer runs it."""
        return self.container is not None and self.container["type"] == "DOCKER"

    @property
    def live(self) -> bool:
        """Whether it holds resources."""
        return self.state in LIVE_STATES

    @property
    def executor_id(self) -> str:
        """The executor's id on the agent: the task's own id for commands and Docker tasks."""
        return self.executor.id if self.executor else self.id

    def since(self, state: str) -> float | None:
        """Return when it first was in that state, in seconds since 1970; None if never."""
        return next((status.timestamp for status in self.statuses if status.state == state), None)


@dataclass(slots=True)
class Agent:
    """An agent; ``attributes`` hold a float for SCALAR and a str for TEXT."""

    id: str
    hostname: str
    ip: str
    port: int
    resources: Resources
    attributes: dict[str, str | float]
    registered_time: float
    version: str
    work_dir: str
    start_time: float
    reregistered_time: float | None = None
    tasks: dict[str, Task] = field(default_factory=dict)
    completed: deque[Task] = field(default_factory=lambda: deque(maxlen=150))

    @property
    def pid(self) -> str:
        """Its libprocess address."""
        return f"slave(1)@{self.ip}:{self.port}"

    def executors(self) -> list[Executor]:
        """Return the executors of its pods, each once."""
        return list({task.executor.id: task.executor for task in self.tasks.values() if task.executor}.values())

    def used(self) -> Resources:
        """Return what tasks and pod executors hold, as the master accounts it."""
        return Resources.total([*(task.resources for task in self.tasks.values()), *(each.resources for each in self.executors())])

    def sandbox(self, task: Task) -> str:
        """Return the task's sandbox, the path that ends in ``/runs/<container>``."""
        run = task.executor.container_id if task.executor else task.container_id
        return f"{self.work_dir}/slaves/{self.id}/frameworks/{task.framework_id}/executors/{task.executor_id}/runs/{run}"


@dataclass(slots=True)
class Framework:
    """A framework with everything it ever launched that is still remembered."""

    id: str
    name: str
    hostname: str
    webui_url: str
    registered_time: float
    capabilities: tuple[str, ...] = ()
    role: str = "*"
    user: str = "root"
    reregistered_time: float | None = None
    tasks: dict[str, Task] = field(default_factory=dict)
    unreachable: dict[str, Task] = field(default_factory=dict)
    completed: deque[Task] = field(default_factory=lambda: deque(maxlen=MAX_COMPLETED_TASKS))

    def every_task(self) -> Iterator[Task]:
        """Yield running, unreachable and finished tasks."""
        yield from self.tasks.values()
        yield from self.unreachable.values()
        yield from self.completed


@dataclass(slots=True)
class Registry:
    """The master's registry: agents by id, in what standing, and frameworks by id.

    ``recovered`` are agents that a new leader read from the registry and that have not come back to it yet.
    """

    agents: dict[str, Agent] = field(default_factory=dict)
    unreachable: dict[str, Agent] = field(default_factory=dict)
    recovered: dict[str, Agent] = field(default_factory=dict)
    frameworks: dict[str, Framework] = field(default_factory=dict)

    def visible_tasks(self, framework: Framework) -> list[Task]:
        """Return the framework's live tasks on agents that are registered now."""
        if not self.recovered:
            return list(framework.tasks.values())
        return [task for task in framework.tasks.values() if task.agent_id in self.agents]

    def visible_executors(self, framework: Framework) -> list[Executor]:
        """Return the pod executors of the framework's visible tasks, each once."""
        tasks = self.visible_tasks(framework)
        return list({task.executor.id: task.executor for task in tasks if task.executor}.values())
