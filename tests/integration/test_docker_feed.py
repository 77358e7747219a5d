"""The containers of a real engine are targets, by name and by id."""

from __future__ import annotations

from typing import Any

import pytest

from octopus.control.resolver import ClusterResolver
from octopus.core.cluster import Cluster
from octopus.core.errors import BadUpstream, NoSuchTarget, OrchestratorUnavailable
from octopus.core.names import parse_target
from octopus.core.types import EngineAddress
from octopus.feeds.docker import DockerFeed, snapshot_of
from octopus.feeds.look_ups import LookUps
from tests.integration.http_peers import always, peer
from tests.parts.engines import Engine


async def test_running_containers_are_targets(docker_engine: Engine) -> None:
    """By name, id and start of the id; a new one by one look-up; a stopped one is gone."""
    cluster = Cluster()
    feed = DockerFeed(cluster, docker_engine.address, hostname="here", look_ups=LookUps(burst=2))
    resolver = ClusterResolver(cluster, engine_address=lambda hostname, ip: docker_engine.address, look_ups=[feed.look_up])
    try:
        with docker_engine.container(["sleep", "1000"], name="feeds-one", labels={"OWNER": "ops"}) as one:
            await feed.refresh()
            for typed in ("feeds-one", one, one[:12], "feeds-one@here"):
                target = await resolver.resolve(parse_target(typed), lambda app, labels: app.startswith("feeds-"))
                assert (target.app, target.task, target.clue.engine_id, target.agent) == ("feeds-one", one, one, "here")
            assert target.labels["OWNER"] == "ops"
            with docker_engine.container(["sleep", "1000"], name="feeds-two") as two:
                target = await resolver.resolve(parse_target("feeds-two"), lambda app, labels: app.startswith("feeds-"))
                assert target.task == two
                assert await feed.look_up("feeds-two") in {True, False}
        await feed.refresh()
        with pytest.raises(NoSuchTarget):
            await resolver.resolve(parse_target("feeds-one"), lambda app, labels: app.startswith("feeds-"))
        assert feed.status().error == ""
    finally:
        await feed.aclose()


# The SDK leaves its socket to the garbage collector when a unix socket is not there.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("unix:///nowhere/docker.sock", "unix:///nowhere/docker.sock: No such file or directory"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1: Connection refused"),
        ("https://127.0.0.1:1", "https://127.0.0.1:1: "),
        ("ssh://127.0.0.1", "an inventory is read over unix, http or https"),
        ("nonsense://x", "nonsense://x: "),
    ],
)
async def test_an_engine_that_is_not_there_is_unavailable(url: str, why: str) -> None:
    """Whatever the SDK raises leaves the feed as ours, with what the system said, and a look-up is a no."""
    feed = DockerFeed(Cluster(), EngineAddress(url=url), timeout=2.0)
    with pytest.raises(OrchestratorUnavailable) as caught:
        await feed.refresh()
    assert why in str(caught.value)
    assert not await feed.look_up("x")
    assert not await feed.look_up("x")
    await feed.aclose()


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'"x"', b"", b"[" * 100_000])
async def test_an_engine_that_answers_garbage_changes_nothing(body: bytes) -> None:
    """Neither the version nor the list can be taken on trust."""
    cluster = Cluster()
    async with peer(always(200, body)) as engine:
        feed = DockerFeed(cluster, EngineAddress(url=engine.url), timeout=2.0)
        with pytest.raises((BadUpstream, OrchestratorUnavailable)):
            await feed.refresh()
        await feed.aclose()
    assert not cluster.ready


def test_entries_of_another_shape_are_skipped() -> None:
    """A container's own name is the one without links in it; ports are those on the host."""
    listed: list[Any] = [
        {
            "Id": "1" * 64,
            "Names": ["/other/alias", "/web"],
            "State": "running",
            "Created": 5,
            "Ports": [{"PublicPort": 80}, {"PrivatePort": 1}],
        },
        {"Id": "2" * 64, "Names": [], "State": "running"},
        {"Id": "3" * 64, "Names": ["/gone"], "State": "exited"},
        {"Id": 4},
        None,
    ]
    snapshot = snapshot_of(listed, "here", "test")
    (task,) = snapshot.tasks
    assert (task.app, task.ports, task.started, task.confirmed) == ("web", (80,), 5.0, True)
    assert snapshot.skipped == 2
    with pytest.raises(BadUpstream):
        snapshot_of({"message": "x"}, "here", "test")
