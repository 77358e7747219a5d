"""UNIQUE apps against the stand-in Mesos and Marathon over HTTP: the verbs, the daemon in each mode, and two of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from octopus import unique_report
from octopus.building import Sources, sources
from octopus.config import Config, load
from octopus.core.unique_actions import Did
from octopus.demo.cluster import DemoCluster
from octopus.demo.resources import Resources
from octopus.fleet.unique_scaler import UniqueScaler
from tests.integration.http_peers import until
from tests.parts.fleet import FakeTrail
from tests.parts.zookeeper import ZooKeeper

APP = "/ops/statsd"
STATSD: dict[str, Any] = {"cmd": "sleep 1", "cpus": 1, "mem": 64, "instances": 2, "constraints": [["hostname", "UNIQUE"]]}
RFC_3339 = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z"
HEKA: dict[str, Any] = {**STATSD, "cpus": 3}
VERSIONS = [("0.22.0", "0.8.1"), ("1.1.0", "1.3.0"), ("1.11.0", "1.8.0"), ("1.11.0", "1.11.0")]


@dataclass
class Ground:
    """A stand-in cluster of three agents, four CPUs each, and a configuration that names it."""

    demo: DemoCluster
    config: Path

    async def octopus(self, *arguments: str) -> tuple[int, str, str]:
        """Run a verb; return its exit status and what it wrote."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", "from octopus.cli import main; main()", *arguments, "--config", str(self.config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(os.environ),
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def join(self, name: str, cpus: float = 4.0) -> None:
        """Let an agent join."""
        await self.demo.add_agent(name, resources=Resources(cpus, 4096.0, 10240.0, 0.0, ((31000, 31099),)))

    async def run(self, app: str, definition: dict[str, Any]) -> None:
        """Let an app run."""
        self.demo.put_app(app, **definition)
        await self.demo.running(app, definition["instances"])

    def settled(self) -> bool:
        """Tell whether no deployment is under way."""
        return not self.demo.marathon.deployments


@contextlib.asynccontextmanager
async def ground(directory: Path, mesos: str = "1.11.0", marathon: str = "1.8.0", **keys: object) -> AsyncIterator[Ground]:
    """Give a cluster in which statsd runs on two of three agents."""
    async with DemoCluster(mesos_version=mesos, marathon_version=marathon, tick=0.02) as demo:
        there = Ground(demo, directory / "octopus.toml")
        for name in ("agent-1", "agent-2", "agent-3"):
            await there.join(name)
        await there.run(APP, STATSD)
        (directory / "users.toml").touch(mode=0o600)
        told = {"settle_time": "0", "interval": "1s", **keys}
        there.config.write_text(
            f'[ssh]\nhost_keys = "keys"\nruntime_directory = "run"\n[audit]\ndirectory = "."\n[auth.users]\nfile = "users.toml"\n'
            f"[mesos]\nmasters = {json.dumps(demo.mesos_urls)}\n[marathon]\nurls = {json.dumps(demo.marathon_urls)}\n"
            f'[docker]\nurl = "unix:///nowhere"\n[[policy]]\nusers = ["al"]\napps = ["/**"]\nallow = ["shell"]\n[unique]\n'
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in told.items())
        )
        await until(there.settled)
        yield there


@dataclass
class Daemon:
    """A daemon as the gateway has it, its feeds and its trail; nothing runs by itself."""

    scaler: UniqueScaler
    feeds: Sources
    trail: FakeTrail

    async def look(self) -> None:
        """Let the feeds read, and the daemon look."""
        for feed in self.feeds.feeds:
            await feed.refresh()
        await self.scaler.look()

    def told(self, event: str) -> list[tuple[str, str]]:
        """Return app and reason of the events of one name."""
        return [(each.target["app"], each.data["why"]) for each in self.trail.events if each.event == event]


@contextlib.asynccontextmanager
async def daemon(config: Config) -> AsyncIterator[Daemon]:
    """Give a daemon, put together as the gateway does it."""
    async with contextlib.AsyncExitStack() as stack:
        feeds, trail = sources(config, stack), FakeTrail()
        made = unique_report.daemon(config, feeds, trail, stack)
        assert made is not None
        yield Daemon(made, feeds, trail)


@pytest.mark.parametrize(("mesos", "marathon"), VERSIONS)
async def test_where_apps_lack_an_instance(tmp_path: Path, mesos: str, marathon: str) -> None:
    """statsd lacks one that would fit; heka, on two, lacks one that does not, for the reason told. No gateway runs."""
    async with ground(tmp_path, mesos, marathon) as there:
        await there.join("agent-4", cpus=1.5)
        await there.run("/ops/heka", {**HEKA, "instances": 3})
        status, out, err = await there.octopus("unique")
        assert (status, err) == (0, "")
        assert f"{APP}\t2\t" in out
        assert "app\tagent\tstate\treason\tbecause\n" in out
        assert "/ops/heka\tagent-4\tblocked\tInsufficientCpus\tneeds 3 cpus" in out
        found = json.loads((await there.octopus("unique", "--json"))[1])
        assert (found["complete"], re.fullmatch(RFC_3339, found["time"]) is not None) == (True, True)
        [heka, statsd] = found["apps"]
        assert (heka["app"], heka["counts"]["running"], heka["counts"]["blocked"], heka["step"]["verdict"]) == (
            "/ops/heka",
            3,
            1,
            "nothing",
        )
        assert (statsd["app"], statsd["counts"]["running"], statsd["step"]["verdict"]) == (APP, 2, "scale")
        assert statsd["counts"]["running"] + statsd["counts"]["missing"] + statsd["counts"]["blocked"] == 4
        one = json.loads((await there.octopus("unique", "--app", "ops/heka", "--json"))[1])
        assert [each["app"] for each in one["apps"]] == ["/ops/heka"]


async def test_what_the_verb_cannot_tell(tmp_path: Path) -> None:
    """An app that is none is 68, a cluster without any a sentence, one without Marathon 78."""
    async with ground(tmp_path, apps=["/none/**"]) as there:
        assert await there.octopus("unique") == (0, "no app is one on each host (UNIQUE), or [unique] follows none\n", "")
        status, out, err = await there.octopus("unique", "--app", "/x\x1b[31m")
        assert (status, out) == (68, "")
        assert "is no UNIQUE app that [unique] follows" in err
        assert "\x1b" not in err
        text = there.config.read_text()
        there.config.write_text(text[: text.index("[marathon]")] + text[text.index("[docker]") :])
        assert (await there.octopus("unique"))[0] == 78


async def test_scaling_needs_a_gateway(tmp_path: Path) -> None:
    """Nobody else may write: without a running one it is 69, in one clear line."""
    async with ground(tmp_path) as there:
        status, out, err = await there.octopus("unique", "scale", APP)
        assert (status, out, err.count("\n")) == (69, "", 1)
        assert "no gateway runs with this configuration" in err
        assert there.demo.marathon.apps[APP].instances == 2


@pytest.mark.parametrize(("mesos", "marathon"), VERSIONS)
async def test_an_agent_joins_and_each_app_that_fits_is_scaled_once(tmp_path: Path, mesos: str, marathon: str) -> None:
    """What fits is scaled by one; what does not is told once, with the reason; old and new Marathons alike."""
    async with ground(tmp_path, mesos, marathon, mode="apply") as there, daemon(load(there.config)) as one:
        there.demo.scale(APP, 3)
        await there.run("/ops/heka", {**HEKA, "instances": 3})
        await until(there.settled)
        await one.look()
        assert one.trail.events == []
        await there.join("agent-4", cpus=1.5)
        for _ in range(3):
            await one.look()
            await until(there.settled)
        assert len(await there.demo.running(APP, 4)) == 4
        assert there.demo.marathon.apps["/ops/heka"].instances == 3
        assert one.told("unique.scaled") == [(APP, "1 more would find a host")]
        refused = one.told("unique.refused")
        assert {app for app, _ in refused} == {"/ops/heka"}
        assert refused[0][1].startswith("agent-4: needs 3 cpus")
        assert one.scaler.counters.failures == {}


async def test_an_agent_leaves_and_comes_back_during_a_master_change(tmp_path: Path) -> None:
    """Nothing is scaled in either direction, whenever one looks; afterwards all is as it was."""
    async with ground(tmp_path, mode="apply") as there, daemon(load(there.config)) as one:
        there.demo.scale(APP, 3)
        await there.demo.running(APP, 3)
        await until(there.settled)
        await one.look()
        there.demo.agent_unreachable("agent-3")
        await one.look()
        there.demo.fail_over(0, reregister=False)
        there.demo.reregister("agent-1")
        await one.look()
        assert one.scaler.judgement.complete is False
        there.demo.reregister("agent-2")
        await one.look()
        there.demo.agent_return("agent-3")
        await one.look()
        await there.demo.running(APP, 3)
        await one.look()
        assert there.demo.marathon.apps[APP].instances == 3
        assert one.told("unique.scaled") == one.told("unique.requested") == []
        assert one.scaler.verdicts[APP].step.verdict.value == "nothing"


async def test_observing_writes_nothing(tmp_path: Path) -> None:
    """It tells what it would do, and a person may do it."""
    async with ground(tmp_path) as there, daemon(load(there.config)) as one:
        await one.look()
        assert [(each.app, each.did, each.wanted) for each in one.scaler.actions] == [(APP, Did.WOULD_SCALE, 3)]
        assert there.demo.marathon.apps[APP].instances == 2
        done = await one.scaler.scale(APP, "alice")
        assert (done.did, done.operator) == (Did.SCALED, "alice")
        await there.demo.running(APP, 3)


async def test_an_app_changed_or_deleted_between_look_and_write_is_left_alone(tmp_path: Path) -> None:
    """Somebody restarts it, lowers it, deletes it: the number of before is not written over that."""
    async with ground(tmp_path, mode="apply") as there, daemon(load(there.config)) as one:
        for feed in one.feeds.feeds:
            await feed.refresh()
        there.demo.scale(APP, 1)
        await until(there.settled)
        await one.scaler.look()
        assert one.told("unique.refused") == [(APP, "it was changed since it was looked at")]
        there.demo.marathon.delete(there.demo.marathon.app(APP))
        await until(lambda: APP not in there.demo.marathon.apps)
        await one.scaler.scale(APP, "alice")
        assert one.told("unique.refused")[-1] == (APP, "Marathon has no such app")
        assert there.demo.marathon.apps == {}


async def test_of_two_daemons_one_scales_and_the_other_takes_over(tmp_path: Path, zookeeper: ZooKeeper) -> None:
    """By a real ZooKeeper: the second judges only; when the first is gone it scales what comes then, and nothing twice."""
    async with ground(tmp_path, mode="apply", leader=f"zk://{zookeeper.hosts}/octopus-two") as there:
        config = load(there.config)
        async with daemon(config) as second:
            async with daemon(config) as first:
                await first.look()
                await second.look()
                await there.demo.running(APP, 3)
                await until(there.settled)
                assert (first.scaler.lead.mine, second.scaler.lead.mine) == (True, False)
                assert second.scaler.lead.who == first.scaler.lead.who != ""
                await there.join("agent-4")
                await second.look()
                assert there.demo.marathon.apps[APP].instances == 3
                refused = await second.scaler.scale(APP, "alice")
                assert (refused.did, refused.why.partition(":")[0]) == (Did.REFUSED, "this gateway does not lead")
            async with asyncio.timeout(60):
                while there.demo.marathon.apps[APP].instances != 4:
                    await second.look()
            assert second.scaler.lead.mine
            await there.demo.running(APP, 4)
        assert [len(each.told("unique.scaled")) for each in (first, second)] == [1, 1]


async def test_two_that_do_not_know_of_each_other_do_not_fight(tmp_path: Path) -> None:
    """Two machines without a common lock: both look, one writes first, the other sees that it was done."""
    async with ground(tmp_path, mode="apply") as there:
        config = load(there.config)
        other = there.config.with_name("other.toml")
        other.write_text(there.config.read_text().replace('"run"', '"run-2"'))
        async with daemon(config) as first, daemon(load(other)) as second:
            for one in (first, second):
                for feed in one.feeds.feeds:
                    await feed.refresh()
            await first.scaler.look()
            await second.scaler.look()
            for _ in range(3):
                await until(there.settled)
                await first.look()
                await second.look()
        assert there.demo.marathon.apps[APP].instances == 3
        assert len(first.told("unique.scaled") + second.told("unique.scaled")) == 1
        assert len(first.told("unique.requested") + second.told("unique.requested")) == 1
