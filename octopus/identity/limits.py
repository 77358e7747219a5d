"""Failed passwords per login and per address in a window: refused here before the directory is asked.

The directory counts failed binds towards locking an account; as it is asked less often than it would lock, nobody can lock
an account through the gateway. Attempts in flight count as failures until they are settled, so that many guesses at once
do not slip through. A password the directory accepted clears the login's count, as it clears the directory's own; it never
clears the address's, or one valid account would buy unlimited guesses at others.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from enum import Enum, auto

from octopus.identity.logins import fold


class Outcome(Enum):
    """How an attempt ended. UNKNOWN is for one that the directory did not answer."""

    ACCEPTED = auto()
    REFUSED = auto()
    UNKNOWN = auto()


class Verdict(Enum):
    """What to do with an attempt. WAIT: it may only become possible when one in flight is settled."""

    ADMITTED = auto()
    WAIT = auto()
    LIMITED = auto()


class _Count:
    """Failures of one login or address: when they were, and how many attempts are in flight."""

    __slots__ = ("failures", "in_flight")

    def __init__(self) -> None:
        self.failures: deque[float] = deque()
        self.in_flight = 0


class _Counts:
    """Counts by key, at most ``max_keys`` of them besides those in flight: the longest untouched goes first."""

    def __init__(self, limit: int, window: float, max_keys: int) -> None:
        self._limit = limit
        self._window = window
        self._max_keys = max_keys
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def verdict(self, key: str, now: float) -> Verdict:
        count = self._counts.get(key)
        if count is None:
            return Verdict.ADMITTED
        while count.failures and count.failures[0] <= now - self._window:
            count.failures.popleft()
        if len(count.failures) >= self._limit:
            return Verdict.LIMITED
        return Verdict.WAIT if len(count.failures) + count.in_flight >= self._limit else Verdict.ADMITTED

    def begin(self, key: str) -> None:
        self._counts.setdefault(key, _Count()).in_flight += 1
        self._counts.move_to_end(key)

    def end(self, key: str, now: float, *, failed: bool, clear: bool) -> None:
        count = self._counts[key]
        count.in_flight -= 1
        if clear:
            count.failures.clear()
        if failed:
            count.failures.append(now)
        if not count.failures and not count.in_flight:
            del self._counts[key]
        self._trim()

    def _trim(self) -> None:
        """Forget the oldest idle counts. Those in flight are bounded by whoever admits them, and never forgotten."""
        while len(self._counts) > self._max_keys:
            oldest = next((key for key, count in self._counts.items() if not count.in_flight), None)
            if oldest is None:
                return
            del self._counts[oldest]


class FailureLimits:
    """The limits of ``[limits]``. Pure: ``now`` is any clock in seconds that never goes back."""

    def __init__(
        self,
        *,
        failures_per_login: int = 5,
        failures_per_address: int = 20,
        window: float = 600.0,
        max_keys: int = 100_000,
    ) -> None:
        if failures_per_login < 1 or failures_per_address < 1 or window <= 0 or max_keys < 1:
            raise ValueError("limits must be positive")
        self._logins = _Counts(failures_per_login, window, max_keys)
        self._addresses = _Counts(failures_per_address, window, max_keys)

    def __len__(self) -> int:
        return len(self._logins) + len(self._addresses)

    def begin(self, login: str, address: str, now: float) -> Verdict:
        """Count an attempt as begun when it is ADMITTED; then ``settle`` must follow."""
        login, address = fold(login), network(address)
        verdicts = (self._logins.verdict(login, now), self._addresses.verdict(address, now))
        for verdict in (Verdict.LIMITED, Verdict.WAIT):
            if verdict in verdicts:
                return verdict
        self._logins.begin(login)
        self._addresses.begin(address)
        return Verdict.ADMITTED

    def settle(self, login: str, address: str, now: float, outcome: Outcome) -> None:
        """End an attempt that ``begin`` admitted."""
        failed = outcome is Outcome.REFUSED
        self._logins.end(fold(login), now, failed=failed, clear=outcome is Outcome.ACCEPTED)
        self._addresses.end(network(address), now, failed=failed, clear=False)


def network(address: str) -> str:
    """Return what counts as one address: an IPv4 address, an IPv6 /64 (one customer's), anything else as it is."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))
