"""The leader is found in a real ZooKeeper, and found again when it changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from kazoo.client import KazooClient

from octopus.core.errors import BadUpstream, OrchestratorUnavailable
from octopus.feeds.zookeeper import ZooKeeperMasters
from tests.parts.zookeeper import ZooKeeper


@pytest.fixture
def tree(zookeeper: ZooKeeper) -> Iterator[KazooClient]:
    """Give a client that writes what masters would, under /mesos."""
    client = KazooClient(hosts=zookeeper.hosts)
    client.start()
    client.ensure_path("/mesos")
    yield client
    client.delete("/mesos", recursive=True)
    client.stop()
    client.close()


@pytest.fixture
async def masters(zookeeper: ZooKeeper) -> AsyncIterator[ZooKeeperMasters]:
    """Give the masters of that ZooKeeper."""
    found = ZooKeeperMasters(f"zk://127.0.0.1:1,{zookeeper.hosts}/mesos", timeout=10.0)
    yield found
    await found.aclose()


def _node(port: int) -> bytes:
    return json.dumps({"pid": f"master@127.0.0.1:{port}", "address": {"ip": "127.0.0.1", "port": port}}).encode()


async def test_the_lowest_number_leads_and_a_change_is_told(tree: KazooClient, masters: ZooKeeperMasters) -> None:
    """Old and new nodes side by side; when the leader goes, ``changed`` is set and the next one is found."""
    await asyncio.to_thread(tree.create, "/mesos/log_replicas", b"")
    await asyncio.to_thread(tree.create, "/mesos/json.info_0000000007", _node(5057))
    old = b"\x0a\x01x\x10\xff\xff\x03\x18\xbc\x27\x22\x15master@127.0.0.1:5056"
    await asyncio.to_thread(tree.create, "/mesos/info_0000000003", old)
    assert await masters.candidates() == ("http://127.0.0.1:5056",)
    assert masters.trusted("http://127.0.0.1:5056/state")
    assert not masters.trusted("http://127.0.0.1:5057/state")
    masters.changed.clear()
    await asyncio.to_thread(tree.delete, "/mesos/info_0000000003")
    async with asyncio.timeout(10):
        await masters.changed.wait()
    assert await masters.candidates() == ("http://127.0.0.1:5057",)
    assert masters.trusted("http://127.0.0.1:5056/state")


async def test_no_leader_and_garbage_are_errors_of_ours(tree: KazooClient, masters: ZooKeeperMasters) -> None:
    """No node, no such path, and a node that holds nonsense."""
    with pytest.raises(OrchestratorUnavailable, match="no master leads"):
        await masters.candidates()
    await asyncio.to_thread(tree.create, "/mesos/json.info_0000000001", b"<html>")
    with pytest.raises(BadUpstream):
        await masters.candidates()


async def test_a_missing_path_has_no_leader(zookeeper: ZooKeeper) -> None:
    """Masters that never started left no path."""
    masters = ZooKeeperMasters(f"zk://{zookeeper.hosts}/nowhere")
    with pytest.raises(OrchestratorUnavailable, match="no master leads"):
        await masters.candidates()
    await masters.aclose()


async def test_when_zookeeper_goes_the_last_leader_is_what_is_known() -> None:
    """A ZooKeeper that dies takes nothing that was known with it; one that never was is unavailable."""
    with ZooKeeper() as server:
        client = KazooClient(hosts=server.hosts)
        await asyncio.to_thread(client.start)
        await asyncio.to_thread(client.create, "/mesos/json.info_0000000001", _node(5055), makepath=True)
        await asyncio.to_thread(client.stop)
        await asyncio.to_thread(client.close)
        masters = ZooKeeperMasters(f"zk://{server.hosts}/mesos", timeout=2.0)
        assert await masters.candidates() == ("http://127.0.0.1:5055",)
        hosts = server.hosts
    assert await masters.candidates() == ("http://127.0.0.1:5055",)
    await masters.aclose()
    nobody = ZooKeeperMasters(f"zk://{hosts}/mesos", timeout=1.0)
    with pytest.raises(OrchestratorUnavailable, match="ZooKeeper"):
        await nobody.candidates()
    await nobody.aclose()


@pytest.mark.parametrize("address", ["", "http://x", "zk://", "zk:///mesos"])
def test_an_address_has_a_form(address: str) -> None:
    """Anything else is refused when it is given."""
    with pytest.raises(ValueError, match="zk://"):
        ZooKeeperMasters(address)
