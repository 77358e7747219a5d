"""The tasks that Marathon hands to Mesos for one instance: ids, environment, container, as each version makes them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from octopus.demo import app_model, placing
from octopus.demo.app_model import App, Instance
from octopus.demo.mesos import Mesos
from octopus.demo.model import Agent, Executor, Framework, Task
from octopus.demo.resources import Resources, port_ranges
from octopus.demo.versions import Version


class Launcher:
    """Makes the instances of one Marathon."""

    def __init__(self, version: Version, mesos: Mesos, framework: Framework, uuid1: Callable[[], str], rng: random.Random) -> None:
        self._version = version
        self._mesos = mesos
        self._framework = framework
        self._uuid1 = uuid1
        self._rng = rng

    def make(self, app: App, agent: Agent) -> Instance:
        """Return a new instance for the agent, which must have room for it."""
        uuid1, ports = self._uuid1(), placing.choose_ports(app, agent, self._rng) or []
        name = app_model.instance_id(app.id, self._version, uuid1, pod=app.pod)
        instance = Instance(name, app.id, app.version, agent.hostname, agent.id, agent.attributes, self._mesos.clock(), [])
        instance.tasks = self._pod_tasks(app, name, agent, uuid1, ports) if app.pod else [self._app_task(app, name, agent, ports)]
        return instance

    def _app_task(self, app: App, instance: str, agent: Agent, ports: list[int]) -> Task:
        definition, version = app.definition, self._version
        task_id = app_model.task_id(instance, version)
        docker = (definition["container"] or {}).get("docker") or {}
        return Task(
            id=task_id,
            name=app_model.reversed_path(app.id),
            framework_id=self._framework.id,
            agent_id=agent.id,
            container_id=self._mesos.new_uuid(),
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

    def _pod_tasks(self, app: App, instance: str, agent: Agent, uuid1: str, ports: list[int]) -> list[Task]:
        executor_id = f"instance-{app_model.safe_path(app.id)}.{uuid1}"
        executor = Executor(executor_id, self._framework.id, agent.id, self._mesos.new_uuid(), placing.executor_demand(app))
        free = iter(ports)
        return [self._pod_task(app, spec, instance, agent, executor, free) for spec in app.definition["containers"]]

    def _pod_task(self, app: App, spec: dict[str, Any], instance: str, agent: Agent, executor: Executor, free: Iterator[int]) -> Task:
        own = [next(free) for _ in spec.get("endpoints") or []]
        return Task(
            id=app_model.task_id(instance, self._version, spec["name"]),
            name=spec["name"],
            framework_id=self._framework.id,
            agent_id=agent.id,
            container_id=self._mesos.new_uuid(),
            resources=_with_ports(placing.amount(spec.get("resources", {})), own),
            labels=dict(app.definition.get("labels") or {}),
            executor=executor,
            ip=agent.ip,
            command=spec.get("exec", {}).get("command", {}).get("shell", ""),
        )


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
