"""What an entry's attributes say about the account."""

from __future__ import annotations

import pytest

from octopus.identity.accounts import account_fault

NOW = 1_800_000_000.0  # 2027-01-15
TODAY = int(NOW // 86_400)


def _ticks(moment: float) -> bytes:
    return str(int((moment + 11_644_473_600) * 10_000_000)).encode()


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("useraccountcontrol", b"512", ""),
        ("useraccountcontrol", b"514", "disabled"),
        ("useraccountcontrol", b"66050", "disabled"),
        ("useraccountcontrol", b"many", "unreadable"),
        ("msds-user-account-control-computed", b"16", "locked"),
        ("msds-user-account-control-computed", b"8388608", "password has expired"),
        ("accountexpires", b"0", ""),
        ("accountexpires", b"9223372036854775807", ""),
        ("accountexpires", _ticks(NOW - 1), "expired"),
        ("accountexpires", _ticks(NOW + 1), ""),
        ("shadowexpire", b"-1", ""),
        ("shadowexpire", b"0", "expired"),
        ("shadowexpire", str(TODAY).encode(), "expired"),
        ("shadowexpire", str(TODAY + 1).encode(), ""),
        ("pwdaccountlockedtime", b"000001010000Z", "locked"),
        ("pwdaccountlockedtime", b"20270115080000Z", "locked"),
        ("nsaccountlock", b"TRUE", "disabled"),
        ("nsaccountlock", b"false", ""),
        ("nsaccountlock", b"perhaps", "disabled"),
        ("logindisabled", b"TRUE", "disabled"),
        ("logindisabled", b"FALSE", ""),
    ],
)
def test_each_directory_s_word_for_switched_off_is_understood(name: str, value: bytes, fault: str) -> None:
    """Disabled, expired and locked accounts are told from usable ones, and what cannot be read counts against them."""
    found = account_fault({name: [value]}, now=NOW, bound=False)
    assert fault in found
    assert bool(found) is bool(fault)


@pytest.mark.parametrize(
    ("name", "value", "usable"),
    [
        ("pwdaccountlockedtime", b"20270115080000Z", True),
        ("pwdaccountlockedtime", b"000001010000Z", False),
        ("msds-user-account-control-computed", b"16", True),
        ("useraccountcontrol", b"514", False),
        ("shadowexpire", b"1", False),
    ],
)
def test_an_accepted_bind_settles_a_temporary_lock_only(name: str, value: bytes, usable: bool) -> None:
    """The directory knows when a lock is over; it does not always know that an account is."""
    assert (account_fault({name: [value]}, now=NOW, bound=True) == "") is usable


def test_one_bad_value_among_good_ones_is_enough() -> None:
    """Several values of one attribute are all heeded."""
    assert account_fault({"nsaccountlock": [b"false", b"true"], "accountexpires": [b"0"]}, now=NOW, bound=True)


def test_an_entry_that_says_nothing_is_usable() -> None:
    """Most directories say nothing about an account that is in order."""
    assert account_fault({}, now=NOW, bound=False) == ""
