"""Which session worker gets the next connection, and whether there is room for it at all. Pure."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

BULK_RATE = float(1 << 20)
"""Bytes per second above which a worker moves bulk data: a person's typing and reading stay far below."""


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """What a worker is busy with: open connections, and bytes per second; ``silent`` when nothing was heard from it for long."""

    worker: str
    connections: int
    rate: float
    silent: bool = False


def choose(loads: Iterable[WorkerLoad], *, max_workers: int, bulk_rate: float = BULK_RATE) -> str | None:
    """Return the worker for a new connection, None for one that is yet to be started.

    A connection keeps no company with bulk data (each keystroke would wait behind it) while another worker is there or may be
    started; among the quiet ones the emptiest is taken, among the busy ones the least busy. One that is silent comes last of all:
    its process may hang, and every connection with it.
    """
    busiest_last = sorted(loads, key=lambda load: (load.silent, load.rate >= bulk_rate, load.connections, load.rate))
    if busiest_last and busiest_last[0].rate < bulk_rate:
        return busiest_last[0].worker
    if len(busiest_last) < max_workers:
        return None
    return min(busiest_last, key=lambda load: (load.silent, load.rate)).worker


class ConnectionLimits:
    """Counts connections, so that strangers cannot fill the gateway. 0 is off.

    ``per_address`` and ``unauthenticated`` limit connections whose person is not known yet, from one address (for IPv6: one
    /64, of which one machine has all) and in all; ``connections`` limits all. With ``named_later`` they all come from a balancer,
    and count for an address once it has said whose each one is.
    """

    def __init__(self, *, connections: int = 10_000, unauthenticated: int = 200, per_address: int = 20, named_later: bool = False) -> None:
        self._connections = connections
        self._unauthenticated = unauthenticated
        self._per_address = per_address
        self._named_later = named_later
        self._open: set[int] = set()
        self._strangers: dict[int, str] = {}
        self._by_source: Counter[str] = Counter()

    def opened(self, number: int, address: str) -> bool:
        """Count a new connection in; False, and not counted, when it is one too many."""
        source = "" if self._named_later else _source(address)
        if _full(len(self._open), self._connections) or _full(len(self._strangers), self._unauthenticated) or self._has_all(source):
            return False
        self._open.add(number)
        self._count(number, source)
        return True

    def named(self, number: int, address: str) -> bool:
        """The connection is from this address; False, and counted on for nobody, when it is one too many of theirs."""
        source = _source(address)
        if number not in self._strangers or self._strangers[number] == source:
            return True
        if self._has_all(source):
            return False
        self.authenticated(number)
        self._count(number, source)
        return True

    def authenticated(self, number: int) -> None:
        """The person on this connection is known."""
        source = self._strangers.pop(number, None)
        if source is not None:
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]

    def closed(self, number: int) -> None:
        """The connection is over."""
        self.authenticated(number)
        self._open.discard(number)

    def _has_all(self, source: str) -> bool:
        return bool(source) and _full(self._by_source[source], self._per_address)

    def _count(self, number: int, source: str) -> None:
        self._strangers[number] = source
        self._by_source[source] += 1


def _full(count: int, limit: int) -> bool:
    return bool(limit) and count >= limit


def _source(address: str) -> str:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
