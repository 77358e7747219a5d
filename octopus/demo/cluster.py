"""A Mesos and a Marathon on this machine, and the handle to make things happen in them."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from octopus.core.types import EngineAddress
from octopus.demo.agent_routes import AgentRoutes
from octopus.demo.app_model import Deployment
from octopus.demo.background import Background
from octopus.demo.execution import Execution
from octopus.demo.marathon import Marathon
from octopus.demo.marathon_routes import MarathonRoutes
from octopus.demo.master_routes import MasterRoutes
from octopus.demo.mesos import Credentials, Master, Mesos
from octopus.demo.model import Agent, Framework, Task
from octopus.demo.resources import Resources
from octopus.demo.serving import Servers, listening_socket
from octopus.demo.versions import Version

DEFAULT_RESOURCES = Resources(cpus=4.0, mem=4096.0, disk=10240.0, ports=((31000, 32000),))


class DemoCluster:
    """An in-memory Mesos and Marathon, served over HTTP on loopback while the context is open.

    Versions as in ``"0.22.0"``; ``masters`` and ``marathons`` are how many of each are served, each on a port of its own.
    ``replace_unreachable`` None: as that Marathon does (at once up to 1.3 and from 1.6). ``tick`` seconds pass between two
    looks at waiting apps and at containers. ``work_dir`` "" is a temporary folder. Instances of the same ``rng`` and clock
    make the same ids.
    """

    def __init__(
        self,
        *,
        mesos_version: str = "1.11.0",
        marathon_version: str = "1.11.0",
        masters: int = 1,
        marathons: int = 1,
        host: str = "127.0.0.1",
        name: str = "demo",
        mesos_credentials: Credentials | None = None,
        marathon_credentials: Credentials | None = None,
        heartbeat: float = 15.0,
        replace_unreachable: bool | None = None,
        work_dir: str = "",
        tick: float = 0.2,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self._host, self._counts, self._tick, self._clock = host, (masters, marathons), tick, clock
        self._rng = rng or random.Random()  # noqa: S311  ids of a stand-in, not secrets
        self.work_dir = work_dir
        self._temporary = ""
        self.mesos = Mesos(Version.parse(mesos_version), clock, self._rng, name, heartbeat, mesos_credentials)
        version = Version.parse(marathon_version)
        if replace_unreachable is None:
            replace_unreachable = version.since(1, 6) or not version.since(1, 4)
        framework = Framework("", "marathon", name, "", clock())
        self.marathon = Marathon(
            version,
            self.mesos,
            framework,
            self._rng,
            self._start,
            lambda task: self._execution.stop(task),
            replace_unreachable=replace_unreachable,
            credentials=marathon_credentials,
        )
        self._servers = Servers()
        self._background = Background()
        self._held: set[str] = set()
        self._changed = asyncio.Event()
        self.mesos.on_update.append(lambda _: self._changed.set())

    # life

    async def __aenter__(self) -> Self:
        if not self.work_dir:
            self.work_dir = self._temporary = tempfile.mkdtemp(prefix="octopus-mesos-")
        self._execution = Execution(self.mesos, self._background)
        await self._background.open()
        try:
            await self._open()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def _open(self) -> None:
        masters, marathons = self._counts
        for _ in range(masters):
            await self._add_master()
        self.mesos.elect(self.mesos.masters[0])
        for _ in range(marathons):
            await self._add_marathon()
        self.marathon.register()
        self.marathon.lead(self.marathon.nodes[0])
        self._background.run(self._watch())

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.mesos.events.close_all()
        self.marathon.lead(None)
        try:
            await self._background.close()
        finally:
            await self._servers.stop_all()
            await self._execution.close()
            if self._temporary:
                await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)

    @property
    def mesos_urls(self) -> list[str]:
        """The masters' base URLs."""
        return [f"http://{master.host}:{master.port}" for master in self.mesos.masters]

    @property
    def marathon_urls(self) -> list[str]:
        """The Marathon nodes' base URLs."""
        return [f"http://{node}" for node in self.marathon.nodes]

    async def _add_master(self) -> None:
        sock = listening_socket(self._host)
        port = sock.getsockname()[1]
        master = Master(self.mesos.new_uuid(), self._host, port, self._clock(), self._host)
        self.mesos.masters.append(master)
        await self._servers.start(master.pid, MasterRoutes(master, self.mesos).app(), sock)

    async def _add_marathon(self) -> None:
        sock = listening_socket(self._host)
        node = f"{self._host}:{sock.getsockname()[1]}"
        self.marathon.nodes.append(node)
        await self._servers.start(node, MarathonRoutes(node, self.marathon).app(), sock)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            await self._execution.look()
            self.marathon.scheduler.step()

    # masters and Marathons

    def fail_over(self, to: int | None, *, reregister: bool = True) -> None:
        """Let master number ``to`` lead (None: nobody); agents and frameworks find it at once unless told not to."""
        self.mesos.elect(None if to is None else self.mesos.masters[to])
        if to is not None and reregister:
            self.mesos.reregister()

    def reregister(self, *hostnames: str) -> None:
        """Let these recovered agents (none named: all) find the new leader."""
        self.mesos.reregister([self.agent(hostname) for hostname in hostnames] or None)

    async def stop_master(self, number: int) -> None:
        """Kill a master: its port refuses connections. It does not lead any more."""
        master = self.mesos.masters[number]
        if self.mesos.leader is master:
            self.fail_over(None)
        await self._servers.stop(master.pid)

    async def start_master(self, number: int) -> None:
        """Start a killed master again on its port, as a standby."""
        master = self.mesos.masters[number]
        await self._servers.start(master.pid, MasterRoutes(master, self.mesos).app(), listening_socket(master.host, master.port))

    def lead_marathon(self, number: int | None) -> None:
        """Let that Marathon node lead (None: nobody); event streams end."""
        self.marathon.lead(None if number is None else self.marathon.nodes[number])

    async def stop_marathon(self, number: int) -> None:
        """Kill a Marathon node: its port refuses connections."""
        node = self.marathon.nodes[number]
        if self.marathon.leader == node:
            self.marathon.lead(None)
        await self._servers.stop(node)

    async def start_marathon(self, number: int) -> None:
        """Start a killed Marathon node again on its port; it leads when nobody does."""
        node = self.marathon.nodes[number]
        host, _, port = node.rpartition(":")
        await self._servers.start(node, MarathonRoutes(node, self.marathon).app(), listening_socket(host, int(port)))
        if self.marathon.leader is None:
            self.marathon.lead(node)

    # agents

    async def add_agent(
        self,
        hostname: str,
        *,
        ip: str = "127.0.0.1",
        port: int = 0,
        attributes: dict[str, str | float] | None = None,
        resources: Resources = DEFAULT_RESOURCES,
        engine: EngineAddress | None = None,
        serve: bool = True,
    ) -> Agent:
        """Let an agent join; with ``engine`` its Docker tasks are real containers. ``serve`` False: it has no HTTP of its own."""
        sock = listening_socket(ip, port) if serve else None
        port = sock.getsockname()[1] if sock else port or 5051
        now, number = self._clock(), self.mesos.next_agent_id()
        work_dir = f"{self.work_dir}/{hostname}"
        agent = Agent(number, hostname, ip, port, resources, dict(attributes or {}), now, str(self.mesos.version), work_dir, now)
        if engine is not None:
            self._execution.add_engine(agent.id, engine)
        if sock is not None:
            await self._servers.start(agent.pid, AgentRoutes(agent, self.mesos).app(), sock)
        self.mesos.add_agent(agent)
        return agent

    def agent(self, hostname: str) -> Agent:
        """Return the agent, whatever its standing. Raise KeyError."""
        registry = self.mesos.registry
        for standing in (registry.agents, registry.unreachable, registry.recovered):
            for agent in standing.values():
                if agent.hostname == hostname:
                    return agent
        raise KeyError(hostname)

    async def remove_agent(self, hostname: str) -> None:
        """Let an agent unregister: its tasks are lost and its containers removed."""
        agent = self.agent(hostname)
        self.mesos.remove_agent(agent)
        await self._execution.remove_engine(agent.id)
        await self._servers.stop(agent.pid)

    def agent_unreachable(self, hostname: str) -> None:
        """Cut an agent off: its containers go on running, its tasks are TASK_UNREACHABLE."""
        self.mesos.lose_agent(self.agent(hostname))

    def agent_return(self, hostname: str) -> None:
        """Let an unreachable agent return; tasks that Marathon has replaced meanwhile are killed."""
        agent = self.agent(hostname)
        self.mesos.find_agent(agent)
        for task in list(agent.tasks.values()):
            if task.framework_id == self.marathon.framework.id and not self.marathon.owner(task):
                self._execution.stop(task)

    # apps and tasks

    def put_app(self, app_id: str, **definition: Any) -> Deployment:
        """Create or change an app, as PUT /v2/apps does."""
        return self.marathon.put(app_id, definition)

    def scale(self, app_id: str, instances: int) -> Deployment:
        """Set an app's number of instances."""
        return self.marathon.put(app_id, {"instances": instances})

    def tasks(self, app_id: str) -> list[Task]:
        """Return an app's tasks, oldest first."""
        return [task for instance in self.marathon.apps[app_id].running.values() for task in instance.tasks]

    async def running(self, app_id: str, count: int) -> list[Task]:
        """Wait until the app has exactly ``count`` tasks and they run, and return them."""
        await self.until(lambda: [task.state for task in self.tasks(app_id)] == ["TASK_RUNNING"] * count)
        return self.tasks(app_id)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on tasks holds; it is looked at after every change of a task's state."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def hold(self, app_id: str) -> None:
        """Let new tasks of the app stay in TASK_STAGING."""
        self._held.add(app_id)

    def release(self, app_id: str) -> None:
        """Let the app's held tasks, and new ones, start."""
        self._held.discard(app_id)
        for task in self.tasks(app_id):
            if task.state == "TASK_STAGING":
                self._start(task)

    def kill_task(self, task_id: str) -> None:
        """Kill a task, as DELETE /v2/apps/{id}/tasks/{task} does; Marathon replaces it."""
        self.marathon.kill([self.marathon.instance(task_id)])

    def fail_task(self, task_id: str, message: str = "Command exited with status 1") -> None:
        """Let a task without a real container fail by itself."""
        self.mesos.update(self._task(task_id), "TASK_FAILED", message=message)

    def _task(self, task_id: str) -> Task:
        task = self.mesos.task(task_id)
        if task is None:
            raise KeyError(task_id)
        return task

    def _start(self, task: Task) -> None:
        if self.marathon.owner(task) not in self._held:
            self._execution.start(task)
