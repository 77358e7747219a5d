"""Runs tasks as real containers on an agent's Docker engine, named, labelled and mounted as Mesos and Marathon would."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import docker.errors
import requests

from octopus.core.types import EngineAddress
from octopus.demo.engines import open_engine
from octopus.demo.model import Agent, Task
from octopus.demo.versions import Version

SANDBOX = "/mnt/mesos/sandbox"
KILL_AFTER = 1
"""Seconds between TERM and KILL when a task is stopped."""

ENGINE_ERRORS = (docker.errors.DockerException, requests.RequestException, OSError)
T = TypeVar("T")


class StartRefused(Exception):
    """The engine did not start the container; the text says why."""


def container_name(task: Task, version: Version) -> str:
    """Return the Docker name of a task's container: with the agent's id from 0.23 to 1.3, without it before and after."""
    if version.since(0, 23) and not version.since(1, 4):
        return f"mesos-{task.agent_id}.{task.container_id}"
    return f"mesos-{task.container_id}"


class EngineContainers:
    """The containers that one engine runs for this cluster. Close it: that removes them all."""

    def __init__(self, address: EngineAddress, version: Version, threads: int = 4) -> None:
        self._address = address
        self._version = version
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="demo-engine")
        self._api: Any = None
        self._opening = threading.Lock()
        self._ids: dict[str, str] = {}

    async def start(self, task: Task, agent: Agent) -> None:
        """Create and start the task's container. Raise StartRefused."""
        try:
            self._ids[task.id] = await self._call(lambda: self._create(task, agent))
            await self._call(lambda: self._api.start(self._ids[task.id]))
        except ENGINE_ERRORS as error:
            raise StartRefused(str(error)) from error

    async def stop(self, task: Task) -> None:
        """Stop and remove the task's container, if there is one."""
        container = self._ids.pop(task.id, None)
        if container is None:
            return
        with contextlib.suppress(*ENGINE_ERRORS):
            await self._call(lambda: self._api.stop(container, timeout=KILL_AFTER))
        await self._remove(container)

    async def exited(self) -> dict[str, int]:
        """Return the tasks whose containers ended by themselves, with exit statuses; each is told once. -1: it was removed."""
        if not self._ids:
            return {}
        try:
            known = await self._call(lambda: self._api.containers(filters={"status": "running"}))
        except ENGINE_ERRORS:
            return {}
        up = {each["Id"] for each in known}
        ended = {task: container for task, container in self._ids.items() if container not in up}
        return {task: status for task, container in ended.items() if (status := await self._status(container)) is not None}

    async def _status(self, container: str) -> int | None:
        """Return a container's exit status; None while it has not ended (it may just not have begun)."""
        try:
            state = (await self._call(lambda: self._api.inspect_container(container)))["State"]
        except docker.errors.NotFound:
            return -1
        except ENGINE_ERRORS:
            return None
        return int(state["ExitCode"]) if state["Status"] in ("exited", "dead") else None

    async def close(self) -> None:
        """Remove every container that was started here, and the threads."""
        containers = list(self._ids.values())
        self._ids.clear()
        await asyncio.gather(*(self._remove(container) for container in containers))
        if self._api is not None:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._api.close)
        self._pool.shutdown()

    async def _remove(self, container: str) -> None:
        with contextlib.suppress(*ENGINE_ERRORS):
            await self._call(lambda: self._api.remove_container(container, force=True, v=True))

    async def _call(self, work: Callable[[], T]) -> T:
        def connected() -> T:
            with self._opening:
                if self._api is None:
                    self._api = open_engine(self._address)
            return work()

        return await asyncio.get_running_loop().run_in_executor(self._pool, connected)

    def _create(self, task: Task, agent: Agent) -> str:
        docker_info = (task.container or {}).get("docker", {})
        sandbox = agent.sandbox(task)
        Path(sandbox).mkdir(parents=True, exist_ok=True)
        host_config = self._api.create_host_config(
            binds=[f"{sandbox}:{SANDBOX}"],
            network_mode=docker_info.get("network", "HOST").lower(),
            cpu_shares=max(2, int(1024 * task.resources.cpus)),
            mem_limit=int(task.resources.mem) << 20,
        )
        labels = [each["value"].partition("=") for each in docker_info.get("parameters", []) if each["key"] == "label"]
        created = self._api.create_container(
            image=task.image,
            entrypoint=["/bin/sh"] if task.command else None,
            command=["-c", task.command] if task.command else None,
            name=container_name(task, self._version),
            environment={**task.env, **self._mesos_environment(task)},
            labels={name: value for name, _, value in labels},
            host_config=host_config,
        )
        return str(created["Id"])

    def _mesos_environment(self, task: Task) -> dict[str, str]:
        """Return what Mesos itself puts into the environment: never the task's id."""
        own = {"MESOS_SANDBOX": SANDBOX}
        if self._version.since(0, 25):
            own["MESOS_CONTAINER_NAME"] = container_name(task, self._version)
        if self._version.since(1, 9):
            own["MESOS_ALLOCATION_ROLE"] = task.role
        return own
