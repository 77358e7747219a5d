"""The figures' composition root: what is worked out on timers over a running gateway, and where it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from octopus import building
from octopus.building import Sources
from octopus.config import Config
from octopus.control.audit_log import FileAuditLog
from octopus.control.control_plane import ControlPlane
from octopus.control.placing import WorkerLoad
from octopus.control.tallies import Tallies
from octopus.core.cluster import Cluster
from octopus.core.errors import OrchestratorUnavailable
from octopus.core.inventory import Agent
from octopus.core.types import ContainerClue
from octopus.core.usage import Reading
from octopus.engine.stats import EngineStats
from octopus.fleet.capacity_report import CapacityReports
from octopus.fleet.figures import Family
from octopus.fleet.gateway import GatewayFigures, gateway_families, state_families
from octopus.fleet.metrics import FigureCollector, Source
from octopus.fleet.report import Report
from octopus.fleet.statsd import StatsdSender
from octopus.fleet.usage import UsageSampler
from octopus.fleet.working import ReportQuestion, reported

FIRST_READING = 60.0
"""Seconds that the first report waits for the cluster to be read."""

PAUSE = 30.0
"""Seconds before figures that failed by a bug are begun again."""

_log = structlog.get_logger(__name__)


class Measuring:
    """What octopus knows in numbers, ``more`` included; what it holds is released by ``stack``. ``usage`` is None where it is off.

    ``loads`` is to be set once there are workers; ``services`` are to be run beside the gateway.
    """

    def __init__(
        self,
        config: Config,
        stack: AsyncExitStack,
        *,
        sources: Sources,
        plane: ControlPlane,
        log: FileAuditLog,
        tallies: Tallies,
        more: Sequence[Source] = (),
    ) -> None:
        self.loads: Callable[[], Sequence[WorkerLoad]] = tuple
        self._cluster, self._feeds = sources.cluster, sources.feeds
        self._plane, self._log, self._tallies = plane, log, tallies
        mesos, capacity = not config.docker.inventory, config.capacity
        self.capacity = CapacityReports(
            self._report, sound=self.sound, clock=time.time, ready=self._read, interval=capacity.interval, named=capacity.apps
        )
        self.sources: list[Source] = [self._gateway, self._state, *more]
        self.services: list[Callable[[], Coroutine[Any, Any, None]]] = []
        if mesos and capacity.interval:
            self.sources.append(self.capacity.families)
            self.services.append(partial(kept, self.capacity.run))
        self.usage = usage_sampler(config, sources.cluster, stack) if config.usage.interval else None
        if self.usage is not None:
            self.sources.append(self.usage.families)
            self.services.append(partial(kept, self.usage.run))
        if statsd := config.metrics.statsd:
            told, interval = config.metrics, config.metrics.statsd_interval
            sender = StatsdSender(statsd.host, statsd.port, self.sources, prefix=told.prefix, interval=interval)
            self.services.append(partial(kept, sender.run))

    def register(self, registry: CollectorRegistry) -> None:
        """Have ``/metrics`` tell all figures."""
        registry.register(FigureCollector(self.sources))

    def sound(self) -> bool:
        """Whether the state of the cluster is complete: every source works, and no agent is awaited after a failover."""
        return self._cluster.ready and not self._cluster.awaited and all(not feed.status().error for feed in self._feeds)

    async def _report(self, question: ReportQuestion) -> Report:
        if not self._cluster.ready:
            raise OrchestratorUnavailable
        return await reported(self._cluster, question)

    async def _read(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_READING):
                await asyncio.gather(*(feed.tried() for feed in self._feeds))

    def _state(self) -> Iterator[Family]:
        return state_families([feed.status() for feed in self._feeds], complete=self.sound())

    def _gateway(self) -> Iterator[Family]:
        loads, counts = tuple(self.loads()), self._tallies
        return gateway_families(
            GatewayFigures(
                live=len(self._plane.live),
                events=dict(counts.events),
                logins=dict(counts.logins),
                bytes_in=counts.bytes_in,
                bytes_out=counts.bytes_out,
                written=not self._log.problem,
                workers=len(loads),
                connections=sum(load.connections for load in loads),
                worker_rate=sum(load.rate for load in loads),
            )
        )


async def kept(run: Callable[[], Awaitable[None]], *, pause: float = PAUSE) -> None:
    """Run for ever what works figures out: a bug there is logged, and ends neither the gateway nor the figures for good."""
    while True:
        try:
            await run()
        except Exception as error:
            _log.error("bug in the figures", exc_info=error)
        await asyncio.sleep(pause)


def usage_sampler(config: Config, cluster: Cluster, stack: AsyncExitStack) -> UsageSampler:
    """Return what reads usage from the agents' engines; its connections are closed by ``stack``."""
    engines = EngineStats(building.engine_limits(config.docker), clock=time.time)
    stack.push_async_callback(engines.aclose)
    usage = config.usage

    async def read(agent: Agent, clues: Sequence[ContainerClue]) -> Mapping[int, tuple[str, Reading]]:
        return await engines.read(agent.hostname, building.engine_address(config.docker, agent.hostname, agent.ip), clues)

    return UsageSampler(
        cluster,
        read,
        clock=time.time,
        interval=usage.interval,
        engines=usage.engines,
        deadline=usage.deadline,
        apps=("**",) if config.docker.inventory else usage.apps,
    )
