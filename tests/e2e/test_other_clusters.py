"""The same gateway before other clusters: a plain engine, engines behind SSH, ZooKeeper, standby masters, the oldest Mesos and Marathon."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from kazoo.client import KazooClient

from octopus.demo.cluster import DemoCluster
from tests.e2e.gateway import Gateway, Sections
from tests.e2e.scene import AGENTS, Scene, behind, cluster, gateway_for, launch, on, own_socket
from tests.parts.sshd import Sshd
from tests.parts.zookeeper import ZooKeeper

pytestmark = pytest.mark.asyncio(loop_scope="session")

USERS: Sections = {"auth.users": {"file": "users.toml"}}


@asynccontextmanager
async def before(scene: Scene, *sections: Sections) -> AsyncIterator[Gateway]:
    """Run a gateway that knows people by a file."""
    async with gateway_for(scene.people, USERS, *sections) as running:
        yield running


def local(scene: Scene) -> Sections:
    """Return how the first agent's engine is reached by its unix socket."""
    return {"docker": {"url": own_socket(scene.engines[0]).url}}


async def test_containers_of_a_plain_engine(scene: Scene) -> None:
    """Without Mesos the containers of one engine are the targets, by name or a start of their id, from start to end of each."""
    inventory: Sections = {"docker": {"url": own_socket(scene.engines[0]).url, "inventory": True}, "policy": [ANYTHING]}
    async with before(scene, inventory) as running:
        key = scene.people.alice.key
        with scene.engines[0].container(["sleep", "86400"], name="e2e-plain", hostname="plain-host") as container:
            await running.serves("e2e-plain", key=key)
            for name in ("e2e-plain", container, container[:12], "alice+e2e-plain"):
                assert (await running.ssh.run(name, "hostname", key=key)).stdout == b"plain-host\n", name
            chapter = running.trail.from_now()
            assert (await running.ssh.run("e2e-plain", "true", key=key)).status == 0
            assert (await chapter.session()).end["target"]["container"] == container
        while (ended := await running.ssh.run("e2e-plain", "true", key=key)).status == 69:
            pass
        assert ended.status == 68


ANYTHING = {"users": ["alice"], "apps": ["**"], "allow": ["shell", "exec"]}


async def test_engine_behind_ssh(scene: Scene, sshd: Sshd) -> None:
    """An engine is entered through the agent's own sshd, with half-close and status as anywhere."""
    path = own_socket(scene.engines[0]).url.removeprefix("unix://")
    url = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}{path}"
    tunnel: Sections = {"docker": {"url": url, "ssh_key": str(sshd.key), "ssh_known_hosts": str(sshd.known_hosts)}}
    async with before(scene, behind(scene.cluster), tunnel) as running:
        await running.serves("web_front", key=scene.people.alice.key)
        ended = await running.ssh.run("web_front", "wc -c; exit 4", key=scene.people.alice.key, stdin=b"x" * 3_000_000)
        assert (ended.status, ended.stdout.strip()) == (4, b"3000000")


async def test_masters_by_zookeeper_and_a_new_leader(scene: Scene, zookeeper: ZooKeeper) -> None:
    """The leader is found in ZooKeeper; when another takes over, known tasks are served throughout and new ones are found."""
    async with cluster(scene.engines[:1], local=True, masters=2, name="zk") as demo:
        await launch(demo, "/zk/app", **on(1))
        kazoo = KazooClient(hosts=zookeeper.hosts)
        kazoo.start()
        try:
            elect(kazoo, demo, 0)
            masters: Sections = {"mesos": {"zk": f"zk://{zookeeper.hosts}/mesos"}}
            by_marathon: Sections = {"marathon": {"urls": demo.marathon_urls}, "policy": [ANYTHING]}
            async with before(scene, masters, by_marathon, local(scene)) as running:
                await running.serves("zk_app", key=scene.people.alice.key)
                elect(kazoo, demo, 1)
                demo.fail_over(1)
                assert (await running.ssh.run("zk_app", "true", key=scene.people.alice.key)).status == 0
                await launch(demo, "/zk/later", **on(1))
                await running.serves("zk_later", key=scene.people.alice.key)
        finally:
            kazoo.stop()
            kazoo.close()


def elect(kazoo: KazooClient, demo: DemoCluster, number: int) -> None:
    """Leave word of a leading master as Mesos does: the lowest ``json.info_`` node leads."""
    master = demo.mesos.masters[number]
    if kazoo.exists("/mesos"):
        kazoo.delete("/mesos", recursive=True)
    described = {"address": {"hostname": master.host, "ip": master.host, "port": master.port}, "id": master.id}
    kazoo.create("/mesos/json.info_", json.dumps(described).encode(), sequence=True, makepath=True)


async def test_standby_first_in_the_list(scene: Scene) -> None:
    """A standby master at the head of the list leads to the one that leads, also after it changed."""
    async with cluster(scene.engines[:1], local=True, masters=3, name="standby") as demo:
        demo.fail_over(2)
        await launch(demo, "/standby/app", **on(1))
        async with before(scene, behind(demo), local(scene), {"policy": [ANYTHING]}) as running:
            await running.serves("standby_app", key=scene.people.alice.key)
            demo.fail_over(0)
            await launch(demo, "/standby/later", **on(1))
            await running.serves("standby_later", key=scene.people.alice.key)


async def test_oldest_mesos_and_marathon(scene: Scene) -> None:
    """Mesos 0.22 and Marathon 0.8, whose answers and container names are others, are entered all the same."""
    async with cluster(scene.engines[:1], local=True, mesos_version="0.22.0", marathon_version="0.8.1", name="old") as demo:
        [task] = await launch(demo, "/old/app", **on(1))
        async with before(scene, behind(demo), local(scene), {"policy": [ANYTHING]}) as running:
            await running.serves("old_app", key=scene.people.alice.key)
            ended = await running.ssh.run(task.id, "echo $MESOS_TASK_ID", key=scene.people.alice.key)
            assert ended.stdout.decode().strip() == task.id
            found = await running.ssh.run(f"old_app@{AGENTS[0]}", "true", key=scene.people.alice.key)
            assert found.status == 0
