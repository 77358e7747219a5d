"""Tasks, agents and executors as the v0 documents of master and agent show them, in the shape of each version.

Which field appeared when: Mesos' ``src/common/http.cpp`` and ``src/master/readonly_handler.cpp`` of the tagged releases.
"""

from __future__ import annotations

from typing import Any

import msgspec

from octopus.demo.model import Agent, Executor, Status, Task
from octopus.demo.resources import Resources
from octopus.demo.versions import Version

AGENT_CAPABILITIES = (
    "MULTI_ROLE",
    "HIERARCHICAL_ROLE",
    "RESERVATION_REFINEMENT",
    "RESOURCE_PROVIDER",
    "RESIZE_VOLUME",
    "AGENT_OPERATION_FEEDBACK",
    "AGENT_DRAINING",
    "TASK_RESOURCE_LIMITS",
)


def resources_v0(resources: Resources, version: Version) -> dict[str, Any]:
    """Return a resources object; gpus are there since 1.0."""
    return resources.v0(gpus=version.since(1, 0))


def _network_infos(task: Task, version: Version) -> list[dict[str, Any]]:
    if version.since(1, 4):
        return [{"ip_addresses": [{"protocol": "IPv4", "ip_address": task.ip}]}]
    if version.since(1, 0):
        return [{"ip_addresses": [{"ip_address": task.ip}]}]
    if version.since(0, 26):
        return [{"ip_address": task.ip, "ip_addresses": [{"ip_address": task.ip}]}]
    return [{"ip_address": task.ip}]


def container_status(task: Task, status: Status, version: Version) -> dict[str, Any]:
    """Return a status' ``container_status``, {} where there is none: before 0.25, and when no executor sent the status."""
    if status.from_master or not version.since(0, 25):
        return {}
    shown: dict[str, Any] = {}
    if version.since(1, 2):
        shown["container_id"] = {"value": task.container_id}
        if task.executor:
            shown["container_id"]["parent"] = {"value": task.executor.container_id}
    if not (task.executor and task.executor.first_task == task.id and status.state == "TASK_STARTING"):
        shown["network_infos"] = _network_infos(task, version)
    return shown


def _status_v0(task: Task, status: Status, version: Version) -> dict[str, Any]:
    shown: dict[str, Any] = {"state": status.state, "timestamp": status.timestamp}
    if container := container_status(task, status, version):
        shown["container_status"] = container
    return shown


def labels_list(labels: dict[str, str]) -> list[dict[str, str]]:
    """Return labels as the list of key and value they are on the wire."""
    return [{"key": key, "value": value} for key, value in labels.items()]


def discovery_of(task: Task) -> dict[str, Any]:
    """Return a task's DiscoveryInfo; ports have names since Marathon gives them one."""
    named = {"name": task.port_name} if task.port_name else {}
    ports = [{"number": port, **named, "protocol": "tcp"} for port in task.ports]
    return {"visibility": "FRAMEWORK", "name": task.name, "ports": {"ports": ports} if ports else {}}


def task_v0(task: Task, version: Version) -> dict[str, Any]:
    """Return a task as the master and the agent show it."""
    shown: dict[str, Any] = {
        "id": task.id,
        "name": task.name,
        "framework_id": task.framework_id,
        "executor_id": task.executor.id if task.executor else "",
        "slave_id": task.agent_id,
        "state": task.state,
        "resources": resources_v0(task.resources, version),
    }
    if version.since(1, 4):
        shown["role"] = task.role
    shown["statuses"] = [_status_v0(task, status, version) for status in task.statuses]
    if task.labels or not version.since(0, 26):
        shown["labels"] = labels_list(task.labels)
    if task.discovery and version.since(0, 23):
        shown["discovery"] = discovery_of(task)
    if task.container is not None and version.since(0, 27):
        shown["container"] = task.container
    return shown


def task_raw(task: Task, version: Version) -> msgspec.Raw:
    """Return the task's JSON, made once for each change of it: a state of 100,000 tasks is mostly this."""
    if task.encoded is None:
        task.encoded = msgspec.json.encode(task_v0(task, version))
    return msgspec.Raw(task.encoded)


def agent_info_v0(agent: Agent, version: Version) -> dict[str, Any]:
    """Return what an agent says of itself; all there is of a recovered one."""
    shown: dict[str, Any] = {"id": agent.id, "hostname": agent.hostname}
    if version.since(1, 2):
        shown["port"] = agent.port
    return {**shown, "attributes": agent.attributes}


def agent_v0(agent: Agent, version: Version) -> dict[str, Any]:
    """Return an entry of ``slaves``."""
    shown = {**agent_info_v0(agent, version), "pid": agent.pid, "registered_time": agent.registered_time}
    if agent.reregistered_time is not None:
        shown["reregistered_time"] = agent.reregistered_time
    shown["resources"] = resources_v0(agent.resources, version)
    if version.since(0, 23):
        shown["used_resources"] = resources_v0(agent.used(), version)
        shown["offered_resources"] = resources_v0(Resources(), version)
        shown["reserved_resources"] = {}
        shown["unreserved_resources"] = resources_v0(agent.resources, version)
    shown["active"] = True
    if version.since(1, 9):
        shown["deactivated"] = False
    if version.since(0, 26):
        shown["version"] = agent.version
    if version.since(1, 4):
        shown["capabilities"] = list(AGENT_CAPABILITIES) if version.since(1, 9) else ["MULTI_ROLE"]
    return shown


def executor_v0(executor: Executor, version: Version) -> dict[str, Any]:
    """Return a pod's executor as the master shows it."""
    shown: dict[str, Any] = {
        "executor_id": executor.id,
        "name": "",
        "framework_id": executor.framework_id,
        "command": {"argv": [], "uris": []},
        "resources": resources_v0(executor.resources, version),
    }
    if version.since(1, 4):
        shown["role"] = "*"
    if version.since(1, 2):
        shown["type"] = "DEFAULT"
    return {**shown, "slave_id": executor.agent_id}
