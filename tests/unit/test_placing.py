"""Who gets the next connection, and who gets none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from octopus.control.placing import ConnectionLimits, WorkerLoad, choose

BULK = 100.0


def loads(*busy: tuple[int, float]) -> list[WorkerLoad]:
    """Return workers ``0``, ``1``, … with these connections and rates."""
    return [WorkerLoad(str(place), connections, rate) for place, (connections, rate) in enumerate(busy)]


def pick(*busy: tuple[int, float], max_workers: int = 2) -> str | None:
    """Return the worker chosen."""
    return choose(loads(*busy), max_workers=max_workers, bulk_rate=BULK)


def test_the_emptiest_quiet_worker_is_taken() -> None:
    """Connections are spread."""
    assert pick((3, 0), (1, 50), (2, 0)) == "1"


def test_bulk_data_gets_no_company() -> None:
    """A worker that moves bulk data is passed over, however empty it is."""
    assert pick((1, 1e9), (30, 0)) == "1"


def test_where_all_are_busy_another_is_started() -> None:
    """Up to the cap."""
    assert pick((1, 1e9), (1, 1e9), max_workers=3) is None


def test_at_the_cap_the_least_busy_is_taken() -> None:
    """Nobody is turned away for it."""
    assert pick((1, 300), (9, 200), (1, 400), max_workers=3) == "1"


def test_a_silent_worker_comes_last() -> None:
    """However empty it is; but where no other is, it may only be slow."""
    silent, full, bulky = WorkerLoad("silent", 0, 0, silent=True), WorkerLoad("full", 9, 1), WorkerLoad("bulky", 1, 300)
    assert choose([silent, full], max_workers=2, bulk_rate=BULK) == "full"
    assert choose([silent, bulky], max_workers=2, bulk_rate=BULK) == "bulky"
    assert choose([silent, bulky], max_workers=3, bulk_rate=BULK) is None
    assert choose([silent], max_workers=3, bulk_rate=BULK) == "silent"


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 200)), min_size=1, max_size=6), st.integers(0, 6))
def test_a_quiet_worker_is_always_preferred(busy: list[tuple[int, float]], max_workers: int) -> None:
    """Whatever the mix, the choice is quiet when any worker is, and a new one only below the cap."""
    chosen = pick(*busy, max_workers=max_workers)
    if any(rate < BULK for _, rate in busy):
        assert chosen is not None
        assert busy[int(chosen)][1] < BULK
    else:
        assert (chosen is None) == (len(busy) < max_workers)


def test_strangers_are_limited_by_address() -> None:
    """One address cannot take all; once its people are known they count no more."""
    limits = ConnectionLimits(per_address=2)
    assert [limits.opened(number, "10.0.0.1") for number in range(3)] == [True, True, False]
    assert limits.opened(3, "10.0.0.2")
    limits.authenticated(0)
    assert limits.opened(4, "10.0.0.1")
    limits.closed(4)
    assert limits.opened(5, "10.0.0.1")


def test_strangers_are_limited_in_all() -> None:
    """From many addresses too, and a refused one is not counted."""
    limits = ConnectionLimits(unauthenticated=2)
    assert [limits.opened(number, f"10.0.0.{number}") for number in range(4)] == [True, True, False, False]
    limits.closed(0)
    assert limits.opened(4, "10.0.0.9")


def test_all_connections_are_limited() -> None:
    """Known people count as well."""
    limits = ConnectionLimits(connections=1)
    assert limits.opened(0, "10.0.0.1")
    limits.authenticated(0)
    assert not limits.opened(1, "10.0.0.1")


def test_an_ipv6_network_is_one_source() -> None:
    """One machine has a /64 of addresses; a mapped IPv4 address is what it maps."""
    limits = ConnectionLimits(per_address=1)
    assert limits.opened(0, "2001:db8::1")
    assert not limits.opened(1, "2001:db8::ffff:2")
    assert limits.opened(2, "2001:db8:0:1::1")
    assert limits.opened(3, "::ffff:10.0.0.1")
    assert not limits.opened(4, "10.0.0.1")


def test_behind_a_balancer_the_client_it_names_counts() -> None:
    """Not the balancer, from which all come; who has too many already is told from the others."""
    limits = ConnectionLimits(per_address=2, named_later=True)
    assert all(limits.opened(number, "10.0.0.1") for number in range(5))
    assert [limits.named(number, "192.0.2.7") for number in range(3)] == [True, True, False]
    assert limits.named(3, "192.0.2.8")
    limits.authenticated(0)
    assert limits.named(4, "192.0.2.7")
    limits.closed(2)
    limits.authenticated(1)
    assert limits.named(1, "192.0.2.8")
    assert limits.opened(5, "10.0.0.1")
    assert limits.named(5, "192.0.2.7")


def test_zero_is_off() -> None:
    """No limit where none is wanted."""
    limits = ConnectionLimits(connections=0, unauthenticated=0, per_address=0)
    assert all(limits.opened(number, "10.0.0.1") for number in range(1000))
