"""Apps of one on each host follow the agents, by the installed gateway in apply mode; never down, whatever the masters do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from octopus.demo.cluster import DemoCluster
from octopus.demo.resources import Resources
from tests.e2e.gateway import Gateway, Sections
from tests.e2e.people import People
from tests.e2e.scene import POLICY, gateway_for
from tests.e2e.trail import Event

pytestmark = pytest.mark.asyncio(loop_scope="session")

FITS: dict[str, dict[str, Any]] = {"/ops/statsd": {"cpus": 1}, "/ops/heka": {"cpus": 0.5}}
FITS_NOT: dict[str, dict[str, Any]] = {
    "/ops/big": {"cpus": 2},
    "/ops/racked": {"cpus": 0.1, "constraints": [["hostname", "UNIQUE"], ["rack", "LIKE", "r[1-3]"]]},
}


async def join(demo: DemoCluster, number: int, cpus: float = 4.0) -> None:
    """Let an agent join."""
    resources = Resources(cpus, 4096.0, 10240.0, 0.0, ((31000, 31099),))
    await demo.add_agent(f"agent-{number}", attributes={"rack": f"r{number}"}, resources=resources)


async def three_agents_with_all(demo: DemoCluster) -> None:
    """Let every app run on each of three agents."""
    for number in (1, 2, 3):
        await join(demo, number)
    for app, more in (FITS | FITS_NOT).items():
        demo.put_app(app, **{"cmd": "x", "mem": 64, "instances": 3, "constraints": [["hostname", "UNIQUE"]], **more})
    for app in FITS | FITS_NOT:
        await demo.running(app, 3)


def before(demo: DemoCluster) -> Sections:
    """Return what makes a gateway follow that cluster."""
    return {
        "auth.users": {"file": "users.toml"},
        "mesos": {"masters": demo.mesos_urls},
        "marathon": {"urls": demo.marathon_urls},
        "docker": {"url": "unix:///nowhere"},
        "policy": POLICY,
        "unique": {"mode": "apply", "interval": "1s", "settle_time": "1s"},
    }


def of(events: Sequence[Event], name: str) -> dict[str, list[Event]]:
    """Return the events of one name, by app."""
    found: dict[str, list[Event]] = {}
    for event in events:
        if event["event"] == name:
            found.setdefault(event["target"]["app"], []).append(event)
    return found


async def asked(running: Gateway, app: str) -> dict[str, Any]:
    """Have a person ask for an app that lacks nothing, so that the gateway looks once more; return what it said."""
    ended = await running.run("unique", "scale", app, "--json")
    assert ended.status == 1, ended
    said: dict[str, Any] = json.loads(ended.stdout)
    assert (said["did"], bool(said["operator"])) == ("refused", True)
    return said


async def covered(running: Gateway, count: int) -> dict[str, Any]:
    """Return what ``octopus unique`` says of each app, once those that fit run on so many hosts and the state is whole."""
    async with asyncio.timeout(60):
        while True:
            ended = await running.run("unique", "--json")
            found: dict[str, Any] = json.loads(ended.stdout) if ended.status == 0 else {"complete": False, "apps": []}
            apps = {each["app"]: each for each in found["apps"]}
            if found["complete"] and all(apps[app]["counts"]["running"] == count for app in FITS):
                return apps


async def test_agents_are_followed_up_and_never_down(people: People) -> None:
    """One joins: what fits it is scaled once, what does not is reported; it leaves and is back during a master change: nothing."""
    async with DemoCluster(masters=2, mesos_version="1.11.0", marathon_version="1.8.0", tick=0.02) as demo:
        await three_agents_with_all(demo)
        async with gateway_for(people, before(demo)) as running:
            await asked(running, "/ops/statsd")
            await join(demo, 4, cpus=1.9)
            for app in FITS:
                await running.trail.until(lambda events, app=app: of(events, "unique.scaled").get(app))  # type: ignore[misc]
                await demo.running(app, 4)
            for app in FITS_NOT:
                await running.trail.until(lambda events, app=app: of(events, "unique.refused").get(app))  # type: ignore[misc]
            apps = await covered(running, 4)
            assert {app: (one["counts"]["running"], one["counts"]["blocked"]) for app, one in apps.items()} == {
                **dict.fromkeys(FITS, (4, 0)),
                **dict.fromkeys(FITS_NOT, (3, 1)),
            }
            refused = of(running.trail.events, "unique.refused")
            assert "agent-4: needs 2 cpus" in refused["/ops/big"][0]["why"]
            assert "agent-4: rack LIKE r[1-3]: here 'r4'" in refused["/ops/racked"][0]["why"]

            demo.agent_unreachable("agent-4")
            demo.fail_over(1, reregister=False)
            demo.reregister("agent-1")
            await asked(running, "/ops/heka")
            demo.reregister()
            demo.agent_return("agent-4")
            apps = await covered(running, 4)
            said = await asked(running, "/ops/statsd")
            assert said["instances"] == 4
            assert {app: demo.marathon.apps[app].instances for app in FITS | FITS_NOT} == {
                **dict.fromkeys(FITS, 4),
                **dict.fromkeys(FITS_NOT, 3),
            }
            for event in ("unique.requested", "unique.scaled"):
                found = of(running.trail.events, event)
                assert {app: len(each) for app, each in found.items()} == dict.fromkeys(FITS, 1)
            assert all(event["wanted"] > event["instances"] for each in found.values() for event in each)
            assert [event["event"] for event in running.trail.events if event.get("operator")] == ["unique.refused"] * 3
