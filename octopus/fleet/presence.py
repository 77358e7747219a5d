"""Which agents come and go: one that did so more than once of late is not one to start instances on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

MAX_REMEMBERED = 20_000
"""Hosts of which returns are remembered."""


class Presence:
    """Watches hosts by name. One that came back ``often`` times within ``window`` seconds flaps, until it has been quiet for as long."""

    def __init__(self, *, window: float = 600.0, often: int = 2) -> None:
        self._window = window
        self._often = often
        self._known: frozenset[str] | None = None
        self._gone: dict[str, float] = {}
        self._returns: dict[str, deque[float]] = {}

    def watch(self, hosts: Iterable[str], now: float) -> None:
        """Take note of the hosts there are. The first look only says who is there."""
        there = frozenset(hosts)
        for host in (self._known or frozenset()) - there:
            self._gone[host] = now
        for host in there & self._gone.keys():
            del self._gone[host]
            self._returns.setdefault(host, deque(maxlen=self._often)).append(now)
        self._known = there
        self._forget(now)

    def unsettled(self, agents: Mapping[str, str], now: float) -> dict[str, str]:
        """Return why agents are not to be relied on, by id; ``agents`` is the host name of each."""
        flapping = {host for host, times in self._returns.items() if len(times) >= self._often and abs(now - times[0]) < self._window}
        minutes = round(self._window / 60)
        return {agent: f"it came back {self._often} times within {minutes} min" for agent, host in agents.items() if host in flapping}

    def _forget(self, now: float) -> None:
        self._returns = {host: times for host, times in self._returns.items() if abs(now - times[-1]) < self._window}
        self._gone = {host: left for host, left in self._gone.items() if abs(now - left) < self._window}
        for known in (self._returns, self._gone):
            while len(known) > MAX_REMEMBERED:
                del known[next(iter(known))]
