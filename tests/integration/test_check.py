"""``octopus check`` finds what works and what does not, with a real directory, a cluster over HTTP and a real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from octopus import hostkeys
from octopus.check import Finding, Status, check
from octopus.config import Config, load
from octopus.core.errors import InvalidTarget, OrchestratorUnavailable
from octopus.demo.cluster import DemoCluster
from octopus.demo.engines import free_port
from octopus.fleet.zookeeper_leadership import ZooKeeperLeadership
from octopus.listing import tasks
from tests.parts.directory import BIND_DN, BIND_PASSWORD, USER_BASE, Slapd
from tests.parts.engines import Engine
from tests.parts.zookeeper import ZooKeeper

Write = Callable[..., Config]


@pytest.fixture
async def cluster() -> AsyncIterator[DemoCluster]:
    """A cluster with one agent and two apps, one of which has two instances."""
    async with DemoCluster() as demo:
        await demo.add_agent("agent-1")
        for app, instances in (("/logging/logstash", 2), ("/shop/web", 1)):
            demo.put_app(app, cmd="sleep 1000", cpus=0.1, mem=16, instances=instances)
            await demo.running(app, instances)
        yield demo


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return what writes a configuration and loads it: sections as TOML text, host keys and secrets beside it."""

    def write(directory: str, cluster: str, *rules: str, keys: bool = True) -> Config:
        (tmp_path / "secret").write_text(BIND_PASSWORD)
        (tmp_path / "secret").chmod(0o600)
        if keys:
            hostkeys.create(tmp_path / "keys")
        policy = [f'[[policy]]\nusers = ["al"]\napps = ["{rule}"]\nallow = ["shell"]' for rule in rules or ("/**",)]
        own = '[ssh]\nhost_keys = "keys"\n[audit]\ndirectory = "."'
        (tmp_path / "octopus.toml").write_text("\n".join([own, directory, cluster, *policy]))
        return load(tmp_path / "octopus.toml", {})

    return write


def ldap(url: str, ca: str = "") -> str:
    """Return the section of a directory at ``url``."""
    bind = f'bind_dn = "{BIND_DN}"\nbind_password_file = "./secret"\nca_file = "{ca}"'
    return f'[auth.ldap]\nservers = ["{url}"]\nuser_base = "{USER_BASE}"\n{bind}'


def mesos(demo: DemoCluster, engine: str) -> str:
    """Return the sections of a cluster whose agents all have the one engine."""
    return f'[mesos]\nmasters = {demo.mesos_urls}\n[marathon]\nurls = {demo.marathon_urls}\n[docker]\nurl = "{engine}"'.replace("'", '"')


def brief(findings: list[Finding], *statuses: Status) -> list[tuple[str, str]]:
    """Return what was found with these statuses, as pairs of what and text."""
    return [(found.what, found.text) for found in findings if found.status in statuses]


async def test_all_that_works_is_told(write: Write, slapd: Slapd, cluster: DemoCluster, docker_engine: Engine) -> None:
    """Keys, trail, directory over TLS, both feeds, the counts, the engine; a rule that fits no app is a warning."""
    config = write(ldap(slapd.tls_url, str(slapd.ca)), mesos(cluster, docker_engine.address.url), "/shop/*", "/shopp/*")
    findings = await check(config)
    assert [found.what for found in findings if found.status is Status.OK] == [
        "host keys", "host keys", "audit", "directory", "mesos", "marathon", "cluster", "engines",
    ]  # fmt: skip
    assert ("cluster", "1 agents, 3 tasks, 2 apps") in brief(findings, Status.OK)
    assert brief(findings, Status.WARNING, Status.FAULT) == [("policy[1]", "fits no app that runs now: /shopp/*")]


async def test_all_that_is_down_is_told_at_once(write: Write, slapd: Slapd, cluster: DemoCluster) -> None:
    """No host key, no directory, no Marathon, an engine that does not answer: each is a fault of its own."""
    nowhere = f"127.0.0.1:{free_port('127.0.0.1')}"
    sections = mesos(cluster, f"http://{nowhere}").replace(cluster.marathon_urls[0], f"http://{nowhere}")
    findings = await check(write(ldap(f"ldap://{nowhere}"), sections, keys=False))
    assert [what for what, _ in brief(findings, Status.FAULT)] == ["host keys", "directory", "marathon"]
    assert [what for what, _ in brief(findings, Status.WARNING)] == ["directory"]
    findings = await check(write(ldap(slapd.tls_url, str(slapd.ca)), mesos(cluster, f"http://{nowhere}")))
    assert brief(findings, Status.FAULT) == [
        ("engine agent-1", f"http://{nowhere}: engine of agent-1: connect: Connection refused")  # where, and in words
    ]


async def test_a_statsd_that_is_nowhere_is_told(write: Write, slapd: Slapd, docker_engine: Engine) -> None:
    """Nothing else ever tells: what is sent by UDP comes to nobody, in silence."""
    engine = f'[docker]\nurl = "{docker_engine.address.url}"\ninventory = true'
    for place, status in (("127.0.0.1:8125", Status.OK), ("nowhere.invalid:8125", Status.WARNING)):
        found = await check(write(ldap(slapd.tls_url, str(slapd.ca)), f'{engine}\n[metrics]\nstatsd = "{place}"'))
        assert [what for what, _ in brief(found, status) if what == "statsd"] == ["statsd"], place


async def test_a_directory_that_cannot_be_trusted_is_a_fault(write: Write, slapd: Slapd, docker_engine: Engine) -> None:
    """A server whose certificate nobody we trust has signed is not asked."""
    inventory = f'[docker]\nurl = "{docker_engine.address.url}"\ninventory = true'
    findings = await check(write(ldap(slapd.tls_url), inventory))
    assert [what for what, _ in brief(findings, Status.FAULT)] == ["directory"]
    assert BIND_PASSWORD not in str(findings)


async def test_what_goes_in_clear_is_a_warning(write: Write, slapd: Slapd) -> None:
    """Passwords to a directory without TLS, sessions to an engine without."""
    inventory = '[docker]\nurl = "http://agent.invalid:2375"\ninventory = true\nconnect_timeout = "1s"\ncall_timeout = "1s"'
    findings = await check(write(ldap(slapd.url), inventory))
    assert [what for what, _ in brief(findings, Status.WARNING)] == ["directory", "engine"]
    assert [what for what, _ in brief(findings, Status.FAULT)] == ["docker"]


@pytest.mark.parametrize(
    ("pattern", "apps"),
    [
        ("", ["/logging/logstash", "/logging/logstash", "/shop/web"]),
        ("shop.web", ["/shop/web"]),
        ("stash", ["/logging/logstash", "/logging/logstash"]),
        ("/**/web", ["/shop/web"]),
        ("nothing", []),
    ],
)
async def test_tasks_are_listed_by_part_or_glob(write: Write, cluster: DemoCluster, pattern: str, apps: list[str]) -> None:
    """Any spelling of an app, a part of it, a glob; with the agent and the start."""
    config = write(ldap("ldaps://nowhere.invalid"), mesos(cluster, "unix:///nowhere"))
    found = await tasks(config, pattern)
    assert [task.app for task in found] == apps
    assert all(task.agent == "agent-1" and task.started > 0 for task in found)
    [first, *_] = await tasks(config)
    assert [task.task for task in await tasks(config, first.task)] == [first.task]


async def test_what_is_no_glob_and_no_cluster_is_told(write: Write, cluster: DemoCluster) -> None:
    """A misspelt glob and masters that do not answer are errors with a word."""
    with pytest.raises(InvalidTarget, match="stands alone"):
        await tasks(write(ldap("ldaps://nowhere.invalid"), mesos(cluster, "unix:///nowhere")), "/a**")
    nowhere = f'[mesos]\nmasters = ["http://127.0.0.1:{free_port("127.0.0.1")}"]\n[docker]\nurl = "unix:///nowhere"'
    with pytest.raises(OrchestratorUnavailable):
        await tasks(write(ldap("ldaps://nowhere.invalid"), nowhere))


async def test_who_leads_is_asked_without_leading(write: Write, slapd: Slapd, cluster: DemoCluster, zookeeper: ZooKeeper) -> None:
    """The ZooKeeper of [unique] leader: whether it answers, and who scales; without one people can work all the same."""
    hosts = zookeeper.hosts
    for leader, status, text in (
        (f"{hosts}/octopus-check", Status.OK, "ZooKeeper answers; no gateway leads"),
        ("127.0.0.1:1/octopus-check", Status.WARNING, "ZooKeeper: "),
    ):
        sections = f'{mesos(cluster, "http://127.0.0.1:1")}\n[unique]\nleader = "zk://{leader}"'
        findings = await check(write(ldap(slapd.tls_url, str(slapd.ca)), sections))
        [found] = [each for each in findings if each.what == "unique"]
        assert found.status is status
        assert found.text.startswith(text)
    leadership = ZooKeeperLeadership(f"zk://{hosts}/octopus-check", "gw-1")
    try:
        assert (await leadership.lead()).mine
    finally:
        await leadership.aclose()
