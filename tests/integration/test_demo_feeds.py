"""Both feeds and the resolver against the stand-in cluster, of old and new versions, while things happen in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from octopus.control.resolver import ClusterResolver
from octopus.core.cluster import Cluster
from octopus.core.errors import NoSuchTarget
from octopus.core.names import parse_target
from octopus.core.types import EngineAddress, Target
from octopus.demo.cluster import DemoCluster
from octopus.feeds.agents import AgentStates
from octopus.feeds.health import Backoff
from octopus.feeds.http import Http
from octopus.feeds.marathon import MarathonFeed
from octopus.feeds.masters import ListedMasters
from octopus.feeds.mesos import MesosFeed
from tests.integration.http_peers import until

VERSIONS = [("0.22.0", "0.8.1"), ("0.28.0", "0.11.0"), ("1.1.0", "1.3.0"), ("1.5.0", "1.5.0"), ("1.11.0", "1.11.0")]


@dataclass
class Ground:
    """A stand-in cluster, what the feeds know of it, and the resolver over that."""

    demo: DemoCluster
    cluster: Cluster
    mesos: MesosFeed
    marathon: MarathonFeed
    resolver: ClusterResolver

    async def resolve(self, text: str) -> Target:
        """Resolve for somebody who may see every app of Marathon."""
        return await self.resolver.resolve(parse_target(text), lambda app, labels: app.startswith("/"))

    def instances(self, app: str) -> list[str]:
        """Return the ids of an app's tasks that run and are confirmed."""
        return [task.id for task in self.cluster.tasks.of_app(app) if task.confirmed]

    def apps(self) -> list[str]:
        """Return the confirmed apps that run."""
        return sorted({task.app for task in self.cluster.tasks if task.running and task.confirmed})


@contextlib.asynccontextmanager
async def ground(mesos_version: str, marathon_version: str, masters: int = 1) -> AsyncIterator[Ground]:
    """Give a cluster of these versions, guarded by passwords, with the feeds running."""
    guarded = mesos_version >= "1.2"
    demo = DemoCluster(
        mesos_version=mesos_version,
        marathon_version=marathon_version,
        masters=masters,
        mesos_credentials=("octopus", "secret") if guarded else None,
        marathon_credentials=("octopus", "secret"),
        tick=0.02,
    )
    async with demo, contextlib.AsyncExitStack() as stack:
        https = [Http(username="octopus", password="secret") for _ in range(2)] + [Http()]
        for http in https:
            stack.push_async_callback(http.aclose)
        cluster = Cluster(marathon=True)
        mesos = MesosFeed(cluster, https[0], ListedMasters(demo.mesos_urls), poll_interval=0.05, backoff=Backoff(first=0.02, longest=0.1))
        marathon = MarathonFeed(cluster, https[1], demo.marathon_urls, poll_interval=0.05, debounce=0.01)
        resolver = ClusterResolver(
            cluster,
            engine_address=lambda hostname, ip: EngineAddress(url=f"https://{hostname}:2376"),
            look_ups=(mesos.look_up, marathon.look_up),
            agent_container_id=AgentStates(https[2]).container_id,
        )
        running = [asyncio.create_task(feed.run()) for feed in (mesos, marathon)]
        try:
            yield Ground(demo, cluster, mesos, marathon, resolver)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize(("mesos_version", "marathon_version"), VERSIONS)
async def test_a_task_of_any_version_resolves_to_its_container(mesos_version: str, marathon_version: str) -> None:
    """App by Marathon, agent and container by Mesos: from the master, or from the agent where the master does not say it."""
    async with ground(mesos_version, marathon_version) as here:
        await here.demo.add_agent("agent-1.example")
        here.demo.put_app("/logging/logstash", cmd="sleep 100", instances=1, labels={"OWNER": "ops"})
        (task,) = await here.demo.running("/logging/logstash", 1)
        await until(lambda: here.apps() == ["/logging/logstash"])
        target = await here.resolve("logging_logstash")
        assert (target.app, target.task, target.agent) == ("/logging/logstash", task.id, "agent-1.example")
        assert target.clue.container_id == task.container_id
        assert target.labels == {"OWNER": "ops"}


@pytest.mark.parametrize(("mesos_version", "marathon_version"), [VERSIONS[0], VERSIONS[-1]])
async def test_a_life_is_followed(mesos_version: str, marathon_version: str) -> None:
    """Scaled up and down, an agent gone and its tasks with it, a new one joined."""
    async with ground(mesos_version, marathon_version) as here:
        for number in (1, 2):
            await here.demo.add_agent(f"agent-{number}.example")
        here.demo.put_app("/web/front", cmd="sleep 100", instances=3)
        await here.demo.running("/web/front", 3)
        await until(lambda: len(here.instances("/web/front")) == 3)
        here.demo.scale("/web/front", 1)
        await here.demo.running("/web/front", 1)
        await until(lambda: len(here.instances("/web/front")) == 1)
        old = await here.resolve("web_front")
        await here.demo.remove_agent(old.agent)
        await until(lambda: here.instances("/web/front") not in ([], [old.task]))
        assert (await here.resolve("web_front")).agent != old.agent
        assert await here.resolver.replacement(old) != ""
        with pytest.raises(NoSuchTarget):
            await here.resolve(old.task)


@pytest.mark.parametrize("version", ["0.22.0", "1.11.0"])
async def test_another_master_takes_over(version: str) -> None:
    """A standby that answers with an empty state (0.22) or sends us on (1.x), and agents that come back late: no task is lost."""
    async with ground(version, "1.11.0" if version >= "1" else "0.8.1", masters=3) as here:
        await here.demo.add_agent("agent-1.example")
        here.demo.put_app("/logging/logstash", cmd="sleep 100")
        await here.demo.running("/logging/logstash", 1)
        await until(lambda: here.apps() == ["/logging/logstash"])
        here.demo.fail_over(2, reregister=False)
        await until(lambda: here.mesos.status().source == here.demo.mesos_urls[2])
        assert here.apps() == ["/logging/logstash"]
        assert not here.mesos.status().complete
        assert (await here.resolve("logging_logstash")).agent == "agent-1.example"
        here.demo.reregister()
        await until(lambda: here.mesos.status().complete)
        assert here.apps() == ["/logging/logstash"]


async def test_when_all_are_gone_what_is_known_is_served() -> None:
    """Masters and Marathon stopped: names go on resolving and the age says how old that is."""
    async with ground("1.11.0", "1.11.0") as here:
        await here.demo.add_agent("agent-1.example")
        here.demo.put_app("/logging/logstash", cmd="sleep 100")
        await here.demo.running("/logging/logstash", 1)
        await until(lambda: here.apps() == ["/logging/logstash"])
        await here.demo.stop_master(0)
        await here.demo.stop_marathon(0)
        await until(lambda: bool(here.mesos.status().error and here.marathon.status().error))
        assert (await here.resolve("logging_logstash")).app == "/logging/logstash"
        assert here.mesos.status().age >= 0
        await here.demo.start_master(0)
        here.demo.fail_over(0)
        await until(lambda: not here.mesos.status().error)
