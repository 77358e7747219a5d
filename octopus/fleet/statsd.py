"""Figures for StatsD, over UDP: gauges as they are, counters as what has come since the last time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from statsd import StatsClient

from octopus.fleet.figures import Family
from octopus.fleet.metrics import Source

DATAGRAM = 1400
"""Bytes of a datagram: what passes an Ethernet whole."""

MOST_LABEL = 200
_SPECIAL = re.compile(r"[^A-Za-z0-9_-]+")
_log = structlog.get_logger(__name__)

Line = tuple[str, float, bool]
"""A name, a value, and whether the value is added to what is there."""


def path(family: Family, values: Sequence[str]) -> str:
    """Return a sample's name with dots: the figure's words, then the values of its labels (``cluster.free.cpus.unreserved``)."""
    words = family.name.removesuffix("_total").split("_")
    return ".".join([*words, *(element(value) for value in values)])


def element(value: str) -> str:
    """Return a label's value as one element: ``/logging/logstash`` is ``logging_logstash``, the role ``*`` ``unreserved``."""
    return "unreserved" if value == "*" else _SPECIAL.sub("_", value[:MOST_LABEL]).strip("_") or "none"


class Deltas:
    """Turns families into lines; of counters it remembers what was told."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def lines(self, families: Iterable[Family]) -> Iterator[Line]:
        """Yield a line for each sample; of a counter that stands still none, one that began anew counts from 0."""
        for family in families:
            for values, value in family.samples:
                name = path(family, values)
                if not family.counter:
                    yield name, value, False
                    continue
                before = self._told.get(name, 0.0)
                self._told[name] = value
                if more := value - before if value >= before else value:
                    yield name, more, True


class StatsdSender:
    """Sends the figures of ``sources`` to ``host:port`` every ``interval`` seconds. The name is looked up each time.

    Whether anybody listens does not show with UDP; a host that is not found is logged once.
    """

    def __init__(self, host: str, port: int, sources: Iterable[Source], *, prefix: str = "octopus", interval: float = 10.0) -> None:
        self._host, self._port = host, port
        self._sources = tuple(sources)
        self._prefix = prefix
        self._interval = interval
        self._deltas = Deltas()
        self._failing = False

    async def run(self) -> None:
        """Send for ever."""
        thread = ThreadPoolExecutor(1, "statsd")
        try:
            while True:
                await asyncio.sleep(self._interval)
                lines = [line for source in self._sources for line in self._deltas.lines(source())]
                await self._send(thread, lines)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)  # a name server that hangs is not waited for

    async def _send(self, thread: ThreadPoolExecutor, lines: Sequence[Line]) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(thread, self._send_all, lines)
        except OSError as error:
            if not self._failing:
                _log.warning("StatsD cannot be reached", host=self._host, port=self._port, error=str(error))
            self._failing = True
        else:
            self._failing = False

    def _send_all(self, lines: Sequence[Line]) -> None:
        client = StatsClient(self._host, self._port, prefix=self._prefix, maxudpsize=DATAGRAM, ipv6=":" in self._host)
        try:
            with client.pipeline() as pipe:
                for name, value, added in lines:
                    if added:
                        pipe.incr(name, _short(value))
                    else:
                        pipe.gauge(name, _short(value))
        finally:
            client.close()


def _short(value: float) -> float:
    return int(value) if value == int(value) else round(value, 6)
