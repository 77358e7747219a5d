"""The messages of the operator API v1: states, events and their framing (Mesos ``docs/operator-http-api.md``, ``recordio.md``)."""

from __future__ import annotations

import base64
import ipaddress
from typing import TYPE_CHECKING, Any

import msgspec

from octopus.demo import master_v0, parts_v0
from octopus.demo.model import Agent, Executor, Framework, Status, Task
from octopus.demo.versions import Version

if TYPE_CHECKING:
    from octopus.demo.mesos import Master, Mesos

EVENT_SINCE: dict[str, tuple[int, int]] = {
    "TASK_ADDED": (1, 0),
    "TASK_UPDATED": (1, 0),
    "AGENT_ADDED": (1, 1),
    "AGENT_REMOVED": (1, 1),
    "FRAMEWORK_ADDED": (1, 4),
    "HEARTBEAT": (1, 5),
}


def record(body: bytes) -> bytes:
    """Return ``body`` framed as RecordIO: its length in decimal, a newline, the bytes."""
    return b"%d\n%b" % (len(body), body)


def nanoseconds(seconds: float) -> dict[str, int]:
    """Return a TimeInfo."""
    return {"nanoseconds": int(seconds * 1_000_000_000)}


def _attribute(name: str, value: str | float) -> dict[str, Any]:
    if isinstance(value, str):
        return {"name": name, "type": "TEXT", "text": {"value": value}}
    return {"name": name, "type": "SCALAR", "scalar": {"value": float(value)}}


def agent_info_v1(agent: Agent, *, checkpoint: bool = False) -> dict[str, Any]:
    """Return an AgentInfo; events leave ``checkpoint`` out, GET_AGENTS says it."""
    info: dict[str, Any] = {"hostname": agent.hostname, "port": agent.port, "resources": agent.resources.v1()}
    if agent.attributes:
        info["attributes"] = [_attribute(name, value) for name, value in agent.attributes.items()]
    info["id"] = {"value": agent.id}
    return {**info, "checkpoint": True} if checkpoint else info


def agent_v1(agent: Agent, *, checkpoint: bool = False) -> dict[str, Any]:
    """Return an agent as GET_AGENTS and AGENT_ADDED show it."""
    shown: dict[str, Any] = {"agent_info": agent_info_v1(agent, checkpoint=checkpoint), "active": True, "deactivated": False}
    shown |= {"version": agent.version, "pid": agent.pid, "registered_time": nanoseconds(agent.registered_time)}
    if agent.reregistered_time is not None:
        shown["reregistered_time"] = nanoseconds(agent.reregistered_time)
    shown["total_resources"] = agent.resources.v1(role="*")
    if used := agent.used().v1(role="*", allocation_info={"role": "*"}):
        shown["allocated_resources"] = used
    return {**shown, "capabilities": [{"type": name} for name in parts_v0.AGENT_CAPABILITIES]}


def _framework_info(framework: Framework) -> dict[str, Any]:
    info: dict[str, Any] = {"user": framework.user, "name": framework.name, "id": {"value": framework.id}}
    info |= {"failover_timeout": 604800.0, "checkpoint": True}
    info |= {"roles": [framework.role]} if "MULTI_ROLE" in framework.capabilities else {"role": framework.role}
    info |= {"hostname": framework.hostname, "webui_url": framework.webui_url}
    return {**info, "capabilities": [{"type": name} for name in framework.capabilities]}


def _framework_common(framework: Framework) -> dict[str, Any]:
    reregistered = framework.reregistered_time or framework.registered_time
    shown = {"framework_info": _framework_info(framework), "active": True, "connected": True, "recovered": False}
    return {**shown, "registered_time": nanoseconds(framework.registered_time), "reregistered_time": nanoseconds(reregistered)}


def framework_added_v1(framework: Framework) -> dict[str, Any]:
    """Return the framework of FRAMEWORK_ADDED."""
    return {**_framework_common(framework), "unregistered_time": {"nanoseconds": 0}}


def _framework_v1(framework: Framework, mesos: Mesos) -> dict[str, Any]:
    shown = _framework_common(framework)
    if used := mesos.used_by(framework).v1(role="*", allocation_info={"role": "*"}):
        shown["allocated_resources"] = used
    return {**shown, "offer_constraints": {}} if mesos.version.since(1, 11) else shown


def _inspected(task: Task) -> str:
    """Return what a Docker task's RUNNING status carries: base64 of ``docker inspect``, environment and all."""
    env = [f"{name}={value}" for name, value in task.env.items()]
    inspected = [{"Name": f"/mesos-{task.container_id}", "Config": {"Image": task.image, "Env": env}, "State": {"Status": "running"}}]
    return base64.b64encode(msgspec.json.encode(inspected)).decode("ascii")


def status_v1(task: Task, status: Status, version: Version, *, data: bool = False) -> dict[str, Any]:
    """Return a TaskStatus; only the stream carries ``data``, the snapshots do not."""
    shown: dict[str, Any] = {"task_id": {"value": task.id}, "state": status.state}
    if status.message:
        shown["message"] = status.message
    shown["source"] = "SOURCE_MASTER" if status.from_master else "SOURCE_EXECUTOR"
    if status.reason:
        shown["reason"] = status.reason
    if data and task.docker and status.state == "TASK_RUNNING":
        shown["data"] = _inspected(task)
    shown["agent_id"] = {"value": task.agent_id}
    if not status.from_master:
        shown["executor_id"] = {"value": task.executor_id}
    shown["timestamp"] = status.timestamp
    if status.state == "TASK_UNREACHABLE":
        shown["unreachable_time"] = nanoseconds(status.timestamp)
    if status.uuid:
        shown["uuid"] = _uuid_bytes(status.uuid)
    if container := parts_v0.container_status(task, status, version):
        if not task.docker and "network_infos" in container:
            container["executor_pid"] = 1000 + len(task.id)
        shown["container_status"] = container
    return shown


def _uuid_bytes(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text.replace("-", ""))).decode("ascii")


def task_v1(task: Task, version: Version) -> dict[str, Any]:
    """Return a Task message."""
    shown: dict[str, Any] = {"name": task.name, "task_id": {"value": task.id}, "framework_id": {"value": task.framework_id}}
    if task.executor:
        shown["executor_id"] = {"value": task.executor.id}
    shown |= {"agent_id": {"value": task.agent_id}, "state": task.state}
    shown["resources"] = task.resources.v1(allocation_info={"role": task.role})
    if task.statuses:
        shown["statuses"] = [status_v1(task, status, version, data=task.readded) for status in task.statuses]
    acknowledged = [status for status in task.statuses if status.uuid]
    if acknowledged and not task.readded:
        shown |= {"status_update_state": acknowledged[-1].state, "status_update_uuid": _uuid_bytes(acknowledged[-1].uuid)}
    if task.labels:
        shown["labels"] = {"labels": parts_v0.labels_list(task.labels)}
    if task.discovery:
        shown["discovery"] = parts_v0.discovery_of(task)
    if task.container is not None:
        shown["container"] = task.container
    return shown


def task_updated_v1(task: Task, status: Status, version: Version) -> dict[str, Any]:
    """Return the body of TASK_UPDATED."""
    return {"framework_id": {"value": task.framework_id}, "status": status_v1(task, status, version, data=True), "state": task.state}


def _executor_v1(executor: Executor) -> dict[str, Any]:
    info: dict[str, Any] = {"type": "DEFAULT", "executor_id": {"value": executor.id}, "framework_id": {"value": executor.framework_id}}
    info["resources"] = executor.resources.v1(allocation_info={"role": "*"})
    return {"executor_info": info, "agent_id": {"value": executor.agent_id}}


def _task_raw(task: Task, version: Version) -> msgspec.Raw:
    """Return a task's JSON: of 100,000 tasks the text takes a fifth of the memory of the objects."""
    return msgspec.Raw(msgspec.json.encode(task_v1(task, version)))


def get_tasks(mesos: Mesos) -> dict[str, Any]:
    """Return the body of GET_TASKS."""
    version, registry = mesos.version, mesos.registry
    parts: dict[str, Any] = {"tasks": [], "unreachable_tasks": [], "completed_tasks": []}
    for framework in registry.frameworks.values():
        parts["tasks"] += [_task_raw(task, version) for task in registry.visible_tasks(framework)]
        parts["unreachable_tasks"] += [_task_raw(task, version) for task in framework.unreachable.values()]
        parts["completed_tasks"] += [_task_raw(task, version) for task in framework.completed]
    return parts


def get_agents(mesos: Mesos) -> dict[str, Any]:
    """Return the body of GET_AGENTS."""
    agents = [agent_v1(agent, checkpoint=True) for agent in mesos.registry.agents.values()]
    recovered = [agent_info_v1(agent, checkpoint=True) for agent in mesos.registry.recovered.values()]
    return {"agents": agents, "recovered_agents": recovered}


def get_frameworks(mesos: Mesos) -> dict[str, Any]:
    """Return the body of GET_FRAMEWORKS."""
    return {"frameworks": [_framework_v1(each, mesos) for each in mesos.registry.frameworks.values()], "completed_frameworks": []}


def get_executors(mesos: Mesos) -> dict[str, Any]:
    """Return the body of GET_EXECUTORS."""
    frameworks = mesos.registry.frameworks.values()
    return {"executors": [_executor_v1(each) for framework in frameworks for each in mesos.registry.visible_executors(framework)]}


def get_state(mesos: Mesos) -> dict[str, Any]:
    """Return the body of GET_STATE, also the first thing a subscriber receives."""
    return {
        "get_tasks": get_tasks(mesos),
        "get_executors": get_executors(mesos),
        "get_frameworks": get_frameworks(mesos),
        "get_agents": get_agents(mesos),
    }


def get_master(master: Master, mesos: Mesos) -> dict[str, Any]:
    """Return the body of GET_MASTER; ``ip`` is the address in network order, read as a little-endian number."""
    ip = int.from_bytes(ipaddress.IPv4Address(master.host).packed, "little")
    info: dict[str, Any] = {"id": master.id, "ip": ip, "port": master.port, "pid": master.pid, "hostname": master.hostname}
    info |= {"version": str(mesos.version), "address": {"hostname": master.hostname, "ip": master.host, "port": master.port}}
    if mesos.version.since(1, 9):
        info["capabilities"] = [{"type": name} for name in master_v0.MASTER_CAPABILITIES]
    return {"master_info": info, "start_time": master.start_time, "elected_time": master.elected_time}


def subscribed(mesos: Mesos) -> bytes:
    """Return the first record of a stream."""
    body: dict[str, Any] = {"get_state": get_state(mesos)}
    if mesos.version.since(1, 5):
        body["heartbeat_interval_seconds"] = mesos.heartbeat
    return record(msgspec.json.encode({"type": "SUBSCRIBED", "subscribed": body}))


HEARTBEAT = record(b'{"type":"HEARTBEAT"}')
