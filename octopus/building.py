"""From the configuration to the parts it describes: the directory, the feeds of the cluster, engines, limits.

Nothing here starts anything; ``app`` and ``check`` do, each in its own way.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from octopus.config import Config
from octopus.config.audit_section import Audit
from octopus.config.sections import Auth, Docker, Ldap, Limits, Marathon, Mesos, Unique
from octopus.control.audit_log import FileAuditLog
from octopus.control.audit_signing import Signer
from octopus.core.cluster import Cluster
from octopus.core.errors import ConfigError, ContainerUnavailable, printable
from octopus.core.inventory import Agent, FeedStatus
from octopus.core.policy import Policy
from octopus.core.ports import Directory
from octopus.core.types import AuditEvent, EngineAddress
from octopus.engine.limits import EngineLimits
from octopus.feeds.agents import AgentStates
from octopus.feeds.docker import DockerFeed
from octopus.feeds.http import Http
from octopus.feeds.maintenance import MaintenanceFeed
from octopus.feeds.marathon import MarathonFeed
from octopus.feeds.marathon_scaling import MarathonScaling
from octopus.feeds.masters import ListedMasters, Masters
from octopus.feeds.mesos import MesosFeed
from octopus.feeds.zookeeper import ZooKeeperMasters
from octopus.fleet.history import EventHistory
from octopus.fleet.leadership import FileLeadership, Leadership
from octopus.fleet.zookeeper_leadership import ZooKeeperLeadership
from octopus.identity.authenticator import Authenticator
from octopus.identity.ldap import LdapDirectory
from octopus.identity.limits import FailureLimits
from octopus.identity.users_file import UsersFile

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|[0-9A-Fa-f:.]{2,45}")


class ProbedDirectory(Directory, Protocol):
    """A directory that can also tell what is wrong with it, and be closed."""

    async def probe(self) -> list[str]:
        """Return one line for each fault, [] when there is none."""
        ...

    async def aclose(self) -> None:
        """Release connections and threads."""
        ...


class Feed(Protocol):
    """Keeps a Cluster up to date."""

    async def run(self) -> None:
        """Run for ever."""
        ...

    async def tried(self) -> None:
        """Return once it has been read, or could not be."""
        ...

    async def refresh(self) -> None:
        """Read everything once. Raise BadUpstream, OrchestratorUnavailable."""
        ...

    async def look_up(self, name: str) -> bool:
        """Look for one task that is too new to be known. Never raises."""
        ...

    def status(self) -> FeedStatus:
        """Return how it is doing."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The cluster and what feeds it; ``container_id`` asks agents where the master does not say. To be closed by the stack.

    ``history`` hears Marathon's events while its feed runs; ``maintenance`` keeps the plan of it, where there is Mesos.
    """

    cluster: Cluster
    feeds: tuple[Feed, ...]
    container_id: Callable[[Agent, str, str], Awaitable[str]] | None
    history: EventHistory
    maintenance: MaintenanceFeed | None = None

    async def refresh(self) -> None:
        """Read everything once. Raise BadUpstream, OrchestratorUnavailable."""
        for feed in self.feeds:
            await feed.refresh()
        if self.maintenance is not None:
            await self.maintenance.refresh()


def policy(config: Config) -> Policy:
    """Return the rules of ``[[policy]]``."""
    return Policy(config.rules, labels=config.marathon.policy_labels)


def directory(auth: Auth) -> ProbedDirectory:
    """Return the directory of ``[auth.…]``. Raise ConfigError when it cannot be used as it is said to be."""
    if auth.users is not None:
        return UsersFile(auth.users.file)
    if auth.ldap is None:
        raise ConfigError(["auth: expected [auth.ldap] or [auth.users]"])
    return _ldap(auth.ldap)


def failure_limits(limits: Limits) -> FailureLimits:
    """Return the limits of failed logins."""
    return FailureLimits(
        failures_per_login=limits.failures_per_login, failures_per_address=limits.failures_per_address, window=limits.window
    )


def authenticator(limits: Limits, people: Directory) -> Authenticator:
    """Return what authenticates against ``people`` within ``[limits]``."""
    return Authenticator(people, failure_limits(limits), success_ttl=limits.remember_success, refusal_time=limits.refusal_time)


def audit_log(audit: Audit, *, written: Callable[[AuditEvent], None] = lambda event: None) -> FileAuditLog:
    """Return the log of ``[audit]``; ``written`` hears of each line. Raise ConfigError when its key is none."""
    return FileAuditLog(
        Path(audit.directory),
        clock=time.time,
        signer=Signer(Path(audit.signing_key_file)) if audit.signing_key_file else None,
        checkpoint_lines=audit.checkpoint_lines,
        checkpoint_interval=audit.checkpoint_interval,
        rotate_size=audit.rotate_size,
        rotate_daily=audit.rotate_daily,
        write_timeout=audit.write_timeout,
        written=written,
    )


def engine_limits(docker: Docker) -> EngineLimits:
    """Return what an engine may cost."""
    return EngineLimits(
        connect=docker.connect_timeout,
        call=docker.call_timeout,
        start=docker.start_timeout,
        exit=docker.exit_timeout,
        threads=docker.calls,
    )


def engine_address(docker: Docker, hostname: str, ip: str) -> EngineAddress:
    """Return where an agent's engine answers. Raise ContainerUnavailable for an agent whose name could lead elsewhere."""
    for name, value in (("{hostname}", hostname), ("{ip}", ip)):
        if name in docker.url and not _HOST.fullmatch(value):
            raise ContainerUnavailable(f"agent {printable(hostname)}: {name} is {printable(value)!r}, which is no host")
    url = docker.url.format(hostname=_bracketed(hostname), ip=_bracketed(ip))
    return EngineAddress(
        url=url,
        tls_ca=docker.tls_ca,
        tls_cert=docker.tls_cert,
        tls_key=docker.tls_key,
        ssh_key=docker.ssh_key,
        ssh_known_hosts=docker.ssh_known_hosts,
    )


def sources(config: Config, stack: AsyncExitStack) -> Sources:
    """Return the cluster and its feeds; what they hold is released by ``stack``."""
    history = EventHistory(time.time)
    if config.docker.inventory:
        cluster = Cluster()
        host = urlsplit(config.docker.url).hostname or "localhost"
        feed = DockerFeed(cluster, engine_address(config.docker, host, ""), hostname=host, timeout=config.docker.call_timeout)
        stack.push_async_callback(feed.aclose)
        return Sources(cluster=cluster, feeds=(feed,), container_id=None, history=history)
    cluster = Cluster(marathon=bool(config.marathon.urls))
    http = _http(config.mesos, stack)
    masters = _masters(config.mesos, stack)
    feeds: list[Feed] = [_mesos(config.mesos, cluster, http, masters)]
    if config.marathon.urls:
        marathon = config.marathon
        http_to = _http(marathon, stack)
        roles, interval = marathon.accepted_roles, marathon.poll_interval
        feeds.append(MarathonFeed(cluster, http_to, marathon.urls, poll_interval=interval, hear=history.hear, default_roles=roles))
    return Sources(
        cluster=cluster,
        feeds=tuple(feeds),
        container_id=AgentStates(http).container_id,
        history=history,
        maintenance=MaintenanceFeed(cluster, http, masters),
    )


def scaling(marathon: Marathon, stack: AsyncExitStack) -> MarathonScaling:
    """Return what writes to Marathon; what it holds is released by ``stack``."""
    return MarathonScaling(_http(marathon, stack), marathon.urls)


def leadership(config: Config, name: str, stack: AsyncExitStack) -> Leadership:
    """Return what tells whether this gateway, by its name, may scale. Raise ConfigError."""
    if config.unique.leader:
        return zookeeper_leadership(config.unique, name, stack)
    made = FileLeadership(Path(config.ssh.runtime_directory) / "unique.lock", name)
    stack.push_async_callback(made.aclose)
    return made


def zookeeper_leadership(unique: Unique, name: str, stack: AsyncExitStack) -> ZooKeeperLeadership:
    """Return the same by ``[unique] leader``. Raise ConfigError."""
    try:
        made = ZooKeeperLeadership(unique.leader, name, auth=unique.leader_auth.get_secret_value())
    except ValueError as error:
        raise ConfigError(["unique.leader_auth_file: expected user:password"]) from error
    stack.push_async_callback(made.aclose)
    return made


def _ldap(ldap: Ldap) -> LdapDirectory:
    try:
        return LdapDirectory(
            servers=ldap.servers,
            user_base=ldap.user_base,
            user_filter=ldap.user_filter,
            bind_dn=ldap.bind_dn,
            bind_password=ldap.bind_password.get_secret_value(),
            group_base=ldap.group_base,
            group_filter=ldap.group_filter,
            ssh_key_attribute=ldap.ssh_key_attribute,
            nested_groups=ldap.nested_groups,
            start_tls=ldap.start_tls,
            ca_file=ldap.ca_file,
            timeout=ldap.timeout,
            retry_after=ldap.retry_after,
            threads=ldap.connections,
            refresh_interval=ldap.key_refresh,
        )
    except ValueError as error:
        raise ConfigError([f"auth.ldap: {error}"]) from error


def _mesos(mesos: Mesos, cluster: Cluster, http: Http, masters: Masters) -> MesosFeed:
    return MesosFeed(
        cluster,
        http,
        masters,
        poll_interval=mesos.poll_interval,
        fetch_timeout=mesos.fetch_timeout,
        max_body=mesos.max_state,
    )


def _masters(mesos: Mesos, stack: AsyncExitStack) -> Masters:
    if not mesos.zk:
        return ListedMasters(mesos.masters)
    auth = mesos.zk_auth.get_secret_value()
    try:
        masters = ZooKeeperMasters(mesos.zk.replace("zk://", f"zk://{auth}@", 1) if auth else mesos.zk, scheme=mesos.scheme)
    except ValueError as error:
        raise ConfigError(["mesos.zk_auth_file: expected user:password, without '@' and '/'"]) from error
    stack.push_async_callback(masters.aclose)
    return masters


def _http(peer: Mesos | Marathon, stack: AsyncExitStack) -> Http:
    http = Http(username=peer.username, password=peer.password.get_secret_value(), verify=_trust(peer.ca_file))
    stack.push_async_callback(http.aclose)
    return http


def _trust(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"{ca_file}: holds no certificates that can be used: {error}"]) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
