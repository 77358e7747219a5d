"""The users file's text to users, or to all its faults at once.

[users.alice]
password = "$scrypt$ln=15,r=8,p=1$…$…"      # made by hash_password; without it no password is accepted
keys = ["ssh-ed25519 AAAA… alice@laptop"]    # lines of authorized_keys
groups = ["logging-dev"]
expires = 2027-12-31                         # the account ends when that day (UTC) begins; a time is possible too
disabled = false
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from octopus.core.errors import ConfigError, printable
from octopus.core.types import Value
from octopus.identity.logins import fold, is_login
from octopus.identity.passwords import PasswordHash, read_hash


class User(Value, frozen=True, kw_only=True):
    """One table of the file. ``expires`` in seconds since 1970, None for never."""

    login: str
    password: PasswordHash | None = None
    keys: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    expires: float | None = None
    disabled: bool = False

    def fault(self, now: float) -> str:
        """Return why the account may not be used, "" when it may."""
        if self.disabled:
            return "the account is disabled"
        return "the account is expired" if self.expires is not None and self.expires <= now else ""


def read_users(text: str) -> dict[str, User]:
    """Return the users by their login's folded spelling. Raise ConfigError with a line for each fault."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([printable(str(error))]) from error
    faults = [f"{printable(key)}: unknown key" for key in document if key != "users"]
    tables = document.get("users", {})
    if not isinstance(tables, dict):
        raise ConfigError([*faults, "users: not a table"])
    users: dict[str, User] = {}
    for login, table in tables.items():
        where = f"users.{printable(login)}"
        if not is_login(login):
            faults.append(f"{where}: not a login")
        elif fold(login) in users:
            faults.append(f"{where}: the same login as {printable(users[fold(login)].login)}")
        elif not isinstance(table, dict):
            faults.append(f"{where}: not a table")
        else:
            users[fold(login)] = _user(login, table, where, faults)
    if faults:
        raise ConfigError(faults)
    return users


def _user(login: str, table: Mapping[str, Any], where: str, faults: list[str]) -> User:
    fields: dict[str, Any] = {}
    for name, value in table.items():
        if name not in _READERS:
            faults.append(f"{where}.{printable(name)}: unknown key")
            continue
        try:
            fields[name] = _READERS[name](value)
        except ValueError as error:
            faults.append(f"{where}.{name}: {error}")
    return User(login=login, **fields)


def _password(value: Any) -> PasswordHash:
    if not isinstance(value, str):
        raise ValueError("not a string")  # noqa: TRY004 - a fault of the file, as all others
    return read_hash(value)


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError("not a list of strings")
    return tuple(value)


def _groups(value: Any) -> frozenset[str]:
    return frozenset(_strings(value))


def _expires(value: Any) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC).timestamp()
    raise ValueError("not a date")


def _disabled(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")  # noqa: TRY004 - a fault of the file, as all others
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "password": _password,
    "keys": _strings,
    "groups": _groups,
    "expires": _expires,
    "disabled": _disabled,
}
