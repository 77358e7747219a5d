"""Marathon's documents in the shape of each version: apps, tasks, deployments, queue, pods, groups, info."""

from __future__ import annotations

from typing import Any

from octopus.demo import app_model, placing
from octopus.demo.app_model import App, Deployment, Instance, stamp
from octopus.demo.marathon import Marathon
from octopus.demo.marathon_events import plan_of
from octopus.demo.model import Task
from octopus.demo.versions import Version

KEY_SINCE: dict[str, tuple[int, int]] = {
    "acceptedResourceRoles": (0, 9),
    "readinessChecks": (1, 0),
    "ipAddress": (1, 0),
    "residency": (1, 0),
    "fetch": (1, 0),
    "gpus": (1, 3),
    "secrets": (1, 4),
    "taskKillGracePeriodSeconds": (1, 4),
}
LEGACY = frozenset({"uris", "storeUrls", "ipAddress", "residency", "ports"})
"""Keys that 1.5 left behind; from then on what is empty is left out too."""

KEPT_WHEN_EMPTY = frozenset({"executor", "disk", "gpus", "requirePorts", "instances"})
FUNNEL = (
    "UnfulfilledRole",
    "UnfulfilledConstraint",
    "NoCorrespondingReservationFound",
    "AgentMaintenance",
    "InsufficientCpus",
    "InsufficientMemory",
    "InsufficientDisk",
    "InsufficientGpus",
    "InsufficientPorts",
    "DeclinedScarceResources",
)
"""Why offers are declined, in the order in which Marathon looks (``mesos/NoOfferMatchReason.scala``)."""


def definition_of(app: App, version: Version) -> dict[str, Any]:
    """Return an app's definition with the keys and the empty values that the version shows."""
    shown: dict[str, Any] = {"id": app.id}
    for key, value in app.definition.items():
        if not version.since(*KEY_SINCE.get(key, (0, 0))):
            continue
        if version.since(1, 5) and (key in LEGACY or (not value and key not in KEPT_WHEN_EMPTY)):
            continue
        shown[key] = value
    shown["instances"] = app.instances
    if version.since(1, 5):
        shown.setdefault("networks", [{"mode": "host"}])
    else:
        shown.setdefault("ports", [0] if not app_model.mappings_of(app.definition) else [])
    if version.since(1, 4):
        shown.setdefault("killSelection", "YOUNGEST_FIRST")
        shown.setdefault("unreachableStrategy", _unreachable_strategy(version))
    if version.since(1, 9):
        shown["role"] = "*"
    shown["version"] = app.version
    if version.since(0, 10):
        shown["versionInfo"] = {"lastScalingAt": app.last_scaling_at, "lastConfigChangeAt": app.last_config_change_at}
    return shown


def _unreachable_strategy(version: Version) -> dict[str, int]:
    seconds = (0, 0) if version.since(1, 6) else (300, 600)
    return {"inactiveAfterSeconds": seconds[0], "expungeAfterSeconds": seconds[1]}


def app_of(app: App, marathon: Marathon, embed: frozenset[str]) -> dict[str, Any]:
    """Return an app with its counts and what ``embed`` asks for (``tasks``, ``lastTaskFailure``, …)."""
    shown = definition_of(app, marathon.version)
    tasks = [task for each in app.running.values() for task in each.tasks]
    shown["tasksStaged"] = sum(task.state in ("TASK_STAGING", "TASK_STARTING") for task in tasks)
    shown["tasksRunning"] = sum(task.state == "TASK_RUNNING" for task in tasks)
    shown |= {"tasksHealthy": shown["tasksRunning"] if app.definition["healthChecks"] else 0, "tasksUnhealthy": 0}
    shown["deployments"] = [{"id": each} for each in marathon.locks(app.id)]
    if "tasks" in embed:
        shown["tasks"] = tasks_of(app, marathon)
    if "lastTaskFailure" in embed and app.last_failure:
        late = () if marathon.version.since(0, 11) else ("slaveId",)
        shown["lastTaskFailure"] = {key: value for key, value in app.last_failure.items() if key not in late}
    return shown


def tasks_of(app: App, marathon: Marathon, *, service_ports: bool = False) -> list[dict[str, Any]]:
    """Return an app's tasks; ``/v2/tasks`` shows their service ports too."""
    return [_task(task, each, app, marathon, service_ports) for each in app.running.values() for task in each.tasks]


def _task(task: Task, instance: Instance, app: App, marathon: Marathon, service_ports: bool) -> dict[str, Any]:
    version = marathon.version
    shown: dict[str, Any] = {"id": task.id, "appId": app.id, "host": instance.hostname, "ports": list(task.ports)}
    shown["startedAt"] = stamp(instance.started_at) if instance.started_at is not None else None
    shown |= {"stagedAt": stamp(instance.staged_at), "version": instance.version}
    if version.since(1, 5) and shown["startedAt"] is None:
        del shown["startedAt"]
    if version.since(0, 11):
        shown["slaveId"] = task.agent_id
    if version.since(1, 0):
        shown["ipAddresses"] = [{"ipAddress": task.ip, "protocol": "IPv4"}] if task.statuses else []
    if version.since(1, 3):
        shown["state"] = task.state
    if version.since(1, 9):
        shown["role"] = task.role
    if app.definition["healthChecks"] and instance.started_at is not None:
        shown["healthCheckResults"] = [_healthy(task, instance, marathon)]
    if service_ports:
        mapped = [each.get("servicePort", 0) for each in app_model.mappings_of(app.definition)]
        shown["servicePorts"] = mapped or app.definition.get("ports", [])
    return shown


def _healthy(task: Task, instance: Instance, marathon: Marathon) -> dict[str, Any]:
    """Return the result of a health check: whatever runs here is healthy."""
    started = stamp(instance.started_at or 0.0)
    shown: dict[str, Any] = {"alive": True, "consecutiveFailures": 0, "firstSuccess": started, "lastFailure": None}
    shown["lastSuccess"] = stamp(marathon.mesos.clock())
    if not marathon.version.since(1, 4):
        return {**shown, "taskId": task.id}
    return {**shown, "lastFailureCause": None, "instanceId": instance.id}


def deployment_of(deployment: Deployment, marathon: Marathon) -> dict[str, Any]:
    """Return an entry of ``/v2/deployments``."""
    plan = plan_of(deployment, marathon.version)
    shown: dict[str, Any] = {"id": deployment.id, "version": deployment.version}
    shown["affectedApps"] = [] if deployment.pod else [deployment.app_id]
    if marathon.version.since(1, 4):
        shown["affectedPods"] = [deployment.app_id] if deployment.pod else []
    readiness: dict[str, Any] = {"readinessCheckResults": []} if marathon.version.since(1, 0) else {}
    return {**shown, "steps": plan["steps"], "currentActions": [{**plan["action"], **readiness}], "currentStep": 1, "totalSteps": 1}


def queue_of(marathon: Marathon) -> list[dict[str, Any]]:
    """Return the apps and pods that wait for a place, and since 1.4 why each agent declined."""
    waiting = [app for app in marathon.apps.values() if len(app.current()) < app.instances]
    return [_queued(app, marathon) for app in waiting]


def _queued(app: App, marathon: Marathon) -> dict[str, Any]:
    left = max(0.0, app.not_before - marathon.mesos.clock())
    shown: dict[str, Any] = {"pod" if app.pod else "app": _spec(app) if app.pod else definition_of(app, marathon.version)}
    shown |= {"count": app.instances - len(app.current()), "delay": {"timeLeftSeconds": int(left), "overdue": not left}}
    if marathon.version.since(1, 4):
        declined = sum(app.rejected.values())
        shown["since"] = stamp(app.waiting_since)
        shown["processedOffersSummary"] = {
            "processedOffersCount": declined,
            "unusedOffersCount": declined,
            **({"lastUnusedOfferAt": stamp(marathon.mesos.clock())} if declined else {}),
            "rejectSummaryLastOffers": _funnel(app.rejected),
            "rejectSummaryLaunchAttempt": _funnel(app.rejected),
        }
    if marathon.version.since(1, 9):
        shown["role"] = "*"
    return shown


def _funnel(rejected: dict[str, int]) -> list[dict[str, Any]]:
    """Return each reason with the offers it declined and those that reached it."""
    left, shown = sum(rejected.values()), []
    for reason in FUNNEL:
        shown.append({"reason": reason, "declined": rejected.get(reason, 0), "processed": left})
        left -= rejected.get(reason, 0)
    return shown


def _spec(app: App) -> dict[str, Any]:
    return {**app.definition, "id": app.id, "version": app.version, "scaling": {"kind": "fixed", "instances": app.instances}}


def pod_of(app: App) -> dict[str, Any]:
    """Return a pod's definition."""
    return _spec(app)


def pod_status_of(app: App, marathon: Marathon) -> dict[str, Any]:
    """Return ``/v2/pods/{id}::status``."""
    now = stamp(marathon.mesos.clock())
    status = "STABLE" if app.settled() else "DEGRADED"
    instances = [_pod_instance(each, app) for each in app.running.values()]
    shown = {"id": app.id, "spec": _spec(app), "status": status, "statusSince": app.version, "instances": instances}
    return {**shown, "terminationHistory": [], "lastUpdated": now, "lastChanged": app.version}


def _pod_instance(instance: Instance, app: App) -> dict[str, Any]:
    since = stamp(instance.started_at or instance.staged_at)
    need = placing.demand(app)
    shown: dict[str, Any] = {"id": instance.id, "status": "STABLE" if instance.running else "PENDING", "statusSince": since}
    shown |= {"conditions": [], "agentHostname": instance.hostname, "agentId": instance.agent_id}
    shown["resources"] = {"cpus": need.cpus, "mem": need.mem, "disk": need.disk, "gpus": need.gpus}
    shown["networks"] = [{"addresses": [task.ip for task in instance.tasks[:1]]}]
    specs = {each["name"]: each for each in app.definition["containers"]}
    shown["containers"] = [_pod_container(task, specs[task.name], since) for task in instance.tasks]
    shown |= {"specReference": f"/v2/pods{app.id}::versions/{instance.version}", "lastUpdated": since, "lastChanged": since}
    return shown


def _pod_container(task: Task, spec: dict[str, Any], since: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": task.name, "status": task.state, "statusSince": since, "conditions": [], "containerId": task.id}
    names = [each.get("name", "") for each in spec.get("endpoints") or []]
    shown["endpoints"] = [{"name": name, "allocatedHostPort": port} for name, port in zip(names, task.ports, strict=False)]
    need = task.resources
    shown["resources"] = {"cpus": need.cpus, "mem": need.mem, "disk": need.disk, "gpus": need.gpus}
    return {**shown, "lastUpdated": since, "lastChanged": since}


def group_of(path: str, marathon: Marathon) -> dict[str, Any]:
    """Return a group with the groups, apps and pods below it."""
    prefix = path.rstrip("/") + "/"
    below = [app for app in marathon.apps.values() if app.id.startswith(prefix)]
    groups = sorted({prefix + app.id[len(prefix) :].partition("/")[0] for app in below if "/" in app.id[len(prefix) :]})
    direct = [app for app in below if "/" not in app.id[len(prefix) :]]
    shown: dict[str, Any] = {"id": path, "dependencies": [], "version": max((app.version for app in below), default=stamp(0))}
    shown["apps"] = [definition_of(app, marathon.version) for app in direct if not app.pod]
    shown["groups"] = [group_of(each, marathon) for each in groups]
    if marathon.version.since(1, 4):
        shown["pods"] = [pod_of(app) for app in direct if app.pod]
    return shown


def info_of(marathon: Marathon, node: str) -> dict[str, Any]:
    """Return ``/v2/info``: what a client needs to know, not every flag."""
    version, master = marathon.version, marathon.mesos.leader
    address = f"{master.host}:{master.port}" if master else ""
    config: dict[str, Any] = {"master": address, "mesos_role": None, "hostname": node.partition(":")[0], "checkpoint": True, "ha": True}
    config |= {"failover_timeout": 604800, "framework_name": marathon.framework.name, "mesos_user": "root", "executor": "//cmd"}
    if version.since(0, 11):
        config |= {"mesos_leader_ui_url": f"http://{address}/", "webui_url": f"http://{node}"}
    if version.since(1, 0):
        config |= {"features": ["task_killing"] if version.since(1, 3) else [], "decline_offer_duration": 120000}
    shown: dict[str, Any] = {"name": "marathon", "version": str(version), "frameworkId": marathon.framework.id, "marathon_config": config}
    shown |= {"elected": marathon.leader == node, "leader": marathon.leader, "http_config": {"http_port": int(node.rpartition(":")[2])}}
    shown["zookeeper_config"] = {"zk": "zk://localhost:2181/marathon", "zk_timeout": 10000, "zk_session_timeout": 10000}
    return shown if version.since(1, 5) else {**shown, "event_subscriber": None}
