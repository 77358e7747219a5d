"""``octopus check``: reaches out to everything the configuration names and says what it found."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path

from octopus import building, hostkeys, offsite
from octopus.admin import tokens
from octopus.config import Config
from octopus.core.cluster import Cluster
from octopus.core.errors import ConfigError, OctopusError, printable
from octopus.core.inventory import Agent
from octopus.core.types import Value
from octopus.engine.engines import Engines

MAX_AT_ONCE = 32
"""Engines that are asked at a time."""
_LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")


class Status(StrEnum):
    """How bad it is: only a fault keeps people out."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


class Finding(Value, frozen=True, kw_only=True):
    """One thing that was looked at: ``what`` it is, and what is right or wrong with it in one line."""

    status: Status
    what: str
    text: str


async def check(config: Config) -> list[Finding]:
    """Return what there is to say of all, from keys and trail to the leader and StatsD, always in the same order. Never raises."""
    here = [*_host_keys(config), *_trail(config), *_in_clear(config), *_tokens(config)]
    asked = _directory(config), _cluster(config), _shipping(config), _leader(config), _statsd(config)
    people, cluster, away, leader, figures = await asyncio.gather(*asked)
    return here + away + people + cluster + leader + figures


def _host_keys(config: Config) -> Iterable[Finding]:
    try:
        keys = hostkeys.read(Path(config.ssh.host_keys))
    except ConfigError as error:
        return _faults("host keys", error.faults)
    return [_ok("host keys", f"{key.algorithm} {key.fingerprint}") for key in keys]


def _trail(config: Config) -> Iterable[Finding]:
    directory = Path(config.audit.directory)
    if not directory.exists():
        yield _warning("audit", f"{directory} is not there yet; the gateway makes it")
    elif os.access(directory, os.W_OK | os.X_OK):
        yield _ok("audit", f"{directory} can be written")
    else:
        yield Finding(status=Status.FAULT, what="audit", text=f"{directory} cannot be written by this user")


async def _shipping(config: Config) -> list[Finding]:
    """Reach out to where the trail is shipped; the gateway runs without it, so what does not answer is a warning."""
    findings = []
    for what, where, ask in offsite.probe(config.audit):
        try:
            await asyncio.to_thread(ask)
        except OctopusError as error:
            findings.append(_warning(what, printable(str(error), 1000)))
        else:
            findings.append(_ok(what, f"{where} answers"))
    return findings


def _tokens(config: Config) -> Iterable[Finding]:
    try:
        tokens.read(config.admin.tokens_file)
    except ConfigError as error:
        return _faults("admin", error.faults)
    return []


async def _statsd(config: Config) -> list[Finding]:
    """Look up where figures go: whether anybody listens there does not show with UDP."""
    if not config.metrics.statsd:
        return []
    try:
        await asyncio.get_running_loop().getaddrinfo(*config.metrics.statsd, type=socket.SOCK_DGRAM)
    except OSError as error:
        return [_warning("statsd", f"{config.metrics.statsd}: {error.strerror}")]
    return [_ok("statsd", f"{config.metrics.statsd} is a place")]


async def _leader(config: Config) -> list[Finding]:
    """Ask ZooKeeper which gateway scales UNIQUE apps, without becoming that one; people can work without."""
    if not config.unique.leader:
        return []
    async with AsyncExitStack() as stack:
        try:
            lead = await building.zookeeper_leadership(config.unique, "octopus check", stack).look()
        except ConfigError as error:
            return list(_faults("unique", error.faults))
    if lead.problem:
        return [_warning("unique", printable(lead.problem, 1000))]
    return [_ok("unique", f"ZooKeeper answers; {printable(lead.who) or 'no gateway'} leads")]


def _in_clear(config: Config) -> Iterable[Finding]:
    """Yield what goes over the network unprotected, where the configuration says so."""
    ldap = config.auth.ldap
    if ldap is not None and not ldap.start_tls:
        for server in ldap.servers:
            if server.startswith("ldap://"):
                yield _warning("directory", f"{server}: passwords go there in clear; ldaps:// or start_tls = true would protect them")
    if re.match(r"tcp://(?!127\.|localhost:|\[::1\])", config.audit.syslog):
        yield _warning("syslog", f"{config.audit.syslog}: the trail goes there in clear; tls:// would protect it")
    if config.docker.url.startswith("http://") and not config.docker.url.startswith(_LOOPBACK):
        yield _warning("engine", f"{config.docker.url}: sessions go there in clear, and whoever reaches it owns the agent")


async def _directory(config: Config) -> list[Finding]:
    try:
        directory = building.directory(config.auth)
    except ConfigError as error:
        return list(_faults("directory", error.faults))
    try:
        faults = await directory.probe()
    finally:
        await directory.aclose()
    name = config.auth.users.file if config.auth.users else ", ".join(config.auth.ldap.servers if config.auth.ldap else ())
    return list(_faults("directory", faults)) or [_ok("directory", f"{name}: can be asked")]


async def _cluster(config: Config) -> list[Finding]:
    async with AsyncExitStack() as stack:
        try:
            sources = building.sources(config, stack)
        except OctopusError as error:
            return [_fault("cluster", error)]
        findings: list[Finding] = []
        for feed in sources.feeds:
            name = feed.status().name
            try:
                await feed.refresh()
                findings.append(_ok(name, f"{feed.status().source} answers"))
            except OctopusError as error:
                findings.append(_fault(name, error))
        if not sources.cluster.ready:
            return findings
        apps = sources.cluster.tasks.apps()
        findings.append(_ok("cluster", f"{len(sources.cluster.agents)} agents, {len(sources.cluster.tasks)} tasks, {len(apps)} apps"))
        return findings + await _engines(config, sources.cluster) + list(_policy(config, apps))


async def _engines(config: Config, cluster: Cluster) -> list[Finding]:
    """Ask each agent's engine for its version; those that answer are counted, the others named."""
    engines = Engines(building.engine_limits(config.docker))
    places = asyncio.Semaphore(MAX_AT_ONCE)
    versions: Counter[str] = Counter()

    async def ask(agent: Agent) -> list[Finding]:
        async with places:
            where = ""
            try:
                address = building.engine_address(config.docker, agent.hostname, agent.ip)
                where = f"{address.url}: "
                engine = await engines.get(agent.hostname, address)
                versions[".".join(map(str, await engine.api.version()))] += 1
            except OctopusError as error:
                return _faults(f"engine {agent.hostname}", [f"{where}{error}"])
        return []

    try:
        faults = await asyncio.gather(*(ask(agent) for agent in sorted(cluster.agents.values(), key=lambda agent: agent.hostname)))
    finally:
        await engines.aclose()
    counted = [_ok("engines", f"{count} of {len(faults)} answer with API {version}") for version, count in sorted(versions.items())]
    return counted + [finding for found in faults for finding in found]


def _policy(config: Config, apps: Iterable[str]) -> Iterable[Finding]:
    """Warn of globs that no app that runs now fits: most often they are misspelt."""
    apps = list(apps)
    for place, rule in enumerate(config.rules):
        if not any(rule.covers(app) for app in apps):
            yield _warning(f"policy[{place}]", f"fits no app that runs now: {', '.join(rule.apps)}")


def _ok(what: str, text: str) -> Finding:
    return Finding(status=Status.OK, what=what, text=text)


def _warning(what: str, text: str) -> Finding:
    return Finding(status=Status.WARNING, what=what, text=text)


def _fault(what: str, error: OctopusError) -> Finding:
    return Finding(status=Status.FAULT, what=printable(what), text=printable(str(error), 1000))


def _faults(what: str, texts: Iterable[str]) -> list[Finding]:
    return [Finding(status=Status.FAULT, what=what, text=printable(text, 1000)) for text in texts]
