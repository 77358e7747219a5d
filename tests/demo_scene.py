"""The cluster that was recorded, built again in the stand-in: the same agents and the same kinds of tasks."""

from __future__ import annotations

from collections.abc import Mapping

from octopus.demo.cluster import DemoCluster
from octopus.demo.model import Executor, Task
from octopus.demo.resources import Resources

ONE_PORT = ((31001, 31001),)


async def recorded_scene(demo: DemoCluster) -> None:
    """Add two agents with running Docker, command and pod tasks, and a finished and a failed command."""
    for number in (1, 2):
        await demo.add_agent(f"agent-{number}.example", attributes={"rack": f"r{number}", "dc": "bj"})
    first, second = demo.agent("agent-1.example").id, demo.agent("agent-2.example").id
    run(demo, docker_task(demo, "logging_logstash.3f9c7a5e", first, label=True), "TASK_RUNNING")
    run(demo, docker_task(demo, "web_front.instance-5e0d7a3c._app.1", first), "TASK_RUNNING")
    run(demo, command_task(demo, "batch_done.c0ffee00", first), "TASK_RUNNING", "TASK_FINISHED")
    run(demo, command_task(demo, "batch_bad.c0ffee01", first), "TASK_RUNNING", "TASK_FAILED")
    run(demo, docker_task(demo, "logging_logstash.41d0b2c7", second, label=True), "TASK_RUNNING")
    run(demo, command_task(demo, "ops_sleeper.9b6d1f04", second, container={"type": "MESOS"}), "TASK_RUNNING")
    run(demo, command_task(demo, "ops_plain.b1c2d3e4", second), "TASK_RUNNING")
    for task in pod_tasks(demo, "ops_pod.instance-d00d0001", second):
        run(demo, task, "TASK_RUNNING")


async def victims(demo: DemoCluster) -> None:
    """Add the third agent with a Docker and a command task."""
    await demo.add_agent("agent-3.example", attributes={"rack": "r3", "dc": "bj"})
    third = demo.agent("agent-3.example").id
    tasks = [command_task(demo, "ops_victim.aa55aa55", third), docker_task(demo, "ops_dvictim.aa55aa56", third, label=True)]
    for task in tasks:
        demo.mesos.launch(task)
    for task, state in ((tasks[1], "STARTING"), (tasks[0], "STARTING"), (tasks[0], "RUNNING"), (tasks[1], "RUNNING")):
        demo.mesos.update(task, f"TASK_{state}")


def run(demo: DemoCluster, task: Task, *states: str) -> None:
    """Launch a task and let it pass through TASK_STARTING and these states."""
    messages = {"TASK_FINISHED": "Command exited with status 0", "TASK_FAILED": "Command exited with status 3"}
    demo.mesos.launch(task)
    for state in ("TASK_STARTING", *states):
        demo.mesos.update(task, state, message=messages.get(state, ""))


def command_task(demo: DemoCluster, task_id: str, agent_id: str, container: Mapping[str, object] | None = None) -> Task:
    """Return a task of the Mesos containerizer."""
    return _task(demo, task_id, agent_id, Resources(0.1, 64.0), container=container)


def docker_task(demo: DemoCluster, task_id: str, agent_id: str, *, label: bool = False) -> Task:
    """Return a task of the Docker containerizer with a port and a label, as Marathon since 1.4 or (no ``label``) before."""
    docker: dict[str, object] = {"image": "bb:1", "network": "HOST", "privileged": False, "force_pull_image": False}
    if label:
        docker["parameters"] = [{"key": "label", "value": f"MESOS_TASK_ID={task_id}"}]
    container: dict[str, object] = {"type": "DOCKER", "docker": docker}
    task = _task(demo, task_id, agent_id, Resources(0.2, 64.0, ports=ONE_PORT), container=container)
    task.labels, task.discovery, task.image = {"OWNER": "ops"}, True, "bb:1"
    return task


def pod_tasks(demo: DemoCluster, instance: str, agent_id: str) -> list[Task]:
    """Return the two tasks of a pod's instance."""
    framework = demo.marathon.framework.id
    executor = Executor(f"instance-{instance}", framework, agent_id, demo.mesos.new_uuid(), Resources(0.1, 32.0, 32.0))
    tasks = [_task(demo, f"{instance}.{name}", agent_id, Resources(0.1, 32.0)) for name in ("main", "side")]
    for task in tasks:
        task.executor = executor
    return tasks


def _task(demo: DemoCluster, task_id: str, agent_id: str, resources: Resources, container: Mapping[str, object] | None = None) -> Task:
    return Task(
        id=task_id,
        name=task_id.partition(".")[0],
        framework_id=demo.marathon.framework.id,
        agent_id=agent_id,
        container_id=demo.mesos.new_uuid(),
        resources=resources,
        container=dict(container) if container else None,
        ip="127.0.0.1",
        command="echo started; exec sleep 86400",
    )
