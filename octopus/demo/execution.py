"""What agents do with tasks: run them, as real containers where there is an engine, and tell Mesos how it goes."""

from __future__ import annotations

from octopus.core.types import EngineAddress
from octopus.demo.background import Background
from octopus.demo.containers import EngineContainers, StartRefused
from octopus.demo.mesos import Mesos
from octopus.demo.model import Task


class Execution:
    """Runs the tasks of every agent."""

    def __init__(self, mesos: Mesos, background: Background) -> None:
        self._mesos = mesos
        self._background = background
        self._engines: dict[str, EngineContainers] = {}

    def add_engine(self, agent_id: str, address: EngineAddress) -> None:
        """Let an agent's Docker tasks be containers on this engine."""
        self._engines[agent_id] = EngineContainers(address, self._mesos.version)

    async def remove_engine(self, agent_id: str) -> None:
        """Remove the agent's containers, if it has an engine."""
        if agent_id in self._engines:
            await self._engines.pop(agent_id).close()

    async def close(self) -> None:
        """Remove every container."""
        for agent_id in list(self._engines):
            await self.remove_engine(agent_id)

    def start(self, task: Task) -> None:
        """Run a task; it is TASK_RUNNING at once unless a container must start."""
        engine = self._engine_of(task)
        if engine is not None:
            self._background.run(self._start_container(task, engine))
            return
        self._starting(task)
        self._mesos.update(task, "TASK_RUNNING")

    def stop(self, task: Task) -> None:
        """End a task; it is TASK_KILLED at once unless a container must stop."""
        if self._mesos.version.since(0, 28) and task.state == "TASK_RUNNING":
            self._mesos.update(task, "TASK_KILLING")
        engine = self._engine_of(task)
        if engine is not None:
            self._background.run(self._stop_container(task, engine))
        else:
            self._killed(task)

    async def look(self) -> None:
        """Notice containers that ended by themselves."""
        for engine in list(self._engines.values()):
            for task_id, status in (await engine.exited()).items():
                await self._container_ended(engine, task_id, status)

    def _engine_of(self, task: Task) -> EngineContainers | None:
        return self._engines.get(task.agent_id) if task.docker else None

    def _starting(self, task: Task) -> None:
        if self._mesos.version.since(1, 5):
            self._mesos.update(task, "TASK_STARTING")

    async def _start_container(self, task: Task, engine: EngineContainers) -> None:
        self._starting(task)
        try:
            await engine.start(task, self._mesos.agent(task.agent_id))
        except (StartRefused, KeyError) as error:
            await engine.stop(task)
            if task.live:
                self._mesos.update(task, "TASK_FAILED", message=f"Failed to launch container: {error}")
            return
        if task.state in ("TASK_STAGING", "TASK_STARTING"):
            self._mesos.update(task, "TASK_RUNNING")
        else:
            await engine.stop(task)

    async def _stop_container(self, task: Task, engine: EngineContainers) -> None:
        await engine.stop(task)
        self._killed(task)

    def _killed(self, task: Task) -> None:
        if task.live:
            message = "Container killed" if task.docker else "Command terminated with signal Terminated"
            self._mesos.update(task, "TASK_KILLED", message=message)

    async def _container_ended(self, engine: EngineContainers, task_id: str, status: int) -> None:
        task = self._mesos.task(task_id)
        if task is None:
            return
        await engine.stop(task)
        if task.state in ("TASK_STARTING", "TASK_RUNNING"):
            state = "TASK_FAILED" if status else "TASK_FINISHED"
            self._mesos.update(task, state, message=f"Container exited with status {status}" if status >= 0 else "Container removed")
