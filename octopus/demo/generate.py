"""Clusters of any size, the same for the same seed, for measuring and for tests at scale."""

from __future__ import annotations

import random

from octopus.demo.app_model import App, Instance, complete, instance_id, task_id
from octopus.demo.cluster import DemoCluster
from octopus.demo.launching import container_of
from octopus.demo.model import Agent, Status, Task
from octopus.demo.resources import Resources

GROUPS = ("logging", "web", "tools", "data", "search", "billing", "mobile", "ops")
SHAPES = ((0.1, 64), (0.2, 128), (0.5, 512), (1.0, 1024), (2.0, 4096))
AGENT_RESOURCES = Resources(cpus=48.0, mem=262144.0, disk=1_000_000.0, ports=((31000, 32000),))


def fill(cluster: DemoCluster, *, agents: int, tasks: int, instances_per_app: int = 20, seed: int = 0) -> None:
    """Put agents and running tasks into an open cluster, without placing them one by one and without telling anybody.

    Agents have no HTTP of their own. Apps have ``instances_per_app`` instances each, spread over all agents in turn.
    """
    rng = random.Random(seed)  # noqa: S311  made data, not secrets
    made = [_agent(cluster, number) for number in range(agents)]
    for agent in made:
        cluster.mesos.registry.agents[agent.id] = agent
    left = tasks
    while left and made:
        count = min(left, instances_per_app)
        _app(cluster, made, tasks - left, count, rng)
        left -= count


def _agent(cluster: DemoCluster, number: int) -> Agent:
    mesos = cluster.mesos
    hostname, now = f"node-{number:05d}.example", mesos.clock()
    ip = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    attributes: dict[str, str | float] = {"rack": f"r{number % 40}", "zone": f"z{number % 3}"}
    work_dir = f"/var/lib/mesos/{hostname}"
    return Agent(mesos.next_agent_id(), hostname, ip, 5051, AGENT_RESOURCES, attributes, now, str(mesos.version), work_dir, now)


def _app(cluster: DemoCluster, agents: list[Agent], first: int, count: int, rng: random.Random) -> None:
    marathon, number = cluster.marathon, len(cluster.marathon.apps)
    cpus, mem = rng.choice(SHAPES)
    definition = complete(
        {
            "cmd": "exec /usr/bin/service",
            "cpus": cpus,
            "mem": mem,
            "instances": count,
            "container": {"type": "DOCKER", "docker": {"image": f"registry.example/service-{number}:1", "network": "HOST"}},
            "labels": {"OWNER": GROUPS[number % len(GROUPS)]},
        }
    )
    version = marathon.new_version()
    app = App(f"/{GROUPS[number % len(GROUPS)]}/service-{number}", definition, count, version, version, version)
    marathon.apps[app.id] = app
    for index in range(count):
        _instance(cluster, app, agents[(first + index) % len(agents)])


def _instance(cluster: DemoCluster, app: App, agent: Agent) -> None:
    marathon, mesos, now = cluster.marathon, cluster.mesos, cluster.mesos.clock()
    port = 31000 + len(agent.tasks) % 1000
    name = instance_id(app.id, marathon.version, marathon.uuid1())
    new_id = task_id(name, marathon.version)
    task = Task(
        id=new_id,
        name=app.id.rpartition("/")[2],
        framework_id=marathon.framework.id,
        agent_id=agent.id,
        container_id=mesos.new_uuid(),
        resources=Resources(app.definition["cpus"], app.definition["mem"], ports=((port, port),)),
        state="TASK_RUNNING",
        statuses=[Status("TASK_RUNNING", now, mesos.new_uuid())],
        labels=app.definition["labels"],
        container=container_of(app.definition, new_id, marathon.version, [port]),
        discovery=True,
        ip=agent.ip,
    )
    marathon.framework.tasks[new_id] = agent.tasks[new_id] = task
    instance = Instance(name, app.id, app.version, agent.hostname, agent.id, agent.attributes, now, [task], now)
    marathon.scheduler.adopt(app, instance)
