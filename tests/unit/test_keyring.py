"""The keyring: whose key it is, how fresh that is, and how seldom the directory is asked."""

from __future__ import annotations

import asyncio

import pytest

from octopus.core.errors import DirectoryUnavailable
from octopus.identity.keyring import KeyOwner, Keyring
from tests.fake_directory import FakeClock


class Source:
    """A directory's keys, and how often they were read."""

    def __init__(self) -> None:
        self.people: dict[str, frozenset[str]] = {"alice": frozenset({"A"}), "carol": frozenset({"S"}), "dave": frozenset({"S", "D"})}
        self.read = 0
        self.readings = asyncio.Queue[bool]()
        self.available = True
        self.clock = FakeClock()
        self.seconds = 0.0

    async def __call__(self) -> list[KeyOwner]:
        """Read them all; takes ``seconds``."""
        self.read += 1
        self.readings.put_nowait(self.available)
        await self.clock.sleep(self.seconds)
        if not self.available:
            raise DirectoryUnavailable("down")
        return [KeyOwner(login=login, fingerprints=keys) for login, keys in self.people.items()]


@pytest.fixture
def source() -> Source:
    """A source of keys."""
    return Source()


async def test_the_first_question_reads_the_ring_and_later_ones_do_not(source: Source) -> None:
    """Known keys are answered from memory."""
    ring = Keyring(source, clock=source.clock)
    assert await ring.owners("A") == ("alice",)
    assert await ring.owners("S") == ("carol", "dave")
    assert await ring.owners("D") == ("dave",)
    assert source.read == 1


async def test_an_unknown_key_is_looked_for_at_a_limited_rate(source: Source) -> None:
    """A flood of unknown keys reads the directory once in ten seconds, and the same key once in a minute."""
    ring = Keyring(source, clock=source.clock, miss_interval=10, missing_for=60)
    for n in range(100):
        assert await ring.owners(f"unknown{n}") == ()
    assert source.read == 1
    source.clock.now += 11
    assert await ring.owners("unknown0") == ()
    assert source.read == 1
    source.people["bob"] = frozenset({"B"})
    assert await ring.owners("B") == ("bob",)
    assert source.read == 2
    source.clock.now += 60
    assert await ring.owners("unknown0") == ()
    assert source.read == 3


async def test_a_directory_that_is_slow_to_read_is_left_alone_for_longer(source: Source) -> None:
    """Reading on misses takes at most about a tenth of the time."""
    source.seconds = 30
    ring = Keyring(source, clock=source.clock, miss_interval=10)
    await ring.owners("unknown")
    source.clock.now += 299
    await ring.owners("other")
    assert source.read == 1
    source.clock.now += 2
    await ring.owners("other")
    assert source.read == 2


async def test_a_key_that_was_taken_away_is_gone_with_the_next_reading(source: Source) -> None:
    """A reading replaces all that was known."""
    ring = Keyring(source, clock=source.clock)
    await ring.refresh()
    del source.people["alice"]
    await ring.refresh()
    assert await ring.owners("A") == ()


async def test_while_the_directory_is_down_known_keys_are_known_and_others_unknowable(source: Source) -> None:
    """What was read stays; of another key it cannot be said that it is nobody's, neither at once nor within the rate."""
    ring = Keyring(source, clock=source.clock)
    await ring.refresh()
    source.available = False
    source.clock.now += 11
    assert await ring.owners("A") == ("alice",)
    for _ in range(5):
        with pytest.raises(DirectoryUnavailable):
            await ring.owners("unknown")
    assert source.read == 2


async def test_the_keys_it_remembers_as_missing_are_bounded(source: Source) -> None:
    """A flood of fingerprints does not fill the memory: the oldest is forgotten, and looked for again."""
    ring = Keyring(source, clock=source.clock, miss_interval=0, missing_for=1000, max_missing=3)
    for n in range(5):
        await ring.owners(f"unknown{n}")
    assert source.read == 5
    await ring.owners("unknown4")
    assert source.read == 5
    await ring.owners("unknown0")
    assert source.read == 6


async def test_it_keeps_itself_fresh_through_failures_until_cancelled(source: Source) -> None:
    """The background reading survives a directory that is down."""
    source.available = False
    ring = Keyring(source, clock=source.clock, refresh_interval=0, retry_interval=0)
    running = asyncio.create_task(ring.run())
    failures = [await source.readings.get() for _ in range(3)]
    source.available = True
    while await source.readings.get() is not True:
        failures.append(False)
    await source.readings.get()  # by now the first good one has been taken in
    assert await ring.owners("A") == ("alice",)
    assert not any(failures)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
