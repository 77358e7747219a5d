"""Failure limits: what is admitted, what waits, what is refused, and how much is remembered."""

from __future__ import annotations

import pytest

from octopus.identity.limits import FailureLimits, Outcome, Verdict, network

ALICE = ("alice", "192.0.2.1")


def _attempt(limits: FailureLimits, login: str, address: str, now: float, outcome: Outcome) -> Verdict:
    verdict = limits.begin(login, address, now)
    if verdict is Verdict.ADMITTED:
        limits.settle(login, address, now, outcome)
    return verdict


def test_the_sixth_failure_of_a_login_is_refused_wherever_it_comes_from() -> None:
    """Guesses at one login from many addresses are counted together, and forgotten when the window is over."""
    limits = FailureLimits(failures_per_login=5, window=600)
    verdicts = [_attempt(limits, "alice", f"192.0.2.{n}", n, Outcome.REFUSED) for n in range(6)]
    assert verdicts == [Verdict.ADMITTED] * 5 + [Verdict.LIMITED]
    assert limits.begin("bob", "192.0.2.77", 6) is Verdict.ADMITTED
    assert limits.begin("alice", "192.0.2.1", 599) is Verdict.LIMITED
    assert limits.begin("alice", "192.0.2.1", 601) is Verdict.ADMITTED


@pytest.mark.parametrize("spelling", ["ALICE", "\uff41lice", "Alice"])
def test_other_spellings_of_a_login_are_the_same_login(spelling: str) -> None:
    """A directory ignores case and width, so the count does too."""
    limits = FailureLimits(failures_per_login=1)
    _attempt(limits, *ALICE, 0, Outcome.REFUSED)
    assert limits.begin(spelling, "192.0.2.9", 1) is Verdict.LIMITED


def test_guesses_at_many_logins_from_one_address_are_refused() -> None:
    """An address is limited whatever logins it tries; others are not."""
    limits = FailureLimits(failures_per_address=3)
    verdicts = [_attempt(limits, f"user{n}", "192.0.2.1", 0, Outcome.REFUSED) for n in range(4)]
    assert verdicts == [Verdict.ADMITTED] * 3 + [Verdict.LIMITED]
    assert limits.begin("user9", "192.0.2.2", 0) is Verdict.ADMITTED


def test_a_success_clears_the_login_but_never_the_address() -> None:
    """Someone with one valid account cannot buy guesses at others with it."""
    limits = FailureLimits(failures_per_login=2, failures_per_address=2)
    _attempt(limits, *ALICE, 0, Outcome.REFUSED)
    _attempt(limits, *ALICE, 0, Outcome.ACCEPTED)
    _attempt(limits, *ALICE, 0, Outcome.REFUSED)
    assert limits.begin("alice", "192.0.2.2", 0) is Verdict.ADMITTED
    assert limits.begin("mallory", "192.0.2.1", 0) is Verdict.LIMITED


def test_a_hundred_guesses_at_once_do_not_slip_through() -> None:
    """Attempts in flight count: no more than the limit are ever asked at a time, and failing they use it up."""
    limits = FailureLimits(failures_per_login=5)
    verdicts = [limits.begin("alice", f"2001:db8:{n:x}::1", 0) for n in range(100)]
    assert verdicts.count(Verdict.ADMITTED) == 5
    assert verdicts.count(Verdict.WAIT) == 95
    for n in range(5):
        limits.settle("alice", f"2001:db8:{n:x}::1", 0, Outcome.REFUSED)
    assert limits.begin("alice", "2001:db8:99::1", 0) is Verdict.LIMITED


def test_an_attempt_the_directory_never_answered_leaves_no_trace() -> None:
    """A directory that is down does not use up anybody's attempts."""
    limits = FailureLimits(failures_per_login=1)
    _attempt(limits, *ALICE, 0, Outcome.UNKNOWN)
    assert len(limits) == 0
    assert limits.begin(*ALICE, 0) is Verdict.ADMITTED


def test_memory_is_bounded_and_what_is_in_flight_is_kept() -> None:
    """A flood of names forgets the oldest failures first, never an attempt that has not ended."""
    limits = FailureLimits(failures_per_login=1, failures_per_address=1, max_keys=10)
    assert limits.begin(*ALICE, 0) is Verdict.ADMITTED
    for n in range(1000):
        _attempt(limits, f"user{n}", f"10.0.{n // 250}.{n % 250}", n, Outcome.REFUSED)
    assert len(limits) == 20
    assert limits.begin(*ALICE, 1000) is Verdict.WAIT
    assert limits.begin("user999", "192.0.2.200", 1000) is Verdict.LIMITED
    limits.settle(*ALICE, 1000, Outcome.REFUSED)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("not an address", "another", False),
    ],
)
def test_addresses_are_counted_by_network(one: str, other: str, same: bool) -> None:
    """An IPv6 /64 is one customer's, so it is one address here."""
    assert (network(one) == network(other)) is same


@pytest.mark.parametrize("bad", [{"failures_per_login": 0}, {"failures_per_address": 0}, {"max_keys": 0}])
def test_limits_of_nothing_are_refused(bad: dict[str, int]) -> None:
    """A limit that would refuse everybody, or remember nothing, is a fault."""
    with pytest.raises(ValueError, match="positive"):
        FailureLimits(**bad)
