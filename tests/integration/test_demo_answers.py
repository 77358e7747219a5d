"""The stand-in for Mesos answers as the real one did, field by field and type by type."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from octopus.demo.cluster import DemoCluster
from tests import wire_data
from tests.demo_scene import recorded_scene, victims
from tests.shapes import differences, headers_of, json_of, text_of, without

UNSERVED = ("flags",)
"""The demo serves the few flags that mean something in it, not the sixty of a real process."""

PER_ANSWER = {"date", "content-length"}
"""Headers whose values belong to one answer."""

V0 = {"state": "/state", "slaves": "/slaves", "tasks": "/tasks", "frameworks": "/frameworks", "roles": "/roles"}
CALLS = ["STATE", "AGENTS", "TASKS", "FRAMEWORKS", "EXECUTORS", "MASTER", "ROLES", "VERSION", "HEALTH", "LOGGING_LEVEL"]


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    """The recorded cluster, built again: Mesos 1.11, two agents, eight kinds of tasks."""
    async with DemoCluster(heartbeat=0.05) as cluster:
        await recorded_scene(cluster)
        yield cluster


async def ask(cluster: DemoCluster, path: str, **options: Any) -> httpx.Response:
    """Return the first master's answer; ``call`` is posted to the operator API."""
    call = options.pop("call", None)
    async with httpx.AsyncClient(base_url=cluster.mesos_urls[0]) as client:
        if call is not None:
            return await client.post("/api/v1", json={"type": call}, **options)
        return await client.get(path, **options)


async def ask_json(cluster: DemoCluster, path: str = "", **options: Any) -> Any:
    """Return the JSON of a 200."""
    response = await ask(cluster, path, **options)
    assert response.status_code == 200
    return response.json()


@pytest.mark.parametrize("name", [*V0, "state-summary", "version"])
async def test_v0_documents_have_the_recorded_shape(demo: DemoCluster, name: str) -> None:
    """Every v0 document of the master has the keys and types of the recorded one, for the same agents and tasks."""
    ours = await ask_json(demo, V0.get(name, f"/{name}"))
    assert differences(without(json_of(f"recorded/master/{name}.json"), *UNSERVED), without(ours, *UNSERVED)) == []


async def test_paths_with_and_without_master(demo: DemoCluster) -> None:
    """/master/state is /state, and a single task is found by its id."""
    assert await ask_json(demo, "/master/state") == await ask_json(demo, "/state")
    found = await ask_json(demo, "/tasks?task_id=logging_logstash.3f9c7a5e")
    assert differences(json_of("recorded/master/tasks_filtered_task_id.json"), found) == []
    assert await ask_json(demo, "/tasks?task_id=none") == {"tasks": []}
    assert len((await ask_json(demo, "/tasks?limit=1&offset=1"))["tasks"]) == 1


@pytest.mark.parametrize("call", CALLS)
async def test_operator_calls_have_the_recorded_shape(demo: DemoCluster, call: str) -> None:
    """Every GET_ call answers with the keys and types of the recorded one."""
    assert differences(json_of(f"recorded/operator_v1/GET_{call}.json"), await ask_json(demo, call=f"GET_{call}")) == []


@pytest.mark.parametrize("situation", ["with_unreachable_agent", "after_agent_gone_and_kill"])
async def test_documents_after_losses_have_the_recorded_shape(demo: DemoCluster, situation: str) -> None:
    """With an unreachable agent, and after it unregistered and a task was killed, everything still has the recorded shape."""
    for agent in demo.mesos.registry.agents.values():
        agent.reregistered_time = demo.mesos.clock()
    await victims(demo)
    demo.agent_unreachable("agent-3.example")
    if situation == "after_agent_gone_and_kill":
        demo.mesos.find_agent(demo.agent("agent-3.example"))
        await demo.remove_agent("agent-3.example")
        end_plain(demo)
    for name, path in {"state": "/state", "slaves": "/slaves", "state-summary": "/state-summary", "tasks": "/tasks"}.items():
        recorded = without(json_of(f"recorded/{situation}/master_{name}.json"), *UNSERVED)
        assert differences(recorded, without(await ask_json(demo, path), *UNSERVED)) == [], name
    assert differences(json_of(f"recorded/{situation}/v1_GET_STATE.json"), await ask_json(demo, call="GET_STATE")) == []


def end_plain(demo: DemoCluster) -> None:
    """Kill the task that was killed in the recording."""
    task = demo.mesos.task("ops_plain.b1c2d3e4")
    assert task is not None
    demo.mesos.update(task, "TASK_KILLING")
    demo.mesos.update(task, "TASK_KILLED", message="Command terminated with signal Terminated")


@pytest.mark.parametrize("number", [1, 2])
async def test_agents_have_the_recorded_shape(demo: DemoCluster, number: int) -> None:
    """An agent's state with executors, containers and sandboxes, and its containers, have the recorded shape."""
    agent = demo.agent(f"agent-{number}.example")
    async with httpx.AsyncClient(base_url=f"http://{agent.ip}:{agent.port}") as client:
        state, containers = (await client.get("/state")).json(), (await client.get("/containers")).json()
        assert (await client.get("/slave(1)/state")).json() == state
    assert differences(without(json_of(f"recorded/agent/agent{number}_state.json"), *UNSERVED), without(state, *UNSERVED)) == []
    assert differences(json_of(f"recorded/agent/agent{number}_containers.json"), containers) == []
    executor = state["frameworks"][0]["executors"][0]
    assert executor["directory"].endswith(f"/executors/{executor['id']}/runs/{executor['container']}")


async def test_subscribe_tells_the_recorded_events_in_their_order() -> None:
    """The stream opens with SUBSCRIBED and HEARTBEAT; an agent lost, found and gone, and a kill, come as recorded, oddities included."""
    async with DemoCluster(heartbeat=0.05) as demo, httpx.AsyncClient() as client:
        call = client.stream("POST", f"{demo.mesos_urls[0]}/api/v1", json={"type": "SUBSCRIBE"})
        async with call as response:
            events = records(response)
            head = [await anext(events), await anext(events)]
            await recorded_scene(demo)
            await victims(demo)
            demo.agent_unreachable("agent-3.example")
            demo.mesos.find_agent(demo.agent("agent-3.example"))
            await demo.remove_agent("agent-3.example")
            end_plain(demo)
            ours = [event async for event in until(events, "TASK_KILLED")]
    recorded = json_of("recorded/subscribe/events.jsonl")[:86]
    assert [each["type"] for each in head] == [each["type"] for each in recorded[:2]]
    assert story(ours)[-14:] == story(recorded)[-14:]
    assert without_frameworks(recorded, ours) == []


def without_frameworks(recorded: list[Any], ours: list[Any]) -> list[str]:
    """Return how the events differ; the stand-in's framework was there before anybody could subscribe."""
    kept = [each for each in recorded if each["type"] not in ("FRAMEWORK_ADDED", "SUBSCRIBED", "HEARTBEAT")]
    return differences(kept, [each for each in ours if each["type"] != "HEARTBEAT"])


def story(events: list[Any]) -> list[str]:
    """Return what an event list tells: types and states, without heartbeats."""
    return [f"{e['type']} {e.get('task_updated', {}).get('state', '')}".strip() for e in events if e["type"] != "HEARTBEAT"]


async def records(response: httpx.Response) -> AsyncIterator[Any]:
    """Yield the JSON of each RecordIO record, whose length must be what its header says."""
    buffer = b""
    async for chunk in response.aiter_raw():
        buffer += chunk
        while b"\n" in buffer:
            length, _, rest = buffer.partition(b"\n")
            assert length.isdigit()
            if len(rest) < int(length):
                break
            yield json.loads(rest[: int(length)])
            buffer = rest[int(length) :]


async def until(events: AsyncIterator[Any], state: str) -> AsyncIterator[Any]:
    """Yield events up to the first task update to this state."""
    async for event in events:
        yield event
        if event.get("task_updated", {}).get("state") == state:
            return


async def test_a_stream_begins_with_the_cluster_and_ends_with_its_leader(demo: DemoCluster) -> None:
    """SUBSCRIBED carries GET_STATE; when another master is elected the stream ends."""
    state = await ask_json(demo, call="GET_STATE")
    async with httpx.AsyncClient() as client, client.stream("POST", f"{demo.mesos_urls[0]}/api/v1", json={"type": "SUBSCRIBE"}) as response:
        status, headers = headers_of("recorded/subscribe/response")
        assert (response.status_code, response.headers["content-type"]) == (status, headers["content-type"])
        assert response.headers["transfer-encoding"] == "chunked"
        events = records(response)
        first = await anext(events)
        assert first["subscribed"]["get_state"] == state["get_state"]
        assert first["subscribed"]["heartbeat_interval_seconds"] == 0.05
        demo.fail_over(None)
        assert {each["type"] async for each in events} <= {"HEARTBEAT"}


@pytest.mark.parametrize("name", ["state", "redirect", "not_found", "health", "version"])
async def test_statuses_and_headers_are_the_recorded_ones(demo: DemoCluster, name: str) -> None:
    """Status, Content-Type and the form of Location are as recorded; bodies of refusals to the letter."""
    paths = {"not_found": "/nope"}
    response = await ask(demo, paths.get(name, f"/{name}"), headers={"Accept-Encoding": "identity"})
    status, headers = headers_of(f"recorded/master/{name}")
    assert response.status_code == status
    assert set(response.headers) - PER_ANSWER == set(headers) - PER_ANSWER
    if "content-type" in headers:
        assert response.headers["content-type"] == headers["content-type"]
    if name == "redirect":
        assert response.headers["location"] == demo.mesos_urls[0].removeprefix("http:")
    if name == "not_found":
        assert response.text == text_of("recorded/master/not_found.txt")
        assert (await ask(demo, "/master/state.json")).text == text_of("recorded/master/master_state_dot_json.txt")


@pytest.mark.parametrize(
    ("name", "request_of"),
    [
        ("bad_content_type", {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
        ("bad_json", {"content": b"{oops", "headers": {"Content-Type": "application/json"}}),
        ("missing_body", {"json": {"type": "READ_FILE"}}),
        ("unknown_type", {"json": {"type": "GET_LUNCH"}}),
        ("get_method", {}),
    ],
)
async def test_operator_errors_are_the_recorded_ones(demo: DemoCluster, name: str, request_of: dict[str, Any]) -> None:
    """A call that cannot be answered gets the recorded status, headers and words."""
    async with httpx.AsyncClient(base_url=demo.mesos_urls[0]) as client:
        response = await client.request("POST" if request_of else "GET", "/api/v1", **request_of)
    status, headers = headers_of(f"recorded/operator_v1/error_{name}")
    assert response.status_code == status
    assert response.text == text_of(f"recorded/operator_v1/error_{name}.txt")
    assert {key: response.headers[key] for key in set(headers) - PER_ANSWER} == {k: v for k, v in headers.items() if k not in PER_ANSWER}


async def test_strangers_are_refused_as_recorded() -> None:
    """With credentials set, state and calls answer 401 with the recorded realms; health and version stay open."""
    async with DemoCluster(mesos_credentials=("octopus", "secret")) as demo:
        for name, asked in {"state_none": {}, "api_v1_GET_STATE_none": {"call": "GET_STATE"}, "health_none": {}}.items():
            response = await ask(demo, f"/{name.removesuffix('_none')}", **asked)
            status, headers = headers_of(f"recorded/auth/{name}")
            assert (response.status_code, response.text) == (status, text_of(f"recorded/auth/{name}.txt"))
            assert response.headers.get("www-authenticate") == headers.get("www-authenticate")
        assert (await ask(demo, "/state", auth=("octopus", "wrong"))).status_code == 401
        assert (await ask(demo, "/state", auth=("octopus", "secret"))).status_code == 200


async def test_large_bodies_are_compressed(demo: DemoCluster) -> None:
    """A body of 1 KiB or more is gzipped for a client that takes it, and only then."""
    assert (await ask(demo, "/state")).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in (await ask(demo, "/state", headers={"Accept-Encoding": "identity"})).headers
    assert "content-encoding" not in (await ask(demo, "/version")).headers


@pytest.mark.parametrize("size", ["small", "large"])
async def test_the_oldest_state_has_the_shape_of_0_22(size: str) -> None:
    """The state of 0.22 is that of real 0.22 masters: no executors, no use per agent, no container ids, counters at the top."""
    async with DemoCluster(mesos_version="0.22.0", marathon_version="0.8.2") as demo:
        await demo.add_agent("agent-1.example")
        demo.put_app("/hello", cmd="sleep 1", instances=3, cpus=0.1)
        demo.put_app("/silent", cmd="sleep 1", instances=3, cpus=0.1, ports=[])
        for app_id in ("/hello", "/silent"):
            demo.scale(app_id, 2)
        demo.mesos.reregister(demo.mesos.registry.agents.values())
        if size == "large":
            await demo.add_agent("agent-2.example")
        async with httpx.AsyncClient(base_url=demo.mesos_urls[0]) as client:
            assert (await client.get("/state")).status_code == 404
            ours = (await client.get("/state.json")).json()
    recorded = json_of(f"public/mesos/master-state-0.22.0-{size}.json")
    if size == "small":
        del ours["frameworks"][0]["completed_tasks"], recorded["frameworks"][0]["completed_tasks"]
        ours["frameworks"][0]["tasks"] = [each for each in ours["frameworks"][0]["tasks"] if each["name"] == "hello"]
    else:
        recorded["frameworks"] = [
            each for each in recorded["frameworks"] if each["name"].startswith("marathon") and each["completed_tasks"]
        ]
    lists = ("completed_frameworks", "unregistered_frameworks", "offers")  # nobody leaves the stand-in, and it offers nothing
    assert differences(without(recorded, *UNSERVED, *lists), without(ours, *UNSERVED, *lists)) == []


KEPT_BY_OTHERS = {"principal", "external_log_file", "reregistered_time", "cluster"}
"""Set by the clusters that were published (authentication, log files, a name), or not yet, as it happened."""

BUILT_BEFORE = {"1.2.0": {"port", "unreachable_slaves", "recovered_slaves", "unreachable_tasks"}}
"""The published 1.2.0 was built from an unreleased commit, before these came."""


@pytest.mark.parametrize(
    ("version", "marathon"), [("0.25.0", "0.13.0"), ("0.28.0", "0.15.0"), ("1.0.1", "1.1.0"), ("1.2.0", "1.3.0"), ("1.5.0", "1.5.0")]
)
async def test_states_between_have_the_keys_of_their_version(version: str, marathon: str) -> None:
    """The state itself, its agents and its frameworks have exactly the keys that published states of the version have."""
    names = {"1.0.1": "1.0.1-overlay"}
    published = json.loads(wire_data.mesos(f"master-state-{names.get(version, version)}.json"))
    async with DemoCluster(mesos_version=version, marathon_version=marathon) as demo:
        await demo.add_agent("agent-1.example")
        demo.put_app("/hello", cmd="sleep 1")
        ours = await ask_json(demo, "/state")
    marathons = [each for each in published["frameworks"] if each["name"] == "marathon"]
    for theirs, mine in ((published, ours), (published["slaves"][0], ours["slaves"][0]), (marathons[0], ours["frameworks"][0])):
        assert set(mine) ^ set(theirs) <= KEPT_BY_OTHERS | BUILT_BEFORE.get(version, set())
