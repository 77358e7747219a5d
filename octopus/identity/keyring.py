"""Whose public key a fingerprint is: kept in memory, because a directory cannot be searched for a key without its comment.

The schema most directories use gives the attribute an octet-string equality rule, so only whole lines would match. The ring is
read anew now and then and, at a limited rate, when somebody shows a key it does not hold.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

import structlog

from octopus.core.errors import DirectoryUnavailable
from octopus.core.types import Value
from octopus.identity.single_flight import SingleFlight

log = structlog.get_logger(__name__)

_REST = 10
"""A reading on a miss leaves the directory alone for this many times as long as the last reading took."""


class KeyOwner(Value, frozen=True, kw_only=True):
    """Somebody and the fingerprints of their usable keys; ``skipped`` lines held none."""

    login: str
    fingerprints: frozenset[str]
    skipped: int = 0


class Keyring:
    """Fingerprints and their owners, as ``read`` gave them last. ``run`` keeps it fresh; times in seconds of ``clock``."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Iterable[KeyOwner]]],
        *,
        clock: Callable[[], float],
        refresh_interval: float = 300.0,
        retry_interval: float = 15.0,
        miss_interval: float = 10.0,
        missing_for: float = 60.0,
        max_missing: int = 10_000,
    ) -> None:
        self._read = read
        self._clock = clock
        self._refresh_interval = refresh_interval
        self._retry_interval = retry_interval
        self._miss_interval = miss_interval
        self._missing_for = missing_for
        self._max_missing = max_missing
        self._owners: dict[str, tuple[str, ...]] = {}
        self._missing: OrderedDict[str, float] = OrderedDict()
        self._next_on_miss = clock()
        self._failure: DirectoryUnavailable | None = None
        self._reading = SingleFlight[None]()

    async def run(self) -> None:
        """Read the ring now and then until cancelled; a failure is reported and tried again sooner."""
        while True:
            try:
                await self.refresh()
                rest = self._refresh_interval
            except DirectoryUnavailable as error:
                log.warning("keyring not refreshed", error=str(error))
                rest = self._retry_interval
            await asyncio.sleep(rest)

    async def refresh(self) -> None:
        """Read the ring. Raise DirectoryUnavailable and keep what is known; several at once are one reading."""
        await self._reading.run(None, self._refresh)

    async def owners(self, fingerprint: str) -> tuple[str, ...]:
        """Return who owns that key, () when nobody does. Raise DirectoryUnavailable when that cannot be known."""
        known = self._owners.get(fingerprint, ())
        if known or not self._may_read(fingerprint):
            if not known and self._failure is not None:
                raise DirectoryUnavailable(f"the keyring could not be read: {self._failure}") from self._failure
            return known
        await self.refresh()
        known = self._owners.get(fingerprint, ())
        if not known:
            self._remember_missing(fingerprint)
        return known

    def _may_read(self, fingerprint: str) -> bool:
        """Clients offer every key they have, so most that are unknown stay so: each is looked for only now and then."""
        now = self._clock()
        return now >= self._next_on_miss and now >= self._missing.get(fingerprint, now)

    def _remember_missing(self, fingerprint: str) -> None:
        self._missing[fingerprint] = self._clock() + self._missing_for
        self._missing.move_to_end(fingerprint)
        if len(self._missing) > self._max_missing:
            self._missing.popitem(last=False)

    async def _refresh(self) -> None:
        begun = self._clock()
        try:
            people = await self._read()
        except DirectoryUnavailable as error:
            self._failure = error
            raise
        else:
            self._failure = None
            self._owners = _by_fingerprint(people)
        finally:
            now = self._clock()
            self._next_on_miss = now + max(self._miss_interval, _REST * (now - begun))


def _by_fingerprint(people: Iterable[KeyOwner]) -> dict[str, tuple[str, ...]]:
    owners: dict[str, set[str]] = {}
    skipped = 0
    for person in people:
        skipped += person.skipped
        for fingerprint in person.fingerprints:
            owners.setdefault(fingerprint, set()).add(person.login)
    log.info("keyring read", keys=len(owners), skipped_lines=skipped)
    return {fingerprint: tuple(sorted(logins)) for fingerprint, logins in owners.items()}
