"""The stand-in for Marathon: its answers against published ones, and scaling that really places tasks."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from octopus.demo.cluster import DemoCluster
from tests.shapes import differences, json_of

PUBLIC = "public/marathon/"
SHOWN_ONLY = ("version", "versionInfo", "tasks", "tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy", "deployments")
UNIQUE = [["hostname", "UNIQUE"]]


def client_of(demo: DemoCluster, **options: Any) -> httpx.AsyncClient:
    """Return a client of the first Marathon node."""
    return httpx.AsyncClient(base_url=demo.marathon_urls[0], headers={"Accept": "application/json"}, **options)


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    """Marathon 1.11 with three agents."""
    async with DemoCluster() as cluster:
        for number in (1, 2, 3):
            await cluster.add_agent(f"agent-{number}.example", attributes={"rack": f"r{number % 2}"})
        yield cluster


@pytest.mark.parametrize(
    ("mesos", "marathon", "fixture", "lacking"),
    [
        ("1.5.0", "1.5.0", "app-1.5-embed-tasks", set()),
        # the published app was saved by a client that knew no uris, fetch and storeUrls
        ("0.28.0", "1.1.0", "apps-0.x-docker", {"uris", "fetch", "storeUrls"}),
    ],
)
async def test_apps_have_the_published_shape(mesos: str, marathon: str, fixture: str, lacking: set[str]) -> None:
    """An app put as it was published is shown as it was published, its tasks and their health included."""
    published = json_of(f"{PUBLIC}{fixture}.json")
    app = {key: value for key, value in published["apps"][0].items() if key not in SHOWN_ONLY}
    async with DemoCluster(mesos_version=mesos, marathon_version=marathon) as demo, client_of(demo) as client:
        await demo.add_agent("agent-1.example")
        assert (await client.put(f"/v2/apps{app['id']}", json={**app, "mem": 10})).status_code == 201
        ours = (await client.get("/v2/apps", params={"embed": "apps.tasks"} if "tasks" in published["apps"][0] else {})).json()
    for each in ours["apps"]:
        for key in lacking:
            del each[key]
    published["apps"][0]["deployments"] = ours["apps"][0]["deployments"] = []
    assert differences(published, ours) == []


async def test_0_8_answers_as_its_documentation() -> None:
    """Apps and tasks of 0.8 have the documented keys, and none that came later."""
    documented = {body["section"]: body["body"] for body in json_of(f"{PUBLIC}rest-doc-bodies-0.8.0.json")}
    documented_app = documented["GET `/v2/apps/{appId}`"]
    wish = {key: documented_app["app"][key] for key in ("cmd", "healthChecks", "uris", "ports", "instances", "cpus", "mem")}
    async with DemoCluster(mesos_version="0.22.0", marathon_version="0.8.2") as demo, client_of(demo) as client:
        await demo.add_agent("agent-1.example")
        demo.put_app("/toggle", **wish)
        demo.fail_task(demo.tasks("/toggle")[0].id)
        await demo.running("/toggle", 2)
        app, tasks = (await client.get("/v2/apps/toggle")).json(), (await client.get("/v2/tasks")).json()
        assert (await client.get("/v2/events")).status_code == 404
        plain = await client.get("/v2/tasks", headers={"Accept": "*/*"})
        assert plain.headers["content-type"].startswith("text/plain")
    undocumented = ("$.app.labels", "$.app.tasksHealthy", "$.app.tasksUnhealthy", "$.app.upgradeStrategy.maximumOverCapacity")
    found = differences(documented_app, app) + differences(documented["GET `/v2/tasks`"], tasks)
    assert [each for each in found if not each.startswith(undocumented)] == []


@pytest.mark.parametrize(
    ("mesos", "marathon", "fixture", "later"),
    [("0.28.0", "0.11.0", "deployments-0.x", set()), ("1.4.0", "1.4.0", "deployments-1.x", {"affectedPods"})],
)
async def test_deployments_have_the_published_shape(mesos: str, marathon: str, fixture: str, later: set[str]) -> None:
    """A deployment shows its steps as its version does; the published ones wait for readiness checks, which nobody has here."""
    async with DemoCluster(mesos_version=mesos, marathon_version=marathon) as demo, client_of(demo) as client:
        demo.put_app("/kafka", cmd="sleep 1")
        ours = (await client.get("/v2/deployments")).json()
    published = json_of(f"{PUBLIC}{fixture}.json")
    for each in (*published, *ours):
        for action in each["currentActions"]:
            action.pop("readinessChecks", None)
            action.pop("readinessCheckResults", None)
        for key in later:
            each.pop(key, None)
    assert differences(published, ours) == []


async def test_the_queue_tells_why_agents_decline(demo: DemoCluster) -> None:
    """An app that fits nowhere more waits in the queue with the reasons in Marathon's own words and order."""
    demo.put_app("/statsd", cmd="sleep 1", instances=5, constraints=UNIQUE, cpus=0.1)
    async with client_of(demo) as client:
        queued = (await client.get("/v2/queue")).json()["queue"]
    summary = queued[0]["processedOffersSummary"]
    published = json_of(f"{PUBLIC}queue-with-offers-1.5.json")["queue"][0]["processedOffersSummary"]
    del published["lastUsedOfferAt"]  # only while some offers are used
    assert differences(published, summary) == []
    assert queued[0]["count"] == 2
    assert {each["reason"]: each["declined"] for each in summary["rejectSummaryLastOffers"] if each["declined"]} == {
        "UnfulfilledConstraint": 3
    }


async def test_tasks_have_the_documented_shape(demo: DemoCluster) -> None:
    """Tasks have the documented keys, but for region and zone, which agents without a fault domain have not."""
    demo.put_app(
        "/web/front", cmd="sleep 1", container={"type": "DOCKER", "docker": {"image": "i"}, "portMappings": [{"containerPort": 80}]}
    )
    async with client_of(demo) as client:
        ours = (await client.get("/v2/tasks")).json()
    documented = json_of(f"{PUBLIC}doc-example-tasks.json")
    for task in documented["tasks"]:
        task.pop("region", None)
        task.pop("zone", None)
    for task in ours["tasks"]:
        del task["ipAddresses"]  # shown since 1.0, forgotten by the documentation
    assert differences(documented, ours) == []


async def test_ids_are_those_of_each_version() -> None:
    """Task ids of apps and pods have the form of their Marathon."""
    forms = {"0.8.2": r"a_b\.[0-9a-f-]{36}", "1.7.0": r"a_b\.[0-9a-f-]{36}", "1.8.0": r"a_b\.instance-[0-9a-f-]{36}\._app\.1"}
    for version, form in forms.items():
        async with DemoCluster(marathon_version=version) as demo:
            await demo.add_agent("agent-1.example")
            demo.put_app("/a/b", cmd="sleep 1")
            (task,) = demo.tasks("/a/b")
            assert re.fullmatch(form, task.id)


async def test_pods_share_an_executor(demo: DemoCluster) -> None:
    """A pod's tasks run in one executor with a container of its own; its status names agent, tasks and ports."""
    spec = next(each["spec"] for each in json_of(f"{PUBLIC}groups-pods.json")["pods"])
    async with client_of(demo) as client:
        assert (await client.post("/v2/pods", json=spec)).status_code == 201
        status = (await client.get(f"/v2/pods{spec['id']}::status")).json()
        assert (await client.get("/v2/pods")).json()[0]["id"] == spec["id"]
        assert (await client.get("/v2/apps")).json() == {"apps": []}
    (instance,) = status["instances"]
    tasks = demo.tasks(spec["id"])
    assert [each["containerId"] for each in instance["containers"]] == [task.id for task in tasks]
    assert {task.executor.id for task in tasks if task.executor} == {
        f"instance-{spec['id'][1:]}.{instance['id'].partition('instance-')[2]}"
    }


async def test_scaling_places_tasks_within_resources(demo: DemoCluster) -> None:
    """A scale-up fills what is free and then waits, locked, until an agent with room joins."""
    demo.put_app("/big", cmd="sleep 1", cpus=3.0, instances=3)
    assert {task.agent_id for task in demo.tasks("/big")} == set(demo.mesos.registry.agents)
    async with client_of(demo) as client:
        accepted = await client.patch("/v2/apps/big", json={"instances": 4})
        refused = await client.put("/v2/apps/big", json={"instances": 5})
        assert (accepted.status_code, refused.status_code) == (200, 409)
        assert refused.json()["deployments"] == [{"id": accepted.json()["deploymentId"]}]
        assert [each["id"] for each in (await client.get("/v2/deployments")).json()] == [accepted.json()["deploymentId"]]
        await demo.add_agent("agent-4.example")
        await demo.running("/big", 4)
        assert (await client.get("/v2/deployments")).json() == []


async def test_a_stuck_deployment_can_be_taken_back(demo: DemoCluster) -> None:
    """DELETE of a deployment rolls the app back; with force it only ends the deployment."""
    demo.put_app("/statsd", cmd="sleep 1", cpus=0.1, instances=3, constraints=UNIQUE)
    async with client_of(demo) as client:
        stuck = (await client.put("/v2/apps/statsd", json={"instances": 4})).json()["deploymentId"]
        assert (await client.delete(f"/v2/deployments/{stuck}")).status_code == 200
        assert (await client.get("/v2/apps/statsd")).json()["app"]["instances"] == 3
        stuck = (await client.put("/v2/apps/statsd", json={"instances": 9})).json()["deploymentId"]
        assert (await client.delete(f"/v2/deployments/{stuck}", params={"force": "true"})).status_code == 202
        assert (await client.get("/v2/deployments")).json() == []
        assert (await client.get("/v2/apps/statsd")).json()["app"]["instances"] == 9


async def test_faulty_and_unknown_apps_are_refused(demo: DemoCluster) -> None:
    """Nonsense is 422, what does not exist 404, and PATCH creates nothing."""
    async with client_of(demo) as client:
        assert (await client.put("/v2/apps/x", json={"instances": 1})).status_code == 422
        assert (await client.put("/v2/apps/x", json={"cmd": "true", "instances": -1})).status_code == 422
        assert (await client.put("/v2/apps/x", content=b"[")).status_code == 422
        assert (await client.put("/v2/apps/X!", json={"cmd": "true"})).status_code == 422
        assert (await client.patch("/v2/apps/x", json={"instances": 1})).status_code == 404
        assert (await client.get("/v2/apps/x")).json() == {"message": "App '/x' does not exist"}
        assert (await client.get("/nothing")).status_code == 404


async def test_who_may_ask_and_who_leads() -> None:
    """Without credentials 401 (/ping stays open), without a leader 503; a follower answers for its leader, but for events."""
    async with DemoCluster(marathons=2, marathon_credentials=("octopus", "secret")) as demo, client_of(demo) as client:
        assert (await client.get("/ping")).text == "pong"
        refused = await client.get("/v2/apps")
        assert (refused.status_code, refused.headers["www-authenticate"][:12]) == (401, "Basic realm=")
        client.auth = httpx.BasicAuth("octopus", "secret")
        demo.lead_marathon(1)
        followed = await client.get("/v2/info")
        assert followed.json()["leader"] == demo.marathon.nodes[1]
        assert followed.headers["x-marathon-leader"] == demo.marathon_urls[1]
        assert (await client.get("/v2/events", headers={"Accept": "text/event-stream"})).status_code == 302
        demo.lead_marathon(None)
        assert (await client.get("/v2/apps")).status_code == 503


async def test_events_tell_of_a_new_app(demo: DemoCluster) -> None:
    """The stream opens with event_stream_attached; an app that starts gives its updates and its deployment, shaped as documented."""
    documented = {each["eventType"]: each for each in json_of(f"{PUBLIC}events-doc-1.11.jsonl")}
    async with client_of(demo) as client, client.stream("GET", "/v2/events", headers={"Accept": "text/event-stream"}) as response:
        assert response.headers["content-type"] == "text/event-stream"
        lines = response.aiter_lines()
        assert await anext(lines) == "event: event_stream_attached"
        demo.put_app("/web/front", cmd="sleep 1")
        events = [event async for event in _events(lines, "deployment_success")]
    assert {each["eventType"] for each in events} >= {
        "deployment_info",
        "status_update_event",
        "instance_changed_event",
        "deployment_success",
    }
    states = [each["taskStatus"] for each in events if each["eventType"] == "status_update_event"]
    assert states == ["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING"]
    changed = next(each for each in events if each["eventType"] == "instance_changed_event")
    assert differences(documented["instance_changed_event"], changed) == []
    update = next(each for each in events if each["eventType"] == "status_update_event")
    assert set(update) - set(documented["status_update_event"]) == {"message", "ipAddresses"}  # the documentation's example is of 2014


async def _events(lines: AsyncIterator[str], last: str) -> AsyncIterator[Any]:
    async for line in lines:
        if line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            yield event
            if event["eventType"] == last:
                return


async def test_a_change_of_configuration_replaces_every_instance(demo: DemoCluster) -> None:
    """A new command brings new tasks and ends the old ones; an instance change keeps them."""
    demo.put_app("/web/front", cmd="one", instances=2)
    before = {task.id for task in demo.tasks("/web/front")}
    demo.scale("/web/front", 3)
    assert before < {task.id for task in demo.tasks("/web/front")}
    demo.put_app("/web/front", cmd="two")
    after = await demo.running("/web/front", 3)
    assert not before & {task.id for task in after}


async def test_kill_and_scale(demo: DemoCluster) -> None:
    """A killed task is replaced; with scale=true it is not; by host, the one on that host goes."""
    demo.put_app("/statsd", cmd="sleep 1", cpus=0.1, instances=3, constraints=UNIQUE)
    victim = demo.tasks("/statsd")[0]
    async with client_of(demo) as client:
        await client.delete(f"/v2/apps/statsd/tasks/{victim.id}")
        assert victim.state == "TASK_KILLED"
        assert len(await demo.running("/statsd", 3)) == 3
        await client.delete("/v2/apps/statsd/tasks", params={"host": "agent-2.example", "scale": "true"})
        left = await demo.running("/statsd", 2)
    assert demo.agent("agent-2.example").id not in {task.agent_id for task in left}
