"""Decides who somebody is, by any method, and refuses everybody else in the same words and the same time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable, printable
from octopus.core.ports import Directory
from octopus.core.types import Identity
from octopus.identity.limits import FailureLimits, Outcome, Verdict
from octopus.identity.logins import fold
from octopus.identity.single_flight import SingleFlight
from octopus.identity.unsettled import PasswordUnsettled

PASSWORD_METHODS = frozenset({"password", "keyboard-interactive"})


class RecentSuccesses:
    """Passwords that the directory accepted seconds ago, as MACs under a key that lives and dies with the process.

    Editors open several connections at once; each bind saved is one that cannot count towards locking an account.
    """

    def __init__(self, *, ttl: float, max_logins: int, key: bytes) -> None:
        self._ttl = ttl
        self._max_logins = max_logins
        self._key = key
        self._known: OrderedDict[str, tuple[bytes, float, Identity]] = OrderedDict()

    def mac(self, login: str, password: str) -> bytes:
        """Return what stands for this login with this password."""
        name = fold(login).encode("utf-8", "surrogatepass")
        secret = password.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, len(name).to_bytes(4, "big") + name + secret, hashlib.sha256)

    def find(self, login: str, mac: bytes, now: float) -> Identity | None:
        """Return who that was, if it is not too long ago."""
        known, until, identity = self._known.get(fold(login), (b"", 0.0, None))
        return identity if hmac.compare_digest(known, mac) and now < until else None

    def remember(self, login: str, mac: bytes, now: float, identity: Identity) -> None:
        """Keep one success for a login, the latest."""
        self._known[fold(login)] = (mac, now + self._ttl, identity)
        self._known.move_to_end(fold(login))
        while len(self._known) > self._max_logins:
            self._known.popitem(last=False)

    def forget(self, login: str) -> None:
        """Drop what is kept for a login."""
        self._known.pop(fold(login), None)


class Authenticator:
    """Authenticates by password, key or certificate against a directory, within limits. All times in seconds.

    A refusal comes ``refusal_time`` after the attempt began (``proof_refusal_time`` for keys and certificates, of which
    clients try several), or, where the directory was slower, after a whole multiple of it. An attempt that can only be
    judged once others in flight are settled waits for them up to ``queue_time``.
    """

    def __init__(
        self,
        directory: Directory,
        limits: FailureLimits,
        *,
        success_ttl: float = 10.0,
        refusal_time: float = 2.0,
        proof_refusal_time: float = 0.25,
        queue_time: float = 10.0,
        max_remembered: int = 1000,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._directory = directory
        self._limits = limits
        self._successes = RecentSuccesses(ttl=success_ttl, max_logins=max_remembered, key=secrets.token_bytes(32))
        self._flights = SingleFlight[Identity]()
        self._settled = asyncio.Event()
        self._refusal_time = refusal_time
        self._proof_refusal_time = proof_refusal_time
        self._queue_time = queue_time
        self._clock = clock
        self._sleep = sleep

    async def authenticate(
        self,
        *,
        method: str,
        login: str = "",
        password: str = "",
        fingerprint: str = "",
        principals: tuple[str, ...] = (),
        address: str,
    ) -> Identity:
        """Return who that is; signatures and certificates are already verified.

        ``method`` is ``password``, ``keyboard-interactive``, ``publickey`` (``fingerprint``; ``login`` may be "") or ``certificate``
        (``principals``; likewise). Raise AuthenticationFailed, whose ``str`` tells the operator the reason that the notice
        keeps from the person; DirectoryUnavailable.
        """
        began = self._clock()
        by_password = method in PASSWORD_METHODS
        try:
            if by_password:
                return await self._by_password(method, login, password, address)
            return await self._by_proof(method, login, fingerprint, principals)
        except AuthenticationFailed as refusal:
            await self._pad(began, self._refusal_time if by_password else self._proof_refusal_time)
            raise AuthenticationFailed(str(refusal)) from refusal

    async def _pad(self, began: float, step: float) -> None:
        """Wait until a whole number of steps has passed, so that the time does not tell what was refused."""
        passed = self._clock() - began
        await self._sleep(max(1, math.ceil(passed / step)) * step - passed)

    async def _by_proof(self, method: str, login: str, fingerprint: str, principals: tuple[str, ...]) -> Identity:
        if method == "publickey":
            return await self._directory.by_key(fingerprint, login)
        if method == "certificate":
            return await self._by_certificate(login, principals)
        raise AuthenticationFailed(f"unknown method {printable(method)}")

    async def _by_certificate(self, login: str, principals: tuple[str, ...]) -> Identity:
        if not login and len(principals) == 1:
            login = principals[0]
        if not login or login not in principals:
            raise AuthenticationFailed(f"the certificate is not valid for {printable(login) or 'one login'} ({len(principals)} principals)")
        return await self._directory.look_up(login, "certificate")

    async def _by_password(self, method: str, login: str, password: str, address: str) -> Identity:
        if not login or not password:
            raise AuthenticationFailed("no login or no password")
        mac = self._successes.mac(login, password)
        identity = self._successes.find(login, mac, self._clock())
        if identity is None:
            # The address is part of the key: each address answers for its own guesses.
            identity = await self._flights.run((mac, address), lambda: self._ask(login, password, mac, address))
        return msgspec.structs.replace(identity, method=method)

    async def _ask(self, login: str, password: str, mac: bytes, address: str) -> Identity:
        """Ask the directory, within the limits, and settle the attempt however it ends."""
        await self._admit(login, address)
        # Also what is cancelled here or left unanswered may still reach the directory, and count there.
        outcome = Outcome.REFUSED
        try:
            identity = await self._directory.check_password(login, password)
            outcome = Outcome.ACCEPTED
        except PasswordUnsettled:
            raise
        except DirectoryUnavailable:
            outcome = Outcome.UNKNOWN
            raise
        except AuthenticationFailed:
            self._successes.forget(login)
            raise
        finally:
            self._limits.settle(login, address, self._clock(), outcome)
            self._settled.set()
            self._settled = asyncio.Event()
        self._successes.remember(login, mac, self._clock(), identity)
        return identity

    async def _admit(self, login: str, address: str) -> None:
        """Begin an attempt within the limits. Raise AuthenticationFailed when there is no room for it."""
        try:
            async with asyncio.timeout(self._queue_time):
                while (verdict := self._limits.begin(login, address, self._clock())) is Verdict.WAIT:
                    await self._settled.wait()
        except TimeoutError as error:
            raise AuthenticationFailed(f"{printable(login)} from {printable(address)}: too many attempts at once") from error
        if verdict is Verdict.LIMITED:
            raise AuthenticationFailed(f"{printable(login)} from {printable(address)}: too many failures")
