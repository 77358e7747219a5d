"""The admin's composition root: what the pages show and do, from the rooms of the control plane."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from octopus.admin import probes
from octopus.admin.probes import Dependency
from octopus.admin.server import AdminServer
from octopus.admin.web import application
from octopus.building import ProbedDirectory, Sources
from octopus.config import Config
from octopus.control.audit_log import FileAuditLog
from octopus.control.control_plane import ControlPlane
from octopus.core.inventory import FeedStatus

STALE = 120.0
"""Seconds for which what is known of a cluster is good while its feed fails."""
PROBE_INTERVAL = 10.0
"""Seconds between two questions to the directory, however often somebody asks whether it is there."""


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """The parts of a running gateway that the admin shows."""

    plane: ControlPlane
    log: FileAuditLog
    directory: ProbedDirectory
    sources: Sources
    registry: CollectorRegistry
    recordings: Path


def server(config: Config, rooms: Rooms, stack: AsyncExitStack) -> AdminServer | None:
    """Return the server of ``[admin]``, None where it is off; what it holds is released by ``stack``."""
    admin = config.admin
    if admin.listen is None:
        return None
    return AdminServer(
        application(
            probes.routes(Readiness(rooms, servers=len(config.auth.ldap.servers) if config.auth.ldap else 1).dependencies, rooms.registry)
        ),
        host=admin.listen.host,
        port=admin.listen.port,
        tls_cert=admin.tls_cert,
        tls_key=admin.tls_key,
        trusted_proxies=admin.trusted_proxies,
    )


class Readiness:
    """What the gateway depends on, and how each is doing. The directory serves while one of its ``servers`` does."""

    def __init__(self, rooms: Rooms, *, servers: int = 1) -> None:
        self._rooms = rooms
        self._servers = servers
        self._turn = asyncio.Lock()
        self._probed = Dependency(name="directory", ready=False)
        self._probed_at = float("-inf")

    async def dependencies(self) -> Sequence[Dependency]:
        """Return the audit trail, the directory and the feeds."""
        problem = self._rooms.log.problem
        trail = Dependency(name="audit trail", ready=not problem, error=problem)
        feeds = [_of_feed(feed.status()) for feed in self._rooms.sources.feeds]
        return [trail, await self._directory(), *feeds]

    async def _directory(self) -> Dependency:
        async with self._turn:
            now = time.monotonic()
            if now - self._probed_at >= PROBE_INTERVAL:
                faults = await self._rooms.directory.probe()
                ready = len(faults) < self._servers
                self._probed = Dependency(name="directory", ready=ready, age=0.0 if ready else -1.0, error="; ".join(faults))
                self._probed_at = now
            return self._probed


def _of_feed(status: FeedStatus) -> Dependency:
    ready = status.since > 0 and (not status.error or status.age <= STALE)
    return Dependency(name=status.name, ready=ready, age=status.age, error=status.error)
