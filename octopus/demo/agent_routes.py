"""An agent's HTTP: its state, which names every container and sandbox, and its containers."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from octopus.demo import master_v0, parts_v0
from octopus.demo.answers import has_credentials, json_answer, not_found, unauthorized, wrong_method
from octopus.demo.mesos import Mesos
from octopus.demo.model import Agent, Framework, Task
from octopus.demo.parts_v0 import resources_v0
from octopus.demo.resources import Resources

COMMAND_EXECUTOR = Resources(cpus=0.1, mem=32.0)
"""What the agent adds to a command task for its executor, and the master does not account."""


class AgentRoutes:
    """The endpoints of one agent."""

    def __init__(self, agent: Agent, mesos: Mesos) -> None:
        self._agent = agent
        self._mesos = mesos

    def app(self) -> Starlette:
        """Return the application, with the paths that this version knows."""
        version, names = self._mesos.version, []
        if not version.since(1, 8):
            names.append("state.json")
        if version.since(0, 25):
            names.append("state")
        routes = [Route(prefix + name, self._state) for prefix in ("/", "/slave(1)/") for name in names]
        routes += [Route("/health", self._health), Route("/slave(1)/health", self._health), Route("/version", self._version)]
        if version.since(1, 0):
            routes += [Route("/containers", self._containers), Route("/slave(1)/containers", self._containers)]
        return Starlette(routes=routes, exception_handlers={404: not_found, 405: wrong_method})

    async def _health(self, _: Request) -> Response:
        return Response(status_code=200)

    async def _version(self, request: Request) -> Response:
        return await json_answer(request, master_v0.version_v0(self._mesos.version))

    async def _state(self, request: Request) -> Response:
        if not has_credentials(request, self._mesos.credentials):
            return unauthorized("mesos-agent-readonly")
        return await json_answer(request, agent_state_v0(self._agent, self._mesos))

    async def _containers(self, request: Request) -> Response:
        if not has_credentials(request, self._mesos.credentials):
            return unauthorized("mesos-agent-readonly")
        return await json_answer(request, self._running_containers())

    def _running_containers(self) -> list[dict[str, Any]]:
        """Return one container for each executor: a command's own, or a pod's around those of its tasks."""
        first_of_run = {task.executor_id: task for task in reversed(self._agent.tasks.values())}
        return [_container_v0(task, self._mesos.clock()) for task in first_of_run.values()]


def agent_state_v0(agent: Agent, mesos: Mesos) -> dict[str, Any]:
    """Return an agent's ``/state``."""
    version = mesos.version
    shown: dict[str, Any] = {**master_v0.version_v0(version), "start_time": agent.start_time, "id": agent.id, "pid": agent.pid}
    shown["hostname"] = agent.hostname
    if version.since(1, 9):
        shown["capabilities"] = list(parts_v0.AGENT_CAPABILITIES)
    shown["resources"] = resources_v0(agent.resources, version)
    if version.since(1, 0):
        shown |= {"reserved_resources": {}, "unreserved_resources": resources_v0(agent.resources, version)}
    if version.since(1, 4):
        shown |= _allocated(agent, mesos)
    shown["attributes"] = agent.attributes
    if mesos.leader is not None:
        shown["master_hostname"] = mesos.leader.hostname
    if not version.since(1, 2):
        shown["log_dir"] = "/var/log/mesos"
    if not version.since(0, 25):
        shown |= dict.fromkeys(("staged_tasks", "started_tasks", "finished_tasks", "killed_tasks", "failed_tasks", "lost_tasks"), 0)
    here = {task.framework_id for task in (*agent.tasks.values(), *agent.completed)}
    frameworks = [mesos.registry.frameworks[each] for each in sorted(here)]
    shown["frameworks"] = [_framework_v0(framework, agent, mesos) for framework in frameworks]
    return {**shown, "completed_frameworks": [], "flags": {"work_dir": agent.work_dir, "hostname": agent.hostname, "port": str(agent.port)}}


def _allocated(agent: Agent, mesos: Mesos) -> dict[str, Any]:
    parts = [_with_executor(task) for task in agent.tasks.values()] + [executor.resources for executor in agent.executors()]
    return {
        "reserved_resources_full": {},
        "unreserved_resources_full": agent.resources.v1(role="*"),
        "reserved_resources_allocated": {},
        "unreserved_resources_allocated": resources_v0(Resources.total(parts), mesos.version),
        "resource_providers": [],
    }


def _with_executor(task: Task) -> Resources:
    return task.resources if task.executor else Resources.total([task.resources, COMMAND_EXECUTOR])


def _framework_v0(framework: Framework, agent: Agent, mesos: Mesos) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": framework.id, "name": framework.name, "user": framework.user, "failover_timeout": 604800.0}
    shown |= {"checkpoint": True, "hostname": framework.hostname}
    shown |= {"roles": [framework.role]} if "MULTI_ROLE" in framework.capabilities else {"role": framework.role}
    runs: dict[str, list[Task]] = {}
    for task in agent.tasks.values():
        if task.framework_id == framework.id:
            runs.setdefault(task.executor_id, []).append(task)
    shown["executors"] = [_executor_v0(agent, tasks, mesos) for tasks in runs.values()]
    finished = [task for task in agent.completed if task.framework_id == framework.id and task.executor_id not in runs]
    shown["completed_executors"] = [_executor_v0(agent, [task], mesos) for task in finished]
    return shown


def _executor_v0(agent: Agent, tasks: list[Task], mesos: Mesos) -> dict[str, Any]:
    """Return one executor with the tasks of its run: a command's own, or all of a pod's."""
    first, version = tasks[0], mesos.version
    live = [task for task in tasks if task.live]
    if first.executor:
        resources = Resources.total([first.executor.resources, *(task.resources for task in live)])
    else:
        resources = _with_executor(first) if live else COMMAND_EXECUTOR
    shown: dict[str, Any] = {"id": first.executor_id, "name": "" if first.executor else executor_name(first)}
    shown |= {"source": "" if first.executor else first.id, "container": agent.sandbox(first).rpartition("/")[2]}
    shown |= {"directory": agent.sandbox(first), "resources": resources_v0(resources, version)}
    if version.since(1, 4):
        shown["role"] = first.role
    if version.since(1, 2) and first.executor:
        shown["type"] = "DEFAULT"
    if first.labels and version.since(1, 0):
        shown["labels"] = parts_v0.labels_list(first.labels)
    queued = [task for task in live if task.state == "TASK_STAGING"]
    shown["tasks"] = [parts_v0.task_v0(task, version) for task in live if task not in queued]
    shown["queued_tasks"] = [parts_v0.task_v0(task, version) for task in queued]
    shown["completed_tasks"] = [parts_v0.task_v0(task, version) for task in tasks if not task.live]
    return shown


def executor_name(task: Task) -> str:
    """Return the name of a command's executor: the command cut to 15 characters."""
    command = task.command if len(task.command) <= 15 else task.command[:12] + "..."
    return f"Command Executor (Task: {task.id}) (Command: sh -c '{command}')"


def _container_v0(task: Task, now: float) -> dict[str, Any]:
    statistics: dict[str, Any] = {"cpus_soft_limit": task.resources.cpus, "cpus_system_time_secs": 0.01, "cpus_user_time_secs": 0.02}
    statistics |= {"mem_limit_bytes": int(task.resources.mem) << 20, "mem_rss_bytes": 49152, "timestamp": now}
    status: dict[str, Any] = {"container_id": {"value": task.executor.container_id if task.executor else task.container_id}}
    if not task.docker:
        statistics["mem_soft_limit_bytes"] = statistics["mem_limit_bytes"]
        status["executor_pid"] = 1000 + len(task.id)
    return {
        "container_id": status["container_id"]["value"],
        "executor_id": task.executor_id,
        "executor_name": "" if task.executor else executor_name(task),
        "framework_id": task.framework_id,
        "source": "" if task.executor else task.id,
        "statistics": statistics,
        "status": status,
    }
