"""A file as the directory, for where there is no LDAP: read again whenever it changes."""

from __future__ import annotations

import asyncio
import math
import os
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from octopus.core.errors import AuthenticationFailed, ConfigError, DirectoryUnavailable, printable
from octopus.core.types import Identity, Value
from octopus.identity.keys import is_fingerprint, read_lines
from octopus.identity.logins import fold, is_login, one_owner
from octopus.identity.passwords import PasswordHash, is_password, verify
from octopus.identity.users_toml import User, read_users

log = structlog.get_logger(__name__)

MAX_FILE = 16 * 1024 * 1024
"""Bytes."""


class _Contents(Value, frozen=True, kw_only=True):
    """What was read, and the state of the file when it was. ``owners`` are the users of each key, expired ones too."""

    stamp: tuple[int, ...]
    users: dict[str, User]
    owners: dict[str, tuple[User, ...]]
    dummy: PasswordHash


class UsersFile:
    """A ``Directory`` over a users file (its form: ``users_toml``).

    Raises ConfigError when the file cannot be used at the start. Later a change for the worse is reported once and what was
    read before stays. Passwords are checked in ``threads`` threads, at most ``max_waiting`` at a time.
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time, threads: int = 2, max_waiting: int = 64) -> None:
        self._path = Path(path)
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="users-file")
        self._max_waiting = max_waiting
        self._waiting = 0
        self._contents = _read(self._path)
        self._rejected: tuple[int, ...] | None = None

    async def check_password(self, login: str, password: str) -> Identity:
        """See ``Directory``. An unknown login costs as much work as a known one."""
        if not is_login(login) or not is_password(password):
            raise AuthenticationFailed(f"no login or no password that could be asked for: {printable(login)}")
        contents = self._current()
        user = contents.users.get(fold(login))
        known = user.password if user is not None else None
        right = await self._verify(password, known or contents.dummy)
        if user is None or known is None or not right:
            raise AuthenticationFailed(f"{printable(login)}: " + ("no such login" if user is None else "wrong password"))
        return self._identity(user, "password")

    async def look_up(self, login: str, method: str) -> Identity:
        """See ``Directory``."""
        user = self._current().users.get(fold(login))
        if user is None:
            raise AuthenticationFailed(f"{printable(login)}: no such login")
        return self._identity(user, method)

    async def by_key(self, fingerprint: str, login: str = "") -> Identity:
        """See ``Directory``."""
        contents, now = self._current(), self._clock()
        owners = contents.owners.get(fingerprint, ()) if is_fingerprint(fingerprint) else ()
        owning = [user.login for user in owners if fingerprint in read_lines(user.keys, now).fingerprints]
        return self._identity(contents.users[fold(one_owner(owning, login, fingerprint))], "publickey")

    async def probe(self) -> list[str]:
        """Return one line for each fault of the file as it is now, [] when there is none."""
        try:
            _read(self._path)
        except ConfigError as error:
            return list(error.faults)
        return []

    async def aclose(self) -> None:
        """Release the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _identity(self, user: User, method: str) -> Identity:
        if fault := user.fault(self._clock()):
            raise AuthenticationFailed(f"{printable(user.login)}: {fault}")
        return Identity(login=user.login, groups=user.groups, method=method)

    async def _verify(self, password: str, known: PasswordHash) -> bool:
        if self._waiting >= self._max_waiting:
            raise DirectoryUnavailable(f"{self._waiting} passwords are waiting to be checked")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, verify, password, known)
        finally:
            self._waiting -= 1

    def _current(self) -> _Contents:
        """Return the file's contents, read again when the file is another one than before."""
        stamp = _stamp_of(self._path)
        if stamp not in (self._contents.stamp, self._rejected):
            try:
                self._contents = _read(self._path)
                self._rejected = None
            except ConfigError as error:
                self._rejected = stamp
                log.warning("users file not usable, the former contents stay", faults=error.faults)
        return self._contents


def _stamp(state: os.stat_result) -> tuple[int, ...]:
    return (state.st_ino, state.st_mtime_ns, state.st_ctime_ns, state.st_size)


def _stamp_of(path: Path) -> tuple[int, ...]:
    try:
        return _stamp(path.stat())
    except OSError:
        return ()


def _read(path: Path) -> _Contents:
    """Read and check the file. Raise ConfigError, each fault with the file's name."""
    try:
        data, stamp = _read_bytes(path)
        users = read_users(data.decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror if isinstance(error, OSError) else error}"]) from error
    except ConfigError as error:
        raise ConfigError([f"{path}: {fault}" for fault in error.faults]) from error
    return _Contents(stamp=stamp, users=users, owners=_owners(users), dummy=_dummy(users))


def _read_bytes(path: Path) -> tuple[bytes, tuple[int, ...]]:
    """Return the file's bytes and stamp, all from one descriptor, so that what is checked is what is read."""
    with open(path, "rb", opener=_open_at_once) as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise ConfigError(["not a regular file"])
        if state.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise ConfigError(["others must not be able to read it, nor any but its owner to write it (chmod 640)"])
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ConfigError([f"larger than {MAX_FILE} bytes"])
    return data, _stamp(state)


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting, should the path be a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _owners(users: dict[str, User]) -> dict[str, tuple[User, ...]]:
    """Return who has which key, as if none had expired yet."""
    owners: dict[str, tuple[User, ...]] = {}
    for user in users.values():
        for fingerprint in read_lines(user.keys, -math.inf).fingerprints:
            owners[fingerprint] = (*owners.get(fingerprint, ()), user)
    return owners


def _dummy(users: dict[str, User]) -> PasswordHash:
    """Return a hash of no password that costs as much to check as the dearest in the file."""
    hashes = [user.password for user in users.values() if user.password is not None]
    cost = max(hashes, key=lambda known: known.work, default=None)
    ln, r, p = (cost.ln, cost.r, cost.p) if cost is not None else (15, 8, 1)
    return PasswordHash(ln=ln, r=r, p=p, salt=os.urandom(16), digest=os.urandom(32))
