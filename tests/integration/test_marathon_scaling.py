"""Setting an app's number through Marathon: what is sent, and what each answer comes to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from octopus.core.errors import (
    AccessDenied,
    AppLocked,
    BadUpstream,
    InvalidRequest,
    NoSuchTarget,
    OctopusError,
    OrchestratorUnavailable,
)
from octopus.core.placement_rules import Rules, rules_of
from octopus.demo.cluster import DemoCluster
from octopus.demo.resources import Resources
from octopus.feeds.http import Http
from octopus.feeds.marathon_scaling import MarathonScaling
from tests.integration.http_peers import Asked, Handler, Wire, always, close_abruptly, peer

APP = "/ops/statsd"
NEW = rules_of("1.8.222")
OLD = rules_of("0.8.1")
STATSD = {"cmd": "sleep 1", "cpus": 1, "mem": 64, "instances": 2, "constraints": [["hostname", "UNIQUE"]]}


@contextlib.asynccontextmanager
async def scaling(*urls: str, **options: Any) -> AsyncIterator[MarathonScaling]:
    """Give the port over these Marathons."""
    http = Http(username=options.pop("username", ""), password="secret" if options.pop("auth", False) else "", read_timeout=5.0)
    try:
        yield MarathonScaling(http, urls, **options)
    finally:
        await http.aclose()


@pytest.mark.parametrize("version", ["0.8.1", "0.15.0", "1.3.0", "1.4.0", "1.8.0", "1.11.0"])
async def test_a_marathon_of_each_age_takes_the_number(version: str) -> None:
    """Read, written, read back: the instances and the version are others, everything else is as it was, nothing is restarted."""
    rules = rules_of(version)
    async with DemoCluster(mesos_version="1.1.0", marathon_version=version, tick=0.02) as demo:
        for name in ("agent-1", "agent-2", "agent-3"):
            await demo.add_agent(name, resources=Resources(4.0, 4096.0, 10240.0, 0.0, ((31000, 31099),)))
        demo.put_app(APP, **STATSD)
        before = {task.id for task in await demo.running(APP, 2)}
        await settled(demo)
        async with scaling(*demo.marathon_urls) as port:
            was = await port.read(APP, rules)
            assert (was.instances, was.deploying, was.unique_host) == (2, False, True)
            done = await port.scale(APP, 3, rules)
            assert done.deployment
            assert done.version > was.version
            assert before < {task.id for task in await demo.running(APP, 3)}
            await settled(demo)
            now = await port.read(APP, rules)
            assert (now.instances, now.version, now.configured) == (3, done.version, was.configured)


async def settled(demo: DemoCluster) -> None:
    """Wait until no deployment is under way."""
    async with asyncio.timeout(30):
        while demo.marathon.deployments:  # noqa: ASYNC110  the stand-in has no event for it
            await asyncio.sleep(0.01)


async def test_one_under_way_is_not_overrun() -> None:
    """The number that finds no place locks the app: 409, the deployment goes on, and its reasons can be read."""
    async with DemoCluster(marathon_version="1.8.0", tick=0.02) as demo:
        await demo.add_agent("agent-1")
        demo.put_app(APP, **{**STATSD, "instances": 2})
        async with scaling(*demo.marathon_urls) as port:
            assert (await port.read(APP, NEW)).deploying
            with pytest.raises(AppLocked, match="HTTP 409: App is locked"):
                await port.scale(APP, 3, NEW)
            async with asyncio.timeout(30):
                while not (why := await port.waiting(APP)):  # noqa: ASYNC110  asked over HTTP
                    await asyncio.sleep(0.01)
            assert why == "1 offers declined: UnfulfilledConstraint"
            assert await port.waiting("/other") == ""
        assert len(demo.marathon.deployments) == 1
        assert demo.marathon.apps[APP].instances == 2


@pytest.mark.parametrize("rules", [NEW, OLD])
async def test_an_app_that_is_gone_is_not_made_anew(rules: Rules) -> None:
    """Neither by PATCH, nor by the PUT of an old Marathon: the number alone makes no app."""
    async with DemoCluster(marathon_version="1.8.0" if rules is NEW else "0.8.1") as demo, scaling(*demo.marathon_urls) as port:
        with pytest.raises(NoSuchTarget):
            await port.read(APP, rules)
        with pytest.raises((NoSuchTarget, InvalidRequest)):
            await port.scale(APP, 3, rules)
        assert APP not in demo.marathon.apps


@pytest.mark.parametrize(("rules", "method"), [(NEW, "PATCH"), (OLD, "PUT")])
async def test_nothing_but_the_number_is_sent(rules: Rules, method: str) -> None:
    """One request, the number for a body, no force."""
    async with peer(always(200, b'{"deploymentId":"d","version":"v"}')) as marathon, scaling(marathon.url) as port:
        await port.scale(APP, 3, rules)
        [asked] = marathon.asked
    assert (asked.method, asked.path, json.loads(asked.body)) == (method, "/v2/apps/ops/statsd", {"instances": 3})


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (409, b'{"message":"App is locked","deployments":[{"id":"x"}]}', AppLocked),
        (422, b'{"message":"Object is not valid","details":[]}', InvalidRequest),
        (400, b'{"message":"Invalid JSON"}', InvalidRequest),
        (404, b'{"message":"App does not exist"}', NoSuchTarget),
        (401, b"", AccessDenied),
        (403, b'{"message":"Too many running deployments"}', AccessDenied),
        (503, b"Could not determine the current leader", OrchestratorUnavailable),
        (504, b"", OrchestratorUnavailable),
        (302, b"", OrchestratorUnavailable),
        (500, b"<html>\x1b[31mboom", OrchestratorUnavailable),
        (200, b"<html><body>It works!</body></html>", BadUpstream),
        (200, b"", BadUpstream),
        (200, b"[]", BadUpstream),
        (200, b"{}", BadUpstream),
        (200, b"\xff\xfe", BadUpstream),
        (201, b'{"deploymentId":"d","version":"v"}', BadUpstream),
    ],
)
async def test_each_answer_to_a_write_is_an_error_of_its_own(status: int, body: bytes, error: type[OctopusError]) -> None:
    """Sent once, whatever comes back; nothing that Marathon says reaches a person, nor a terminal the operator's."""
    async with peer(always(status, body)) as marathon, scaling(marathon.url, marathon.url + "/") as port:
        with pytest.raises(error) as caught:
            await port.scale(APP, 3, NEW)
        assert len(marathon.asked) == 1
    assert type(caught.value) is error
    assert "\x1b" not in str(caught.value) + caught.value.notice
    assert "html" not in caught.value.notice


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b'{"app":{}}',
        b'{"app":{"id":"/ops/other"}}',
        b'{"app":{"id":"/ops/statsd","instances":"x"}}',
        b'{"app":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
async def test_an_app_that_cannot_be_read_is_none(body: bytes) -> None:
    """What is not the app, whole, is a broken Marathon."""
    async with peer(always(200, body)) as marathon, scaling(marathon.url) as port:
        with pytest.raises(BadUpstream):
            await port.read(APP, NEW)


async def _hang(asked: Asked, wire: Wire) -> None:
    await asyncio.Event().wait()


async def _cut(asked: Asked, wire: Wire) -> None:
    await wire.send(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"app":')
    close_abruptly(wire)


async def _flood(asked: Asked, wire: Wire) -> None:
    await wire.answer(200, b" " * (5 * 1024 * 1024))


@pytest.mark.parametrize(("handler", "error"), [(_hang, OrchestratorUnavailable), (_cut, BadUpstream), (_flood, BadUpstream)])
async def test_an_answer_has_its_bounds(handler: Handler, error: type[OctopusError]) -> None:
    """In time and size; half of one is none."""
    async with peer(handler) as marathon, scaling(marathon.url, timeout=0.5 if handler is _hang else 10.0) as port:
        with pytest.raises(error):
            await port.scale(APP, 3, NEW)


async def test_what_is_written_goes_where_it_was_read() -> None:
    """A Marathon that is down is passed over in reading, and not asked to write."""
    app = json.dumps({"app": {"id": APP, "instances": 2, "version": "v1"}}).encode()
    alive = always(200, app[:-1] + b',"deploymentId":"d","version":"v2"}')
    async with peer(always(503)) as down, peer(alive) as up, scaling(down.url, up.url) as port:
        assert (await port.read(APP, NEW)).instances == 2
        assert (await port.scale(APP, 3, NEW)).version == "v2"
        assert [asked.method for asked in down.asked] == ["GET"]
        assert [asked.method for asked in up.asked] == ["GET", "PATCH"]
    async with scaling(down.url, up.url) as port:
        with pytest.raises(OrchestratorUnavailable):
            await port.read(APP, NEW)


@pytest.mark.parametrize("app", ["", "/", "/../x", "/a/../../v2/leader", "/a?force=true", "/a#b", "/a b", "/ä", "a", "/a//b", "/a/%2e"])
async def test_an_id_leads_nowhere_else(app: str) -> None:
    """Ids come from upstream and from people: what is none is sent to nobody."""
    async with peer(always(200, b"{}")) as marathon, scaling(marathon.url) as port:
        for call in (port.read(app, NEW), port.scale(app, 1, NEW)):
            with pytest.raises(InvalidRequest):
                await call
        assert marathon.asked == []


def test_a_marathon_has_a_url() -> None:
    """Nothing can be written to nowhere."""
    with pytest.raises(ValueError, match="URL"):
        MarathonScaling(Http(), [])
