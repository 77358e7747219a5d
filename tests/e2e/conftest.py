"""Fixtures of the whole: one scene for the run, in one event loop, and what its gateway logged beside each failure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e import evidence
from tests.e2e.gateway import Gateway
from tests.e2e.people import People, gathered
from tests.e2e.scene import APPS, Scene, app, behind, cluster, gateway_for, ldap, over_tls, with_app_user
from tests.e2e.trail import Chapter
from tests.parts.directory import Slapd
from tests.parts.engines import Engine

MAX_LOG = 20_000
"""Characters of a gateway's log shown with a failure."""


@pytest.fixture(scope="session")
def people() -> Iterator[People]:
    """Everybody, with their keys."""
    with TemporaryDirectory(prefix="octopus-people-") as folder:
        yield gathered(Path(folder))


@pytest.fixture(scope="session")
def company(people: People, tls_authority: Any) -> Iterator[Slapd]:
    """The directory that knows them."""
    groups = {"platform": ("alice",), "web": ("bob", "carol")}
    with Slapd(tls_authority, people=[person.entry() for person in people.all], groups=groups) as slapd:
        yield slapd


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(people: People, company: Slapd, two_tls_engines: tuple[Engine, Engine]) -> AsyncIterator[Scene]:
    """Two agents, eight apps, one gateway that asks the directory over TLS and enters engines over TLS."""
    for engine in two_tls_engines:
        with_app_user(engine)
    async with cluster(two_tls_engines) as demo:
        for app_id, more in APPS.items():
            demo.put_app(app_id, **app(**more))
        for app_id, more in APPS.items():
            await demo.running(app_id, more.get("instances", 1))
        async with gateway_for(people, ldap(company), behind(demo), over_tls(two_tls_engines[0]), {"ssh": {"workers": 2}}) as running:
            await running.serves("shared_wiki", key=people.alice.key)
            yield Scene(demo, two_tls_engines, people, running)


@pytest_asyncio.fixture(loop_scope="session")
async def record(scene: Scene) -> Chapter:
    """The trail of the scene's gateway from the test's beginning on, with the sessions of the one before at their ends."""
    await scene.gateway.still()
    return scene.gateway.trail.from_now()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the gateway logged and wrote on its trail."""
    report = yield
    scene = getattr(item, "funcargs", {}).get("scene")
    if report.failed and report.when != "teardown" and isinstance(scene, Scene):
        report.sections += _words(scene.gateway)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much of what gateways left was looked at."""
    if evidence.seen:
        terminalreporter.write_line(f"what gateways left: {dict(evidence.seen)}")


def _words(gateway: Gateway) -> list[tuple[str, str]]:
    trail = "\n".join(map(str, gateway.trail.events))
    return [("the gateway's log", gateway.log[-MAX_LOG:]), ("the trail", trail[-MAX_LOG:])]
