"""The admin's composition root: what the pages show and do, from the rooms of the control plane."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry

from octopus.admin import tokens
from octopus.admin.ports import Ports
from octopus.admin.probes import Dependency
from octopus.admin.server import AdminServer
from octopus.admin.site import site
from octopus.admin_cluster import CapacityHere, TasksHere, UniqueHere
from octopus.admin_records import PeopleBehind, Reading, SessionsHere, TrailOnDisk
from octopus.building import ProbedDirectory, Sources
from octopus.config import Config
from octopus.control.audit_log import FileAuditLog
from octopus.control.control_plane import Authenticator, ControlPlane
from octopus.control.operator_calls import OperatorCalls
from octopus.core.inventory import FeedStatus
from octopus.core.policy import Policy
from octopus.fleet.capacity_report import CapacityReports
from octopus.fleet.report import Report
from octopus.fleet.simulation import Simulation
from octopus.fleet.unique_scaler import UniqueScaler
from octopus.fleet.usage import UsageSampler

STALE = 120.0
"""Seconds for which what is known of a cluster is good while its feed fails."""
SILENT = "no server of it answers as it should"
PROBE_INTERVAL = 10.0
"""Seconds between two questions to the directory, however often somebody asks whether it is there."""


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """The parts of a running gateway that the admin shows."""

    plane: ControlPlane
    authenticator: Authenticator
    policy: Policy
    log: FileAuditLog
    directory: ProbedDirectory
    sources: Sources
    registry: CollectorRegistry
    recordings: Path
    reports: CapacityReports
    scaler: UniqueScaler | None = None
    usage: UsageSampler | None = None


def server(config: Config, rooms: Rooms, stack: AsyncExitStack) -> AdminServer | None:
    """Return the server of ``[admin]``, None where it is off; what it holds is released by ``stack``. Raise ConfigError."""
    admin = config.admin
    if admin.listen is None:
        return None
    reading = Reading()
    stack.callback(reading.close)
    built = site(
        _ports(config, rooms, reading),
        rooms.registry,
        viewers=admin.viewers,
        operators=admin.operators,
        report=Report,
        simulation=Simulation,
        tokens=tokens.read(admin.tokens_file),
        idle=admin.idle_timeout,
        lifetime=admin.session_lifetime,
    )
    return AdminServer(
        built.app,
        stop=built.stop,
        host=admin.listen.host,
        port=admin.listen.port,
        tls_cert=admin.tls_cert,
        tls_key=admin.tls_key,
        trusted_proxies=admin.trusted_proxies,
    )


def _ports(config: Config, rooms: Rooms, reading: Reading) -> Ports:
    new_id = partial(secrets.token_hex, 8)
    directory, cluster, live = Path(config.audit.directory), rooms.sources.cluster, rooms.plane.live
    calls = OperatorCalls(log=rooms.log, live=live, kill=rooms.plane.kill, new_id=new_id)
    servers = len(config.auth.ldap.servers) if config.auth.ldap else 1
    return Ports(
        people=PeopleBehind(rooms.authenticator, rooms.directory),
        sessions=SessionsHere(live, calls, directory, rooms.recordings, reading),
        trail=TrailOnDisk(directory, rooms.log, reading, new_id),
        tasks=TasksHere(cluster, rooms.policy, config.ssh.listen[0].port),
        capacity=CapacityHere(cluster, time.time, rooms.reports, rooms.usage, one_engine=config.docker.inventory),
        unique=UniqueHere(cluster, time.time, config.unique.mode, rooms.scaler),
        dependencies=Readiness(rooms, servers=servers).dependencies,
        clock=time.time,
        version=version("octopus-gateway"),
    )


class Readiness:
    """What the gateway depends on, and how each is doing. The directory serves while one of its ``servers`` does."""

    def __init__(self, rooms: Rooms, *, servers: int = 1) -> None:
        self._rooms = rooms
        self._servers = servers
        self._turn = asyncio.Lock()
        self._probed = Dependency(name="directory", ready=False, why=SILENT)
        self._probed_at = float("-inf")

    async def dependencies(self) -> Sequence[Dependency]:
        """Return the audit trail, the directory and the feeds."""
        problem = self._rooms.log.problem
        trail = Dependency(name="audit trail", ready=not problem, why="it cannot be written", error=problem)
        feeds = [_of_feed(feed.status()) for feed in self._rooms.sources.feeds]
        return [trail, await self._directory(), *feeds]

    async def _directory(self) -> Dependency:
        async with self._turn:
            now = time.monotonic()
            if now - self._probed_at >= PROBE_INTERVAL:
                faults = await self._rooms.directory.probe()
                ready = len(faults) < self._servers
                self._probed = Dependency(name="directory", ready=ready, age=0.0 if ready else None, why=SILENT, error="; ".join(faults))
                self._probed_at = now
            return self._probed


def _of_feed(status: FeedStatus) -> Dependency:
    ready = status.since > 0 and (not status.error or status.age <= STALE)
    why = f"not read for {status.age:.0f} s" if status.since > 0 else "not read yet"
    return Dependency(name=status.name, ready=ready, age=status.age if status.since > 0 else None, why=why, error=status.error)
