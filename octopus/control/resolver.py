"""From a name as typed to the one container to enter, for one person: what they may not see does not exist."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import structlog

from octopus.control.plane import Candidate
from octopus.core.cluster import Cluster
from octopus.core.errors import AccessDenied, AmbiguousTarget, ContainerUnavailable, NoSuchTarget, OrchestratorUnavailable
from octopus.core.find import find, host, suggestions
from octopus.core.inventory import Agent, Task
from octopus.core.joining import possible_apps
from octopus.core.names import normalised
from octopus.core.types import ContainerClue, EngineAddress, Target, TargetName

MaySee = Callable[[str, Mapping[str, str]], bool]
"""Whether the person may learn of an app: its id and labels."""

LookUp = Callable[[str], Awaitable[bool]]
"""Looks for one task that is too new to be known; True when it is known now. Limits itself and never raises."""

AgentContainer = Callable[[Agent, str, str], Awaitable[str]]
"""Asks an agent for the container of a framework's executor. Raises ContainerUnavailable."""

LOOK_AGAIN = 0.25
"""Seconds between two looks for a replacement."""

_log = structlog.get_logger(__name__)


class ClusterResolver:
    """Resolves names in a Cluster. ``engine_address`` gives an agent's engine for its host name and ip.

    ``look_ups`` are tried in turn when nothing fits that the person may see: first the one that finds tasks, then the one that confirms
    their apps. ``patience`` is how many seconds a person whose container ended waits to be told what replaces it. ``first_reading``
    returns once every source has been asked: what is asked before, over a connection that outlived a restart, waits for it.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        engine_address: Callable[[str, str], EngineAddress],
        look_ups: Sequence[LookUp] = (),
        agent_container_id: AgentContainer | None = None,
        patience: float = 3.0,
        first_reading: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._cluster = cluster
        self._first_reading = first_reading
        self._engine_address = engine_address
        self._look_ups = tuple(look_ups)
        self._agent_container_id = agent_container_id
        self._patience = patience

    async def resolve(self, name: TargetName, may_see: MaySee) -> Target:
        """Return the one running container that ``name`` means.

        Raise NoSuchTarget, AmbiguousTarget, AccessDenied (nothing the person may see is near, nor could be), OrchestratorUnavailable
        (nothing has been read yet), ContainerUnavailable (the task's agent or container is not known).
        """
        await self._read()
        if not self._cluster.ready:
            raise OrchestratorUnavailable
        task = await self._find(name, may_see)
        return await self._target(task)

    async def candidates(self, text: str, may_see: MaySee, limit: int = 1000) -> tuple[Candidate, ...]:
        """Return the running tasks the person may see whose app or id contains ``text`` ("" for all), by app, then start time."""
        await self._read()
        sight = _Sight(self._cluster, may_see)
        wanted, spelled = text.casefold(), normalised(text.casefold())
        found: list[Candidate] = []
        for app in self._cluster.tasks.apps():
            whole = not text or wanted in app.casefold() or spelled in normalised(app.casefold())
            for task in self._cluster.tasks.of_app(app):
                if (whole or wanted in task.id.casefold()) and sight(task):
                    found.append(Candidate(app=app, task=task.id, agent=host(self._cluster, task), started=task.started))
                if len(found) >= limit:
                    return tuple(found)
        return tuple(found)

    async def _read(self) -> None:
        if not self._cluster.ready and self._first_reading:
            await self._first_reading()

    async def replacement(self, target: Target) -> str:
        """Return the id of a task of the same app that started after ``target`` was resolved, "" when none does so soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                # The Cluster is pure and has nothing to wait on.
                while not ((newest := self._newest(target.app)) and newest.started > target.newest):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_AGAIN)
                return newest.id
        return ""

    def _newest(self, app: str) -> Task | None:
        confirmed = [task for task in self._cluster.tasks.of_app(app) if task.confirmed]
        return max(confirmed, key=lambda task: task.started, default=None)

    async def _find(self, name: TargetName, may_see: MaySee) -> Task:
        """Find it in memory; look it up only for somebody whose rights cover such a name.

        For anybody else a look-up would take its time for names that do not exist, and none for those that do.
        """
        sight = _Sight(self._cluster, may_see)
        try:
            return find(self._cluster, name, sight)
        except NoSuchTarget as error:
            if not any(may_see(app, {}) for app in possible_apps(name.body)):
                if suggestions(self._cluster, name.body, sight) or _fits(self._cluster, name, sight):
                    raise
                raise AccessDenied(f"nothing that may be seen is near {name.text!r}") from error
        for look_up in self._look_ups:
            await look_up(name.body)
        return find(self._cluster, name, _Sight(self._cluster, may_see))

    async def _target(self, task: Task) -> Target:
        agent = self._cluster.agent(task)
        if agent is None:
            raise ContainerUnavailable(f"task {task.id}: agent {task.agent} is not known", notice="the task's agent is not known yet")
        return Target(
            app=task.app,
            task=task.id,
            agent=agent.hostname,
            engine=self._engine_address(agent.hostname, agent.ip),
            clue=await self._clue(task, agent),
            labels=dict(self._cluster.labels(task)),
            newest=newest.started if (newest := self._newest(task.app)) else 0.0,
            ports=task.ports,
            agent_ip=agent.ip,
            agent_port=agent.port,
        )

    async def _clue(self, task: Task, agent: Agent) -> ContainerClue:
        """Return the clue, with the container's id from the agent where the master does not say it (before Mesos 1.2).

        Where the agent does not say it either the engine still finds the container, by the sandbox the agent mounted in it.
        """
        if task.container or task.engine or self._agent_container_id is None:
            return task.clue
        # A command task's executor is called like the task on the agent, and nothing in the master's answers.
        executor = task.executor or task.id
        try:
            container = await self._agent_container_id(agent, task.framework, executor)
        except ContainerUnavailable as error:
            _log.warning("an agent does not name a container", agent=agent.hostname, task=task.id, error=str(error))
            return task.clue
        return msgspec.structs.replace(task.clue, container_id=container)


class _Sight:
    """What one person may see, asked once for each app and its labels. A task whose app is not confirmed is seen by nobody."""

    def __init__(self, cluster: Cluster, may_see: MaySee) -> None:
        self._cluster = cluster
        self._may_see = may_see
        self._known: dict[str, tuple[Mapping[str, str], bool]] = {}

    def __call__(self, task: Task) -> bool:
        if not task.confirmed:
            return False
        labels = self._cluster.labels(task)
        known = self._known.get(task.app)
        if known is not None and known[0] is labels:
            return known[1]
        verdict = self._may_see(task.app, labels)
        self._known[task.app] = (labels, verdict)
        return verdict


def _fits(cluster: Cluster, name: TargetName, sight: _Sight) -> bool:
    """Whether the body alone names something the person may see: then it was the suffix (``~9``, ``@agent``) that fits nothing."""
    try:
        find(cluster, TargetName(text=name.body, body=name.body, any=True), sight)
    except NoSuchTarget:
        return False
    except AmbiguousTarget:
        return True
    return True
