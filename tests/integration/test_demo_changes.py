"""What happens to the stand-in's cluster: leaders change, agents come and go, containers die."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from octopus.demo.cluster import DemoCluster
from octopus.demo.generate import fill
from octopus.demo.images import BUSYBOX
from tests.parts.engines import Engine


async def get(url: str) -> httpx.Response:
    """Return the answer to a GET, redirects not followed."""
    async with httpx.AsyncClient() as client:
        return await client.get(url)


async def test_a_standby_of_0_28_answers_with_an_empty_state() -> None:
    """Up to 0.28 a standby answers itself, empty, and names the leader; without one it names nobody and redirects to itself."""
    async with DemoCluster(mesos_version="0.28.0", marathon_version="0.11.0", masters=2) as demo:
        await demo.add_agent("agent-1.example")
        standby = (await get(f"{demo.mesos_urls[1]}/state")).json()
        assert (standby["slaves"], standby["frameworks"], standby["activated_slaves"]) == ([], [], 0)
        assert standby["leader"] == demo.mesos.masters[0].pid != standby["pid"]
        assert (await get(f"{demo.mesos_urls[1]}/slaves")).json() == {"slaves": []}
        demo.fail_over(None)
        assert "leader" not in (await get(f"{demo.mesos_urls[0]}/state")).json()
        assert (await get(f"{demo.mesos_urls[0]}/redirect")).headers["location"] == demo.mesos_urls[0].removeprefix("http:")


@pytest.mark.parametrize(("version", "query"), [("1.0.0", ""), ("1.11.0", "?limit=1")])
async def test_a_standby_since_1_0_redirects_without_a_scheme(version: str, query: str) -> None:
    """From 1.0 a standby answers 307 to //leader/path, with the query from 1.1 on; 503 while nobody leads."""
    async with DemoCluster(mesos_version=version, masters=2) as demo:
        answer = await get(f"{demo.mesos_urls[1]}/tasks?limit=1")
        assert (answer.status_code, answer.headers["location"]) == (307, f"{demo.mesos_urls[0].removeprefix('http:')}/tasks{query}")
        demo.fail_over(None)
        assert [(await get(f"{url}/state")).status_code for url in demo.mesos_urls] == [503, 503]


async def test_a_new_leader_recovers_agents_one_by_one() -> None:
    """After a failover agents are recovered ones, their tasks unseen, until they register again under their old ids."""
    async with DemoCluster(masters=2) as demo:
        for number in (1, 2):
            await demo.add_agent(f"agent-{number}.example")
        demo.put_app("/statsd", cmd="sleep 1", instances=2, constraints=[["hostname", "UNIQUE"]])
        before = {agent["id"] for agent in (await get(f"{demo.mesos_urls[0]}/slaves")).json()["slaves"]}
        demo.fail_over(1, reregister=False)
        state = (await get(f"{demo.mesos_urls[1]}/state")).json()
        assert {agent["id"] for agent in state["recovered_slaves"]} == before
        assert (state["slaves"], state["frameworks"][0]["tasks"]) == ([], [])
        demo.reregister("agent-1.example")
        state = (await get(f"{demo.mesos_urls[1]}/state")).json()
        assert (len(state["slaves"]), len(state["recovered_slaves"]), len(state["frameworks"][0]["tasks"])) == (1, 1, 1)
        demo.reregister()
        state = (await get(f"{demo.mesos_urls[1]}/state")).json()
        assert {agent["id"] for agent in state["slaves"]} == before
        assert {task["state"] for task in state["frameworks"][0]["tasks"]} == {"TASK_RUNNING"}


async def test_a_killed_master_refuses_connections_and_can_come_back() -> None:
    """A stopped master's port is closed; started again it is a standby on the same port."""
    async with DemoCluster(masters=2) as demo:
        await demo.stop_master(0)
        with pytest.raises(httpx.ConnectError):
            await get(f"{demo.mesos_urls[0]}/state")
        demo.fail_over(1)
        await demo.start_master(0)
        assert (await get(f"{demo.mesos_urls[0]}/state")).status_code == 307


@pytest.mark.parametrize(("marathon", "replaced"), [("1.3.0", True), ("1.5.0", False), ("1.11.0", True)])
async def test_tasks_of_an_unreachable_agent_are_replaced_as_the_version_does(marathon: str, replaced: bool) -> None:
    """At once up to 1.3 and from 1.6; 1.4 and 1.5 wait, and keep the task when its agent returns."""
    async with DemoCluster(marathon_version=marathon) as demo:
        await demo.add_agent("agent-1.example")
        demo.put_app("/web/front", cmd="sleep 1")
        (task,) = demo.tasks("/web/front")
        await demo.add_agent("agent-2.example")
        demo.agent_unreachable("agent-1.example")
        assert (task.id not in {each.id for each in demo.tasks("/web/front")}) == replaced
        demo.agent_return("agent-1.example")
        assert task.state == ("TASK_KILLED" if replaced else "TASK_RUNNING")
        assert [each.id for each in await demo.running("/web/front", 1)] != ([task.id] if replaced else [])


async def test_a_held_app_stays_staging() -> None:
    """Tasks of a held app are TASK_STAGING, without a status, until it is released."""
    async with DemoCluster() as demo:
        await demo.add_agent("agent-1.example")
        demo.hold("/slow")
        demo.put_app("/slow", cmd="sleep 1")
        (shown,) = (await get(f"{demo.mesos_urls[0]}/tasks")).json()["tasks"]
        assert (shown["state"], shown["statuses"]) == ("TASK_STAGING", [])
        demo.release("/slow")
        assert len(await demo.running("/slow", 1)) == 1


async def test_a_generated_cluster_is_consistent() -> None:
    """A generated cluster has the wanted agents and tasks, each task on its agent, and goes on working."""
    async with DemoCluster() as demo:
        fill(demo, agents=50, tasks=500)
        state = (await get(f"{demo.mesos_urls[0]}/state")).json()
        (framework,) = state["frameworks"]
        assert (len(state["slaves"]), len(framework["tasks"])) == (50, 500)
        assert {task["slave_id"] for task in framework["tasks"]} == {agent["id"] for agent in state["slaves"]}
        app_id = next(iter(demo.marathon.apps))
        demo.scale(app_id, 25)
        await demo.running(app_id, 25)


IMAGE = {"type": "DOCKER", "docker": {"image": BUSYBOX, "network": "NONE"}}


@pytest.mark.parametrize(("mesos", "marathon", "with_agent"), [("0.28.0", "0.11.0", True), ("1.11.0", "1.11.0", False)])
async def test_docker_tasks_are_containers_as_mesos_makes_them(docker_engine: Engine, mesos: str, marathon: str, with_agent: bool) -> None:
    """Name, label, environment and sandbox mount of a task's container are those of its versions; the end of one is that of the other."""
    async with DemoCluster(mesos_version=mesos, marathon_version=marathon) as demo:
        agent = await demo.add_agent("agent-1.example", engine=docker_engine.address)
        demo.put_app("/tools/busybox", cmd="exec sleep 1000", container=IMAGE, cpus=0.1, mem=32)
        (task,) = await demo.running("/tools/busybox", 1)
        name = f"mesos-{agent.id}.{task.container_id}" if with_agent else f"mesos-{task.container_id}"
        with docker_engine.api() as api:
            inspected = await asyncio.to_thread(api.inspect_container, name)
            assert inspected["State"]["Running"]
            assert inspected["Config"]["Labels"].get("MESOS_TASK_ID", "") == ("" if with_agent else task.id)
            assert {f"MESOS_TASK_ID={task.id}", "MARATHON_APP_ID=/tools/busybox", "HOST=agent-1.example"} <= set(inspected["Config"]["Env"])
            (mount,) = inspected["Mounts"]
            assert (mount["Source"], mount["Destination"]) == (agent.sandbox(task), "/mnt/mesos/sandbox")
            await asyncio.to_thread(api.kill, name)
            await demo.until(lambda: not task.live)
            assert (task.state, task.statuses[-1].message) == ("TASK_FAILED", "Container exited with status 137")
            (replacement,) = await demo.running("/tools/busybox", 1)
            demo.kill_task(replacement.id)
            await demo.until(lambda: not replacement.live)
            await demo.running("/tools/busybox", 1)
    with docker_engine.api() as api:
        assert [
            each for each in api.containers(all=True) if any(agent.work_dir in mount.get("Source", "") for mount in each["Mounts"])
        ] == []


async def test_a_container_that_cannot_start_fails_its_task(docker_engine: Engine) -> None:
    """Without the image the task fails with the engine's words, and Marathon says so."""
    async with DemoCluster() as demo:
        await demo.add_agent("agent-1.example", engine=docker_engine.address)
        missing = {"type": "DOCKER", "docker": {"image": "octopus-demo/none:1", "network": "NONE"}}
        demo.put_app("/broken", cmd="true", container=missing, cpus=0.1, mem=32)
        (task,) = demo.tasks("/broken")
        await demo.until(lambda: not task.live)
        failure = demo.marathon.apps["/broken"].last_failure
        assert failure is not None
        assert "No such image" in failure["message"]
