"""The gateway's composition root: builds the control plane from the configuration, starts and stops it in order."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from octopus import administration, building, hostkeys, offsite, unique_report
from octopus.config import Config
from octopus.config.process import Process, process
from octopus.config.sections import Docker, Ssh
from octopus.control import listeners
from octopus.control.accepting import Doors
from octopus.control.audit_log import FileAuditLog
from octopus.control.control_plane import ControlPlane
from octopus.control.live import LiveSessions
from octopus.control.placing import ConnectionLimits
from octopus.control.resolver import ClusterResolver
from octopus.control.supervisor import Places, Supervisor
from octopus.control.tallies import Tallies
from octopus.control.worker_pool import WorkerPlan
from octopus.core.policy import Policy
from octopus.engine.backend import DockerBackend, EngineBackend
from octopus.engine.mesos_exec import MesosBackend
from octopus.fleet.following_figures import event_families, unique_families
from octopus.fleet.history import EventHistory
from octopus.fleet.metrics import Source
from octopus.fleet.unique_scaler import UniqueScaler
from octopus.identity.authenticator import Authenticator
from octopus.identity.ldap import LdapDirectory
from octopus.measuring import Measuring
from octopus.session.worker_settings import WorkerSettings

WORKER = (sys.executable, "-I", "-m", "octopus.session_worker")
"""How a session worker is started: isolated from the environment and the current directory."""
FIRST_READING = 10.0
"""Seconds that connections wait for the cluster to be read at the start."""


def serve(config: Config, *, log_level: str = "info") -> None:
    """Run the gateway until SIGTERM (sessions go on) or SIGINT (sessions end). Raise ConfigError, AuditUnavailable."""
    # Only the workers need the keys, but a gateway whose workers cannot start must not take connections.
    hostkeys.read(Path(config.ssh.host_keys))
    private_files()
    asyncio.run(_serve(config, process(), log_level))


def private_files() -> None:
    """Keep what this process and its workers make from now on to its owner: also directories on the way to others, whose mode mkdir(2)
    is not told."""
    os.umask(0o077)


async def _serve(config: Config, told: Process, log_level: str) -> None:
    async with supervisor(config, told, log_level) as gateway:
        gateway.obey_signals()
        await gateway.run()


@dataclass(frozen=True, kw_only=True)
class _Control:
    """The control plane and what it stands on."""

    sources: building.Sources
    directory: building.ProbedDirectory
    authenticator: Authenticator
    policy: Policy
    tallies: Tallies
    log: FileAuditLog
    plane: ControlPlane

    def kept_up_to_date(self) -> list[Coroutine[Any, Any, None]]:
        """Return what reads anew, for ever, what others know."""
        kept = [feed.run() for feed in self.sources.feeds]
        if self.sources.maintenance is not None:
            kept.append(self.sources.maintenance.run())
        if isinstance(self.directory, LdapDirectory):
            kept.append(self.directory.run())
        return kept


@asynccontextmanager
async def supervisor(config: Config, told: Process, log_level: str) -> AsyncIterator[Supervisor]:
    """Yield a supervisor over everything ``config`` describes; what keeps it up to date runs meanwhile."""
    async with AsyncExitStack() as stack:
        places = _places(config)
        control = _control(config, places, stack)
        backend = _backend(config.docker, stack)
        unique = unique_report.daemon(config, control.sources, control.log, stack)
        shipments = offsite.shipments(config, control.log.last)
        measuring = _measuring(config, control, [*_following(control.sources.history, unique), partial(offsite.figures, shipments)], stack)
        pages = administration.server(config, _rooms(control, places, measuring, unique), stack)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one) for one in control.kept_up_to_date()]
            gateway = Supervisor(
                plane=control.plane,
                log=control.log,
                reap=backend.reap,
                places=places,
                doors=_doors(config, told, control.sources),
                limits=_connection_limits(config.ssh),
                workers=WorkerPlan(command=WORKER, count=config.ssh.workers or os.cpu_count() or 1),
                worker_settings=msgspec.json.encode(_worker_settings(config, recordings=places.recordings, log_level=log_level)),
                new_id=partial(secrets.token_hex, 4),
                version=version("octopus-gateway"),
                beside=[*(part.run for part in (pages, unique, *shipments) if part is not None), *measuring.services],
                scale=unique.scale if unique else None,
            )
            measuring.loads = gateway.loads
            yield gateway
            for task in running:
                task.cancel()


def _places(config: Config) -> Places:
    audit = Path(config.audit.directory)
    return Places(runtime=Path(config.ssh.runtime_directory), spool=audit / "spool", recordings=audit / "recordings")


def _control(config: Config, places: Places, stack: AsyncExitStack) -> _Control:
    directory = building.directory(config.auth)
    stack.push_async_callback(directory.aclose)
    sources, tallies = building.sources(config, stack), Tallies()
    log = building.audit_log(config.audit, written=tallies.note)
    authenticator, policy = building.authenticator(config.limits, directory), building.policy(config)
    plane = ControlPlane(
        log=log,
        live=LiveSessions(places.runtime / "sessions"),
        authenticator=authenticator,
        resolver=_resolver(config, sources),
        policy=policy,
        clock=time.time,
        new_token=partial(secrets.token_hex, 16),
        max_sessions=config.ssh.max_sessions,
    )
    return _Control(sources=sources, directory=directory, authenticator=authenticator, policy=policy, tallies=tallies, log=log, plane=plane)


def _backend(docker: Docker, stack: AsyncExitStack) -> EngineBackend:
    limits = building.engine_limits(docker)
    backend = EngineBackend(DockerBackend(limits), MesosBackend(limits))
    stack.push_async_callback(backend.aclose)
    return backend


def _measuring(config: Config, control: _Control, more: Sequence[Source], stack: AsyncExitStack) -> Measuring:
    return Measuring(config, stack, sources=control.sources, plane=control.plane, log=control.log, tallies=control.tallies, more=more)


def _rooms(control: _Control, places: Places, measuring: Measuring, unique: UniqueScaler | None) -> administration.Rooms:
    registry = CollectorRegistry()
    measuring.register(registry)
    return administration.Rooms(
        plane=control.plane,
        authenticator=control.authenticator,
        policy=control.policy,
        log=control.log,
        directory=control.directory,
        sources=control.sources,
        registry=registry,
        recordings=places.recordings,
        reports=measuring.capacity,
        scaler=unique,
        usage=measuring.usage,
    )


def _doors(config: Config, told: Process, sources: building.Sources) -> Doors:
    return Doors(
        listen=[str(address) for address in config.ssh.listen],
        inherited=listeners.inherited(told.listen_fds),
        ready=partial(_first_reading, sources),
        notify_socket=told.notify_socket,
    )


def _following(history: EventHistory, unique: UniqueScaler | None) -> list[Source]:
    """Return the figures of Marathon's events and of the UNIQUE daemon."""
    figures: list[Source] = [lambda: event_families(history)]
    if unique is not None:
        figures.append(lambda: unique_families(unique.counters, unique.lead))
    return figures


async def _first_reading(sources: building.Sources) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_READING):
            await asyncio.gather(*(feed.tried() for feed in sources.feeds))


def _resolver(config: Config, sources: building.Sources) -> ClusterResolver:
    return ClusterResolver(
        sources.cluster,
        engine_address=partial(building.engine_address, config.docker),
        look_ups=[feed.look_up for feed in sources.feeds],
        agent_container_id=sources.container_id,
        first_reading=partial(_first_reading, sources),
    )


def _connection_limits(ssh: Ssh) -> ConnectionLimits:
    return ConnectionLimits(
        connections=ssh.max_connections,
        unauthenticated=ssh.max_unauthenticated,
        per_address=ssh.max_unauthenticated_per_address,
        named_later=ssh.proxy_protocol,
    )


def _worker_settings(config: Config, *, recordings: Path, log_level: str) -> WorkerSettings:
    ssh, docker = config.ssh, config.docker
    return WorkerSettings(
        host_keys=ssh.host_keys,
        recordings=str(recordings),
        trusted_user_ca_keys=ssh.trusted_user_ca_keys,
        banner_file=ssh.banner_file,
        login_grace_time=ssh.login_grace_time,
        idle_timeout=ssh.idle_timeout,
        bulk_share=ssh.bulk_share,
        post_quantum_only=ssh.post_quantum == "required",
        drain_timeout=ssh.drain_timeout,
        proxy_protocol=ssh.proxy_protocol,
        log_level=log_level,
        engine_connect=docker.connect_timeout,
        engine_call=docker.call_timeout,
        engine_start=docker.start_timeout,
        engine_exit=docker.exit_timeout,
        engine_calls=docker.calls,
        spool_directory=docker.spool_directory,
        spool_size=docker.spool_size,
    )
