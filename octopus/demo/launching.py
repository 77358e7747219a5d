"""The tasks that Marathon hands to Mesos for one instance: ids, environment, container, as each version makes them."""

from __future__ import annotations

import random
from typing import Any

from octopus.demo import app_model, placing
from octopus.demo.app_model import App, Instance
from octopus.demo.mesos import Mesos
from octopus.demo.model import Agent, Executor, Framework, Task
from octopus.demo.resources import Resources, port_ranges
from octopus.demo.versions import Version


def make_instance(app: App, agent: Agent, version: Version, mesos: Mesos, framework: Framework, uuid1: str, rng: random.Random) -> Instance:
    """Return a new instance for the agent, which must have room for it."""
    ports = placing.choose_ports(app, agent, rng) or []
    name = app_model.instance_id(app.id, version, uuid1, pod=app.pod)
    instance = Instance(name, app.id, app.version, agent.hostname, agent.id, agent.attributes, mesos.clock(), [])
    if app.pod:
        instance.tasks = _pod_tasks(app, instance, agent, version, mesos, framework, uuid1, ports)
    else:
        instance.tasks = [_app_task(app, instance, agent, version, mesos, framework, ports)]
    return instance


def _app_task(app: App, instance: Instance, agent: Agent, version: Version, mesos: Mesos, framework: Framework, ports: list[int]) -> Task:
    definition, task_id = app.definition, app_model.task_id(instance.id, version)
    docker = (definition["container"] or {}).get("docker") or {}
    return Task(
        id=task_id,
        name=app_model.reversed_path(app.id),
        framework_id=framework.id,
        agent_id=agent.id,
        container_id=mesos.new_uuid(),
        resources=_with_ports(placing.demand(app), ports),
        labels=dict(definition["labels"]),
        container=container_of(definition, task_id, version, ports),
        discovery=version.since(1, 5) or (bool(ports) and version.since(0, 15)),
        port_name="default" if version.since(1, 4) else "",
        ip=agent.ip,
        image=docker.get("image", ""),
        command=definition["cmd"] or " ".join(definition["args"] or []),
        env=environment(app, agent.hostname, task_id, version, ports),
    )


def _pod_tasks(
    app: App, instance: Instance, agent: Agent, version: Version, mesos: Mesos, framework: Framework, uuid1: str, ports: list[int]
) -> list[Task]:
    executor_id = f"instance-{app_model.safe_path(app.id)}.{uuid1}"
    executor = Executor(executor_id, framework.id, agent.id, mesos.new_uuid(), placing.executor_demand(app))
    tasks = []
    for container in app.definition["containers"]:
        own = [ports.pop(0) for _ in container.get("endpoints") or []]
        task_id = app_model.task_id(instance.id, version, container["name"])
        tasks.append(
            Task(
                id=task_id,
                name=container["name"],
                framework_id=framework.id,
                agent_id=agent.id,
                container_id=mesos.new_uuid(),
                resources=_with_ports(placing.amount(container.get("resources", {})), own),
                labels=dict(app.definition.get("labels") or {}),
                executor=executor,
                ip=agent.ip,
                command=container.get("exec", {}).get("command", {}).get("shell", ""),
            )
        )
    return tasks


def _with_ports(resources: Resources, ports: list[int]) -> Resources:
    return Resources(resources.cpus, resources.mem, resources.disk, resources.gpus, port_ranges(ports))


def container_of(definition: dict[str, Any], task_id: str, version: Version, ports: list[int]) -> dict[str, Any] | None:
    """Return the ContainerInfo of an app's task; since 1.4 the last docker parameter is the label with the task's id."""
    container = definition["container"]
    if container is None:
        return {"type": "MESOS"} if version.since(1, 5) else None
    docker = container.get("docker")
    if container.get("type") != "DOCKER" or docker is None:
        return {"type": "MESOS"}
    shown: dict[str, Any] = {"image": docker["image"], "network": network_of(definition), "privileged": bool(docker.get("privileged"))}
    if mappings := app_model.mappings_of(definition):
        pairs = zip(mappings, ports, strict=True)
        shown["port_mappings"] = [
            {"host_port": port, "container_port": each.get("containerPort", 0) or port, "protocol": each.get("protocol", "tcp")}
            for each, port in pairs
        ]
    parameters = [{"key": each["key"], "value": each["value"]} for each in docker.get("parameters") or []]
    if version.since(1, 4):
        parameters.append({"key": "label", "value": f"MESOS_TASK_ID={task_id}"})
    if parameters:
        shown["parameters"] = parameters
    return {"type": "DOCKER", "docker": {**shown, "force_pull_image": bool(docker.get("forcePullImage"))}}


def network_of(definition: dict[str, Any]) -> str:
    """Return the Docker network of an app, from where either form of the definition has it."""
    docker = (definition["container"] or {}).get("docker") or {}
    modes = [net.get("mode") for net in definition.get("networks") or []]
    if "container/bridge" in modes:
        return "BRIDGE"
    return "USER" if "container" in modes else str(docker.get("network") or "HOST")


def environment(app: App, hostname: str, task_id: str, version: Version, ports: list[int]) -> dict[str, str]:
    """Return what Marathon puts into a task's environment; from 0.8.2 the app's own variables win."""
    definition = app.definition
    context = {"MARATHON_APP_ID": app.id, "MARATHON_APP_VERSION": app.version, "MESOS_TASK_ID": task_id, "HOST": hostname}
    image = ((definition["container"] or {}).get("docker") or {}).get("image")
    if image and version.since(0, 11):
        context["MARATHON_APP_DOCKER_IMAGE"] = image
    if version.since(0, 15):
        context |= {f"MARATHON_APP_RESOURCE_{name.upper()}": str(float(definition[name])) for name in ("cpus", "mem", "disk")}
        context["MARATHON_APP_LABELS"] = " ".join(label.upper() for label in definition["labels"])
        context |= {f"MARATHON_APP_LABEL_{label.upper()}": value for label, value in definition["labels"].items()}
    if version.since(1, 3):
        context["MARATHON_APP_RESOURCE_GPUS"] = str(int(definition["gpus"]))
    if ports:
        context |= {"PORT": str(ports[0]), "PORTS": ",".join(map(str, ports))}
        context |= {f"PORT{index}": str(port) for index, port in enumerate(ports)}
    own = {name: value for name, value in definition["env"].items() if isinstance(value, str)}
    return {**context, **own} if version.since(0, 8, 2) else {**own, **context}
