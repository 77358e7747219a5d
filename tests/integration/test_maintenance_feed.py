"""The plan of maintenance is read from the leader, and nothing a master does ends that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from octopus.core.cluster import Cluster
from octopus.core.inventory import Agent, Snapshot
from octopus.demo.cluster import DemoCluster
from octopus.feeds.http import Http
from octopus.feeds.maintenance import MaintenanceFeed
from octopus.feeds.masters import ListedMasters
from tests.integration.http_peers import always, peer, until

AWAY = b'{"windows":[{"machine_ids":[{"hostname":"a","ip":"10.0.0.1"}],"unavailability":{"start":{"nanoseconds":0}}}]}'


def cluster() -> Cluster:
    """Return a cluster of one agent."""
    made = Cluster()
    made.replace(Snapshot(agents=[Agent("1", "a", "10.0.0.1")]), 1.0)
    return made


@contextlib.asynccontextmanager
async def feeding(into: Cluster, *urls: str) -> AsyncIterator[MaintenanceFeed]:
    """Give a feed that is quick; nothing runs by itself."""
    http = Http(read_timeout=5.0)
    try:
        yield MaintenanceFeed(into, http, ListedMasters(urls), interval=0.01)
    finally:
        await http.aclose()


async def test_the_plan_marks_agents_until_it_is_another() -> None:
    """Read again and again; the next master is asked where one does not answer."""
    into = cluster()
    async with peer(always(503)) as down, peer(always(200, AWAY)) as leader, feeding(into, down.url, leader.url) as feed:
        running = asyncio.create_task(feed.run())
        await until(lambda: into.agents["1"].maintenance)
        leader.handler = always(200, b"{}")
        await until(lambda: not into.agents["1"].maintenance)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


@pytest.mark.parametrize(("status", "body", "kept"), [(404, b"", False), (503, b"", True), (401, b"", True), (200, b"<html>", True)])
async def test_what_is_known_is_kept_while_it_cannot_be_read(status: int, body: bytes, kept: bool) -> None:
    """An old Mesos has no plan; one that fails, or is broken, has the one of before."""
    into = cluster()
    async with peer(always(200, AWAY)) as leader, feeding(into, leader.url) as feed:
        await feed.refresh()
        leader.handler = always(status, body)
        await feed.refresh()
        await feed.refresh()
    assert into.agents["1"].maintenance is kept


@pytest.mark.parametrize("version", ["0.22.0", "0.28.0", "1.11.0"])
async def test_a_master_without_a_plan_is_no_fault(version: str) -> None:
    """Also by way of a standby, as each version sends us on."""
    into = cluster()
    async with DemoCluster(mesos_version=version, masters=2) as demo, feeding(into, *reversed(demo.mesos_urls)) as feed:
        await feed.refresh()
    assert not into.agents["1"].maintenance
