"""The v0 documents of a master (``/state`` and its relatives) in the shape of each version.

Which field appeared when: Mesos' ``src/master/http.cpp`` and ``readonly_handler.cpp`` of the tagged releases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from octopus.demo.model import Agent, Framework
from octopus.demo.parts_v0 import agent_info_v0, agent_v0, executor_v0, resources_v0, task_raw
from octopus.demo.resources import Resources
from octopus.demo.versions import Version

if TYPE_CHECKING:
    from octopus.demo.mesos import Master, Mesos

COUNTED_STATES = ("STAGING", "STARTING", "RUNNING", "KILLING", "FINISHED", "KILLED", "FAILED", "LOST", "ERROR", "UNREACHABLE")
GIT_SHA = "0" * 40
BUILD_TIME = 1795334400.0
BUILD_DATE = "2026-11-22 08:00:00 UTC"
MASTER_CAPABILITIES = ("AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2")


def version_v0(version: Version) -> dict[str, Any]:
    """Return ``/version``."""
    built: dict[str, Any] = {"build_date": BUILD_DATE, "build_time": BUILD_TIME, "build_user": "root", "git_sha": GIT_SHA}
    if not version.since(0, 26):
        built["git_tag"] = str(version)
    return {**built, "version": str(version)}


def slaves_v0(master: Master, mesos: Mesos, agent_id: str = "") -> dict[str, Any]:
    """Return ``/slaves``, with the full resources since 0.28; ``agent_id`` narrows it to one."""
    version = mesos.version
    agents = [agent for agent in mesos.seen_by(master).agents.values() if not agent_id or agent.id == agent_id]
    shown: dict[str, Any] = {"slaves": [{**agent_v0(agent, version), **_full_resources(agent, version)} for agent in agents]}
    if version.since(1, 2):
        shown["recovered_slaves"] = [agent_info_v0(agent, version) for agent in mesos.seen_by(master).recovered.values()]
    return shown


def _full_resources(agent: Agent, version: Version) -> dict[str, Any]:
    if not version.since(0, 28):
        return {}
    shown: dict[str, Any] = {"reserved_resources_full": {}}
    if version.since(1, 4):
        shown["unreserved_resources_full"] = agent.resources.v1(role="*")
    allocation: dict[str, Any] = {"allocation_info": {"role": "*"}} if version.since(1, 4) else {}
    return {**shown, "used_resources_full": agent.used().v1(role="*", **allocation), "offered_resources_full": []}


def framework_summary_v0(framework: Framework, mesos: Mesos) -> dict[str, Any]:
    """Return what ``/state`` and ``/state-summary`` both say of a framework."""
    version = mesos.version
    shown: dict[str, Any] = {"id": framework.id, "name": framework.name}
    if version.since(0, 23) and not version.since(1, 9):
        shown["pid"] = f"scheduler-{framework.id}@{framework.hostname}"  # later schedulers here speak HTTP and have none
    shown["used_resources"] = resources_v0(mesos.used_by(framework), version)
    shown["offered_resources"] = resources_v0(Resources(), version)
    if version.since(0, 23):
        shown["capabilities"] = list(framework.capabilities) if version.since(1, 0) else []
    shown |= {"hostname": framework.hostname, "webui_url": framework.webui_url, "active": True}
    if version.since(1, 2):
        shown |= {"connected": True, "recovered": False}
    return shown


def framework_v0(framework: Framework, mesos: Mesos) -> dict[str, Any]:
    """Return an entry of ``frameworks`` with all its tasks."""
    version, registry = mesos.version, mesos.registry
    shown = framework_summary_v0(framework, mesos)
    shown |= {"user": framework.user, "failover_timeout": 604800.0, "checkpoint": True}
    shown |= {"registered_time": framework.registered_time, "unregistered_time": 0.0, "resources": shown["used_resources"]}
    if framework.reregistered_time is not None:
        shown["reregistered_time"] = framework.reregistered_time
    shown |= {"roles": [framework.role]} if "MULTI_ROLE" in framework.capabilities else {"role": framework.role}
    shown["tasks"] = [task_raw(task, version) for task in registry.visible_tasks(framework)]
    if version.since(1, 2):
        shown["unreachable_tasks"] = [task_raw(task, version) for task in framework.unreachable.values()]
    shown["completed_tasks"] = [task_raw(task, version) for task in framework.completed]
    shown["offers"] = []
    if version.since(0, 23):
        shown["executors"] = [executor_v0(executor, version) for executor in registry.visible_executors(framework)]
    if version.since(1, 11):
        shown["offer_constraints"] = {}
    return shown


def _own_v0(master: Master, mesos: Mesos) -> dict[str, Any]:
    version, leader = mesos.version, mesos.leader
    shown = {**version_v0(version), "start_time": master.start_time, "id": master.id, "pid": master.pid, "hostname": master.hostname}
    if master is leader:
        shown["elected_time"] = master.elected_time
    if version.since(1, 9):
        shown["capabilities"] = list(MASTER_CAPABILITIES)
    if leader is not None:
        shown["leader"] = leader.pid
        if version.since(1, 1):
            shown["leader_info"] = {"id": leader.id, "pid": leader.pid, "port": leader.port, "hostname": leader.hostname}
    if not version.since(1, 2):
        shown["log_dir"] = "/var/log/mesos"
    return {**shown, "cluster": mesos.name, "flags": flags_v0(master, mesos)}


def _counters(mesos: Mesos) -> dict[str, int]:
    names = ("staged", "started", "finished", "killed", "failed", "lost")
    return {f"{name}_tasks": mesos.counters.get(name, 0) for name in names}


def state_v0(master: Master, mesos: Mesos) -> dict[str, Any]:
    """Return ``/state``; of a master that does not lead its own empty one, as up to 0.28."""
    version, registry = mesos.version, mesos.seen_by(master)
    shown = _own_v0(master, mesos)
    shown["activated_slaves"] = float(len(registry.agents))
    shown["deactivated_slaves"] = 0.0
    if version.since(1, 2):
        shown["unreachable_slaves"] = float(len(registry.unreachable))
    if not version.since(0, 25):
        shown |= _counters(mesos)
    shown["slaves"] = [agent_v0(agent, version) for agent in registry.agents.values()]
    if version.since(1, 2):
        shown["recovered_slaves"] = [agent_info_v0(agent, version) for agent in mesos.seen_by(master).recovered.values()]
    shown["frameworks"] = [framework_v0(framework, mesos) for framework in registry.frameworks.values()]
    return {**shown, "completed_frameworks": [], "orphan_tasks": [], "unregistered_frameworks": []}


def flags_v0(master: Master, mesos: Mesos) -> dict[str, str]:
    """Return the few flags that mean something here."""
    auth = "true" if mesos.credentials else "false"
    shown = {"cluster": mesos.name, "hostname": master.hostname, "port": str(master.port), "quorum": "1", "zk_session_timeout": "10secs"}
    if mesos.version.since(1, 0):
        shown |= {"authenticate_http_readonly": auth, "authenticate_http_readwrite": auth, "max_completed_tasks_per_framework": "1000"}
    return shown


def summary_v0(master: Master, mesos: Mesos) -> dict[str, Any]:
    """Return ``/state-summary``: no tasks, but how many there are in each state."""
    registry, version = mesos.seen_by(master), mesos.version
    by_agent: dict[str, dict[str, int]] = {}
    by_framework: dict[str, dict[str, int]] = {}
    meets: set[tuple[str, str]] = set()
    for framework in registry.frameworks.values():
        for task in framework.every_task():
            meets.add((task.agent_id, framework.id))
            for counts in (by_agent.setdefault(task.agent_id, {}), by_framework.setdefault(framework.id, {})):
                counts[task.state] = counts.get(task.state, 0) + 1
    slaves = [
        {**agent_v0(agent, version), **_counts(by_agent.get(agent.id, {})), "framework_ids": [f for a, f in meets if a == agent.id]}
        for agent in registry.agents.values()
    ]
    frameworks = [
        {**framework_summary_v0(each, mesos), **_counts(by_framework.get(each.id, {})), "slave_ids": [a for a, f in meets if f == each.id]}
        for each in registry.frameworks.values()
    ]
    return {"hostname": master.hostname, "cluster": mesos.name, "slaves": slaves, "frameworks": frameworks}


def _counts(counts: dict[str, int]) -> dict[str, int]:
    return {f"TASK_{state}": counts.get(f"TASK_{state}", 0) for state in COUNTED_STATES}


def roles_v0(master: Master, mesos: Mesos) -> dict[str, Any]:
    """Return ``/roles``: one role, ``*``; amounts in full since 1.9."""
    version, frameworks = mesos.version, list(mesos.seen_by(master).frameworks.values())
    used = Resources.total(mesos.used_by(framework) for framework in frameworks)
    role: dict[str, Any] = {"name": "*", "weight": 1.0}
    if version.since(1, 9):
        amounts = {name: value for name, value in (("cpus", used.cpus), ("disk", used.disk), ("mem", used.mem)) if value}
        amounts |= {"ports": float(len(list(used.each_port())))} if used.ports else {}
        role["quota"] = {"role": "*", "guarantee": {}, "limit": {}, "consumed": amounts}
        role |= {"resources": amounts, "allocated": amounts, "offered": {}, "reserved": {}}
    else:
        role["resources"] = resources_v0(used, version)
    return {"roles": [{**role, "frameworks": [framework.id for framework in frameworks]}]}


def metrics_v0(master: Master, mesos: Mesos) -> dict[str, float]:
    """Return the metrics that clients of a master look at first."""
    registry, leads = mesos.registry, master is mesos.leader
    total = Resources.total(agent.resources for agent in registry.agents.values()) if leads else Resources()
    used = Resources.total(mesos.used_by(framework) for framework in registry.frameworks.values()) if leads else Resources()
    agents = float(len(registry.agents)) if leads else 0.0
    shown = {
        "master/elected": float(leads),
        "master/slaves_active": agents,
        "master/slaves_connected": agents,
        "master/slaves_inactive": 0.0,
    }
    for name in ("cpus", "mem", "disk"):
        all_of_it, taken = getattr(total, name), getattr(used, name)
        shown |= {f"master/{name}_total": all_of_it, f"master/{name}_used": taken}
        shown[f"master/{name}_percent"] = taken / all_of_it if all_of_it else 0.0
    running = [task for framework in registry.frameworks.values() for task in registry.visible_tasks(framework)]
    return {**shown, "master/tasks_running": float(sum(task.state == "TASK_RUNNING" for task in running))}
