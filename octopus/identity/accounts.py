"""Whether a directory's entry is an account that may be used now: what the directories of the field say about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Attributes = Mapping[str, Sequence[bytes]]
"""An entry's values by attribute name in lower case."""

_DAY = 86_400
_AD_DISABLED = 0x2
_AD_LOCKED = 0x10
_AD_PASSWORD_EXPIRED = 0x800000
_AD_NEVER = (0, 0x7FFFFFFFFFFFFFFF)
_AD_EPOCH = 11_644_473_600
"""Seconds from 1601 to 1970."""
_LOCKED_FOR_GOOD = b"000001010000Z"


def _user_account_control(value: bytes, now: float, bound: bool) -> str:
    """Active Directory: ADS_UF_ACCOUNTDISABLE, ADS_UF_LOCKOUT, ADS_UF_PASSWORD_EXPIRED ([MS-ADTS] 2.2.16)."""
    flags = int(value)
    if flags & _AD_DISABLED:
        return "disabled"
    if flags & _AD_LOCKED and not bound:
        return "locked"
    return "its password has expired" if flags & _AD_PASSWORD_EXPIRED and not bound else ""


def _account_expires(value: bytes, now: float, bound: bool) -> str:
    """Active Directory: 100 ns since 1601, 0 and 2^63-1 for never ([MS-ADA1] 2.2)."""
    ticks = int(value)
    return "expired" if ticks not in _AD_NEVER and ticks / 10_000_000 - _AD_EPOCH <= now else ""


def _shadow_expire(value: bytes, now: float, bound: bool) -> str:
    """POSIX (RFC 2307): days since 1970, negative for never."""
    days = int(value)
    return "expired" if 0 <= days * _DAY <= now else ""


def _locked_time(value: bytes, now: float, bound: bool) -> str:
    """OpenLDAP ppolicy. How long a lock lasts only the server knows: a bind it accepted says the lock is over."""
    return "locked" if value == _LOCKED_FOR_GOOD or not bound else ""


def _flag(value: bytes, now: float, bound: bool) -> str:
    """389 Directory Server's and eDirectory's booleans; what is neither is taken for yes."""
    return "" if value.strip().lower() == b"false" else "disabled"


_RULES: dict[str, Callable[[bytes, float, bool], str]] = {
    "useraccountcontrol": _user_account_control,
    "msds-user-account-control-computed": _user_account_control,
    "accountexpires": _account_expires,
    "shadowexpire": _shadow_expire,
    "pwdaccountlockedtime": _locked_time,
    "nsaccountlock": _flag,
    "logindisabled": _flag,
}

STATE_ATTRIBUTES = tuple(_RULES)
"""What to ask of an entry for ``account_fault``."""


def account_fault(attributes: Attributes, *, now: float, bound: bool) -> str:
    """Return why the account may not be used, "" when it may. ``now`` in seconds since 1970.

    ``bound`` says that the directory has just accepted the account's password, which settles temporary locks and the
    password's age, but not an account that is switched off or over. A value that cannot be read is a fault.
    """
    for name, rule in _RULES.items():
        for value in attributes.get(name, ()):
            try:
                fault = rule(value, now, bound)
            except ValueError:
                fault = "unreadable"
            if fault:
                return f"the account is {fault} ({name})"
    return ""
