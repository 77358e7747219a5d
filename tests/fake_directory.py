"""A directory in memory and a clock that waits for nobody, under the same contract as the real ones (``directory_contract``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable
from octopus.core.types import Identity
from octopus.identity.logins import one_owner


class FakeClock:
    """A clock that only moves when told, or when somebody sleeps by it. Seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.now += seconds


@dataclass(frozen=True)
class FakePerson:
    """Somebody in a FakeDirectory; ``fingerprints`` as OpenSSH writes them."""

    password: str = ""
    groups: frozenset[str] = frozenset()
    fingerprints: frozenset[str] = frozenset()
    disabled: bool = False


class FakeDirectory:
    """A Directory of people by login. ``available`` may be switched off; ``asked`` counts the passwords it was given."""

    def __init__(self, people: Mapping[str, FakePerson]) -> None:
        self.people = dict(people)
        self.available = True
        self.asked = 0

    async def check_password(self, login: str, password: str) -> Identity:
        """See ``Directory``."""
        self._answer()
        self.asked += 1
        person = self._person(login)
        if not password or person.password != password:
            raise AuthenticationFailed(f"{login}: wrong password")
        return self._identity(login, "password")

    async def look_up(self, login: str, method: str) -> Identity:
        """See ``Directory``."""
        self._answer()
        return self._identity(login, method)

    async def by_key(self, fingerprint: str, login: str = "") -> Identity:
        """See ``Directory``."""
        self._answer()
        owners = [one for one, person in self.people.items() if fingerprint in person.fingerprints]
        return self._identity(one_owner(owners, login, fingerprint), "publickey")

    def _identity(self, login: str, method: str) -> Identity:
        person = self._person(login)
        if person.disabled:
            raise AuthenticationFailed(f"{login}: disabled")
        return Identity(login=login.lower(), groups=person.groups, method=method)

    def _person(self, login: str) -> FakePerson:
        try:
            return self.people[login.lower()]
        except KeyError:
            raise AuthenticationFailed(f"{login}: unknown") from None

    def _answer(self) -> None:
        if not self.available:
            raise DirectoryUnavailable("switched off")
