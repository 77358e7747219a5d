"""The Marathon feed against Marathons of every kind: old, new, standing by, and broken."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from octopus.core.cluster import Cluster
from octopus.core.errors import BadUpstream, OctopusError, OrchestratorUnavailable
from octopus.core.inventory import Agent, Snapshot, Task
from octopus.demo.cluster import DemoCluster
from octopus.feeds.http import Http
from octopus.feeds.look_ups import LookUps
from octopus.feeds.marathon import MarathonFeed
from octopus.fleet.history import EventHistory
from tests.integration.http_peers import Asked, Handler, Peer, Wire, always, close_abruptly, peer, until

FRAMEWORK = "fw-1"
POD = {
    "id": "/ops/pod",
    "spec": {"labels": {}},
    "instances": [{"agentId": "S1", "containers": [{"containerId": "ops_pod.instance-1.main"}]}],
}


class Marathon:
    """What a pretended Marathon says; a test changes it."""

    def __init__(self, **paths: bytes) -> None:
        self.bodies = {
            "/v2/info": json.dumps({"frameworkId": FRAMEWORK}).encode(),
            "/v2/apps": b'{"apps":[{"id":"/a/b","labels":{"k":"v"}}]}',
            "/v2/tasks": b'{"tasks":[{"id":"a_b.1","appId":"/a/b","slaveId":"S1"}]}',
        }
        self.bodies.update({f"/v2/{name}": body for name, body in paths.items()})
        self.events: asyncio.Queue[bytes] | None = None
        self.credentials = ""

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        """Answer one request."""
        path = asked.path.partition("?")[0]
        if self.credentials and asked.headers.get("authorization") != self.credentials:
            await wire.answer(401)
        elif path == "/v2/events" and self.events is not None:
            assert asked.headers["accept"] == "text/event-stream"
            await wire.begin_chunked({"Content-Type": "text/event-stream"})
            while data := await self.events.get():
                await wire.chunk(data)
            close_abruptly(wire)
        elif path in self.bodies:
            assert asked.headers["accept"] == "application/json"
            await wire.answer(200, self.bodies[path])
        else:
            await wire.answer(404)


def cluster_with_task() -> Cluster:
    """Return a cluster with two tasks that wait for Marathon's word."""
    cluster = Cluster(marathon=True)
    tasks = [Task("a_b.1", FRAMEWORK, "S1", "TASK_RUNNING"), Task("ops_pod.instance-1.main", FRAMEWORK, "S1", "TASK_RUNNING")]
    cluster.replace(Snapshot(agents=[Agent("S1", "agent-1")], frameworks={FRAMEWORK: "marathon"}, tasks=tasks))
    return cluster


def confirmed(cluster: Cluster) -> set[str]:
    """Return the apps that are confirmed."""
    return {task.app for task in cluster.tasks if task.confirmed}


@contextlib.asynccontextmanager
async def feeding(cluster: Cluster, *urls: str, username: str = "", **options: Any) -> AsyncIterator[MarathonFeed]:
    """Give a feed that is quick; nothing runs by itself."""
    http = Http(username=username, password="secret" if username else "", read_timeout=options.pop("read_timeout", 5.0))
    quick: dict[str, Any] = {"poll_interval": 0.01, "debounce": 0.01}
    try:
        yield MarathonFeed(cluster, http, urls, **(quick | options))
    finally:
        await http.aclose()


@contextlib.asynccontextmanager
async def running(feed: MarathonFeed) -> AsyncIterator[None]:
    """Run the feed until the block is left."""
    task = asyncio.create_task(feed.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_apps_tasks_and_labels_are_read() -> None:
    """A Marathon without pods (before 1.4) confirms its tasks and gives their app's labels."""
    cluster = cluster_with_task()
    async with peer(Marathon()) as marathon, feeding(cluster, marathon.url) as feed:
        await feed.refresh()
        assert confirmed(cluster) == {"/a/b"}
        assert cluster.labels(cluster.tasks.running("a_b.1")[0]) == {"k": "v"}
        assert feed.status().source == marathon.url
        assert cluster.ready


@pytest.mark.parametrize("path", ["pods::status", "pods/::status"])
async def test_pods_are_read_where_there_are_any(path: str) -> None:
    """By either path that Marathons have had."""
    cluster = cluster_with_task()
    async with peer(Marathon(**{path: json.dumps([POD]).encode()})) as marathon, feeding(cluster, marathon.url) as feed:
        await feed.refresh()
    assert confirmed(cluster) == {"/a/b", "/ops/pod"}


async def test_the_next_url_is_tried_and_remembered() -> None:
    """A Marathon that answers 503 hands over to the next, which is asked first from then on."""
    cluster = cluster_with_task()
    async with peer(always(503)) as gone, peer(Marathon()) as alive, feeding(cluster, gone.url, alive.url) as feed:
        await feed.refresh()
        await feed.refresh()
        assert len(gone.asked) == 1
        assert confirmed(cluster) == {"/a/b"}


async def test_the_password_is_sent() -> None:
    """HTTP basic, and a wrong one is an error without the password in it."""
    cluster = cluster_with_task()
    guarded = Marathon()
    guarded.credentials = "Basic b2N0b3B1czpzZWNyZXQ="
    async with peer(guarded) as marathon:
        async with feeding(cluster, marathon.url, username="octopus") as feed:
            await feed.refresh()
        async with feeding(cluster, marathon.url, username="other") as feed:
            with pytest.raises(OrchestratorUnavailable, match=r"HTTP 401 \(wrong username or password\?\)") as caught:
                await feed.refresh()
    assert "secret" not in str(caught.value)


async def _cut(asked: Asked, wire: Wire) -> None:
    await wire.send(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"apps":[')
    close_abruptly(wire)


async def _hang(asked: Asked, wire: Wire) -> None:
    await asyncio.Event().wait()


async def _flood(asked: Asked, wire: Wire) -> None:
    await wire.begin_chunked()
    while True:
        await wire.chunk(b" " * 65536)


@pytest.mark.parametrize(
    "handler", [always(200, b"<html>"), always(200, b'{"message":"x"}'), always(500), always(404), _cut, _hang, _flood]
)
async def test_a_broken_marathon_changes_nothing(handler: Handler) -> None:
    """What it confirmed goes on being served."""
    cluster = cluster_with_task()
    async with peer(Marathon()) as marathon, feeding(cluster, marathon.url, read_timeout=0.3, max_body=1_000_000) as feed:
        await feed.refresh()
        marathon.handler = handler
        with pytest.raises((BadUpstream, OrchestratorUnavailable)):
            await feed.refresh()
        assert confirmed(cluster) == {"/a/b"}


async def test_all_answers_together_have_one_limit() -> None:
    """Two answers, each within it, are too much: memory is what is bounded."""
    cluster, says = cluster_with_task(), Marathon()
    for path, body in (("/v2/apps", b'{"apps":[]}'), ("/v2/tasks", b'{"tasks":[]}')):
        says.bodies[path] = body + b" " * 600_000
    async with peer(says) as marathon, feeding(cluster, marathon.url, max_body=1_000_000) as feed:
        with pytest.raises(BadUpstream, match="/v2/tasks"):
            await feed.refresh()


async def test_a_half_read_marathon_is_not_read() -> None:
    """Apps without tasks are no reading: all or nothing."""
    cluster = cluster_with_task()
    async with peer(Marathon(tasks=b"<html>")) as marathon, feeding(cluster, marathon.url) as feed:
        with pytest.raises(OctopusError):
            await feed.refresh()
    assert not cluster.ready


async def _event(events: asyncio.Queue[bytes], name: str) -> None:
    await events.put(f'event: {name}\ndata: {{"eventType": "{name}"}}\n\n'.encode())


def _readings(marathon: Peer) -> int:
    return marathon.paths().count("/v2/tasks")


async def test_an_event_brings_a_reading() -> None:
    """With events there is no polling: what changes is read when it is told, other events read nothing."""
    cluster, says = cluster_with_task(), Marathon()
    says.events = asyncio.Queue()
    async with peer(says) as marathon, feeding(cluster, marathon.url) as feed, running(feed):
        await until(lambda: feed._streaming and confirmed(cluster) == {"/a/b"})
        says.bodies["/v2/tasks"] = b'{"tasks":[]}'
        await _event(says.events, "health_status_changed_event")
        await _event(says.events, "status_update_event")
        await until(lambda: confirmed(cluster) == set())
        says.bodies["/v2/tasks"] = b'{"tasks":[{"id":"a_b.1","appId":"/a/b"}]}'
        await _event(says.events, "instance_changed_event")
        await until(lambda: confirmed(cluster) == {"/a/b"})


async def test_whoever_wants_to_hears_each_event() -> None:
    """Name and data, also of events that bring no reading; what they are is theirs to tell."""
    cluster, says, history = cluster_with_task(), Marathon(), EventHistory(lambda: 7.0)
    says.events = asyncio.Queue()
    async with peer(says) as marathon, feeding(cluster, marathon.url, hear=history.hear) as feed, running(feed):
        await until(lambda: feed._streaming)
        asked = next(path for path in marathon.paths() if path.startswith("/v2/events"))
        assert "event_type=unhealthy_task_kill_event" in asked
        await says.events.put(b'event: unhealthy_task_kill_event\r\ndata: {"appId":"/a/b","rea')
        await says.events.put(b'son":"503"}\r\n\r\n\r\nevent: framework_message_event\ndata: x\n\n')
        await _event(says.events, "deployment_success")
        await until(lambda: history.counts.total() == 2)
    assert [(event.name, event.apps, event.detail) for event in history.events] == [
        ("unhealthy_task_kill_event", ("/a/b",), "503"),
        ("deployment_success", (), ""),
    ]


@pytest.mark.parametrize("version", ["0.11.0", "1.3.0", "1.8.0"])
async def test_a_marathon_of_each_age_is_heard(version: str) -> None:
    """A task that fails and the deployment of an app, over the stand-in's stream, with the apps they are about."""
    history = EventHistory(time.time)
    async with DemoCluster(marathon_version=version, tick=0.02) as demo:
        await demo.add_agent("agent-1")
        async with feeding(Cluster(marathon=True), *demo.marathon_urls, hear=history.hear) as feed, running(feed):
            await until(lambda: feed._streaming)
            demo.put_app("/a", cmd="x", cpus=0.1, mem=10, instances=1)
            [task] = await demo.running("/a", 1)
            await until(lambda: history.counts["deployment_success"] == 1)
            demo.fail_task(task.id)
            await until(lambda: history.failures["TASK_FAILED"] == 1)
    ended = next(event for event in history.events if event.name == "deployment_success")
    failed = next(event for event in history.events if event.state == "TASK_FAILED")
    assert ended.apps == (("/a",) if version != "0.11.0" else ())
    assert (failed.apps, failed.task, failed.host) == (("/a",), task.id, "agent-1")


async def test_without_events_it_polls() -> None:
    """Marathon 0.8 has no stream; one that breaks is listened to again."""
    cluster, says = cluster_with_task(), Marathon()
    async with peer(says) as marathon, feeding(cluster, marathon.url) as feed, running(feed):
        await until(lambda: _readings(marathon) > 3)
        says.events = asyncio.Queue()
        await until(lambda: feed._streaming)
        await says.events.put(b"")
        await until(lambda: sum(path.startswith("/v2/events") for path in marathon.paths()) > 2)


async def test_a_marathon_that_dies_while_it_is_listened_to_is_missed_at_once() -> None:
    """The end of the stream brings a reading, though none was due for long: its failure shows."""
    cluster, says = cluster_with_task(), Marathon()
    says.events = asyncio.Queue()
    async with peer(says) as marathon, feeding(cluster, marathon.url, full_interval=1000.0) as feed, running(feed):
        await until(lambda: feed._streaming and confirmed(cluster) == {"/a/b"} and not feed._stale.is_set())
        marathon.handler = always(503)
        await says.events.put(b"")
        await until(lambda: bool(feed.status().error))


async def test_a_standby_sends_listeners_on() -> None:
    """From 1.7 it answers 302 with the leader's address."""
    cluster, says = cluster_with_task(), Marathon()
    says.events = asyncio.Queue()

    async with peer(says) as leader:

        async def standby(asked: Asked, wire: Wire) -> None:
            if asked.path.startswith("/v2/events"):
                await wire.answer(302, headers={"Location": f"{leader.url}{asked.path}"})
            else:
                await says(asked, wire)

        async with peer(standby) as other, feeding(cluster, other.url) as feed, running(feed):
            await until(lambda: feed._streaming)
            assert all(path.startswith("/v2/events") for path in leader.paths())


@pytest.mark.parametrize("location", ["", "http://[", "//127.0.0.1:99999/", "/v2/events", "ftp://x/", "//\\x/"])
async def test_a_listener_sent_nowhere_goes_on_polling(location: str) -> None:
    """A Location that is no place, or a circle, ends the listening and nothing else."""
    cluster, says = cluster_with_task(), Marathon()

    async def standby(asked: Asked, wire: Wire) -> None:
        if asked.path.startswith("/v2/events"):
            await wire.answer(302, headers={"Location": location})
        else:
            await says(asked, wire)

    async with peer(standby) as marathon, feeding(cluster, marathon.url) as feed, running(feed):
        await until(lambda: sum(path.startswith("/v2/events") for path in marathon.paths()) > 1 and _readings(marathon) > 2)
        assert confirmed(cluster) == {"/a/b"}


async def test_it_goes_and_comes_back() -> None:
    """While it is gone its age grows and what is known is served."""
    cluster, says = cluster_with_task(), Marathon()
    async with peer(says) as marathon, feeding(cluster, marathon.url) as feed, running(feed):
        await until(lambda: confirmed(cluster) == {"/a/b"})
        marathon.handler = always(503)
        await until(lambda: bool(feed.status().error))
        assert confirmed(cluster) == {"/a/b"}
        marathon.handler = says
        await until(lambda: not feed.status().error)


async def test_a_task_is_confirmed_by_one_reading() -> None:
    """A look-up reads once; a confirmed task costs nothing, a miss is remembered, and a dead Marathon is a no."""
    cluster, says = cluster_with_task(), Marathon()
    async with peer(says) as marathon, feeding(cluster, marathon.url, look_ups=LookUps(timeout=0.3)) as feed:
        assert await feed.look_up("a_b.1")
        readings = _readings(marathon)
        assert await feed.look_up("a_b.1")
        assert _readings(marathon) == readings
        for _ in range(3):
            assert not await feed.look_up("nothing")
        assert _readings(marathon) == readings + 1
        marathon.handler = _hang
        assert not await feed.look_up("other")


def test_a_marathon_needs_a_url() -> None:
    """None is a mistake of whoever builds it."""
    with pytest.raises(ValueError, match="URL"):
        MarathonFeed(Cluster(), None, [])  # type: ignore[arg-type]
