"""What containers use, by an engine's own count: every task's container on one agent, found as a session would find it.

``GET /containers/ID/stats`` once; from API 1.41 on ``one-shot`` spares the engine a second sample and us its second of waiting.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from octopus.core.groups import ours
from octopus.core.types import ContainerClue, EngineAddress
from octopus.core.usage import Reading
from octopus.engine.api import EngineApi
from octopus.engine.containers import ContainerGone, expect
from octopus.engine.engines import Engines
from octopus.engine.identify import SANDBOX, matched
from octopus.engine.limits import EngineLimits, faults
from octopus.engine.wire import Listed, decode

ONE_SHOT_SINCE = (1, 41)
IDLE = 1.0
"""Seconds for which threads and connections are kept after a reading: with many agents they would add up."""

THREADS = 2
_YEAR_2000 = 946_684_800.0


class Cpu(msgspec.Struct, frozen=True):
    """``cpu_usage``: nanoseconds."""

    total_usage: int = 0


class CpuStats(msgspec.Struct, frozen=True):
    """``cpu_stats``."""

    cpu_usage: Cpu = Cpu()


class MemoryStats(msgspec.Struct, frozen=True):
    """``memory_stats``: ``usage`` holds the page cache too, of which ``stats`` says what could be dropped at once."""

    usage: int = 0
    stats: dict[str, int] | None = None

    @property
    def used(self) -> int:
        """Bytes in use, as ``docker stats`` has it: without inactive files (cgroup v2, v1), or the cache (old engines)."""
        parts = self.stats or {}
        dropped = next((parts[name] for name in ("inactive_file", "total_inactive_file", "cache") if name in parts), 0)
        return max(0, self.usage - dropped)


class NetworkStats(msgspec.Struct, frozen=True):
    """One of ``networks``; a container in the host's network has none."""

    rx_bytes: int = 0
    tx_bytes: int = 0


class Moved(msgspec.Struct, frozen=True):
    """Bytes of one kind at one device."""

    op: str = ""
    value: int = 0


class BlockStats(msgspec.Struct, frozen=True):
    """``blkio_stats``."""

    io_service_bytes_recursive: tuple[Moved, ...] | None = ()

    def moved(self, op: str) -> int:
        """Return the bytes of one kind over all devices; engines write it ``Read`` or ``read``."""
        return sum(each.value for each in self.io_service_bytes_recursive or () if each.op.casefold() == op)


class Stats(msgspec.Struct, frozen=True):
    """The answer."""

    read: str = ""
    cpu_stats: CpuStats = CpuStats()
    memory_stats: MemoryStats = MemoryStats()
    networks: dict[str, NetworkStats] | None = None
    blkio_stats: BlockStats = BlockStats()


def reading(stats: Stats, now: float) -> Reading | None:
    """Return an answer as a Reading, None of a container that does not run (its time is the year 1)."""
    try:
        at = datetime.fromisoformat(stats.read).timestamp()
    except (ValueError, OverflowError):
        at = now
    if at < _YEAR_2000:
        return None
    networks = (stats.networks or {}).values()
    return Reading(
        at=at,
        cpu=stats.cpu_stats.cpu_usage.total_usage,
        memory=stats.memory_stats.used,
        received=sum(each.rx_bytes for each in networks),
        sent=sum(each.tx_bytes for each in networks),
        read=stats.blkio_stats.moved("read"),
        written=stats.blkio_stats.moved("write"),
    )


class EngineStats:
    """Reads engines; threads and connections are its own, apart from those of sessions. ``clock`` gives seconds since 1970."""

    def __init__(self, limits: EngineLimits, *, clock: Callable[[], float], sandbox: str = SANDBOX) -> None:
        self._limits = dataclasses.replace(limits, idle=IDLE, threads=THREADS)
        self._engines = Engines(self._limits)
        self._clock = clock
        self._sandbox = sandbox

    async def read(self, agent: str, address: EngineAddress, clues: Sequence[ContainerClue]) -> dict[int, tuple[str, Reading]]:
        """Return the container and its Reading for each clue (by its place) that one runs of. Raise ContainerUnavailable."""
        engine = await self._engines.get(agent, address)
        answer = await engine.api.call("GET", "/containers/json", step="list")
        with faults(agent, "list"):
            listed = decode(expect(agent, "list", answer, 200).body, list[Listed])
        found = matched(clues, listed, self._sandbox)
        once = {"one-shot": "true"} if await engine.api.version() >= ONE_SHOT_SINCE else {}
        try:
            done = await self._all(engine.api, found, once)
        except ExceptionGroup as group:
            raise ours(group) from None
        return {at: (found[at], each) for at, each in done.items() if each is not None}

    async def aclose(self) -> None:
        """Release everything."""
        await self._engines.aclose()

    async def _all(self, api: EngineApi, found: dict[int, str], once: dict[str, str]) -> dict[int, Reading | None]:
        # More at once would wait for a thread, and that counts as the engine's time.
        places = asyncio.Semaphore(THREADS)
        async with asyncio.TaskGroup() as group:
            asked = {at: group.create_task(self._stats(api, container, once, places)) for at, container in found.items()}
        return {at: task.result() for at, task in asked.items()}

    async def _stats(self, api: EngineApi, container: str, once: dict[str, str], places: asyncio.Semaphore) -> Reading | None:
        async with places:
            answer = await api.call("GET", f"/containers/{container}/stats", params={"stream": "false", **once}, step="stats")
        try:
            body = expect(api.agent, "stats", answer, 200).body
        except ContainerGone:
            return None
        with faults(api.agent, "stats"):
            return reading(decode(body, Stats), self._clock())
