"""Who uses the gateways under test: people with passwords and keys, in groups, some of them not any more."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from octopus.identity.passwords import hash_password
from tests.e2e.gateway import program
from tests.parts import directory
from tests.parts.directory import ssh_key
from tests.parts.tools import need

GROUPS = {"platform": ("alice",), "web": ("bob", "carol")}


@dataclass(frozen=True)
class Person:
    """Somebody with a password and a key; ``key`` is the private half's path, the public one is beside it."""

    login: str
    password: str
    key: Path
    disabled: bool = False

    @property
    def public_key(self) -> str:
        """Return the line of authorized_keys."""
        return self.key.with_suffix(".pub").read_text().strip()

    @property
    def groups(self) -> list[str]:
        """Return the groups this person is in."""
        return [name for name, members in GROUPS.items() if self.login in members]

    def entry(self) -> directory.Person:
        """Return the person as an LDAP directory has them."""
        expired = (("objectClass", "shadowAccount"), ("shadowExpire", "1"))
        return directory.Person(self.login, self.password, (self.public_key,), expired if self.disabled else ())

    def paragraph(self) -> str:
        """Return the person as a users file has them."""
        secret = hash_password(self.password)
        return f"[users.{self.login}]\npassword = '{secret}'\nkeys = ['{self.public_key}']\ngroups = {self.groups}\n"


@dataclass(frozen=True)
class People:
    """alice may do everything, bob is at home in /web, carol's account is disabled; ``stranger`` is a key of nobody's.

    ``authority`` signs user certificates, ``impostor`` would like to. ``host_keys`` is where the keys are that they know gateways by.
    """

    alice: Person
    bob: Person
    carol: Person
    stranger: Path
    authority: Path
    impostor: Path
    host_keys: Path

    @property
    def all(self) -> tuple[Person, ...]:
        """Return those who have an account."""
        return self.alice, self.bob, self.carol

    @property
    def secrets(self) -> set[str]:
        """Return what nobody may find written down."""
        keys = [line for person in self.all for line in person.key.read_text().splitlines()[1:-1]]
        return {person.password for person in self.all} | set(keys)

    def users_file(self) -> str:
        """Return those with an account in good standing as a users file."""
        return "\n".join(person.paragraph() for person in self.all if not person.disabled)

    def certificate(self, name: str, *, principals: str, signed_by: Path | None = None, validity: str = "-1h:+1h") -> Path:
        """Return a new key with a user certificate beside it, as ``ssh-keygen -s`` makes it."""
        key = ssh_key(self.stranger.parent, name)
        command = [need("ssh-keygen", "openssh-client"), "-q", "-s", str(signed_by or self.authority), "-I", name]
        subprocess.run([*command, "-n", principals, "-V", validity, f"{key}.pub"], check=True, timeout=30)
        return key


def gathered(folder: Path) -> People:
    """Return everybody, with their keys in ``folder``."""
    people = {login: Person(login, f"{login}'s pass-word", ssh_key(folder, login), login == "carol") for login in ("alice", "bob", "carol")}
    stranger, authority, impostor = (ssh_key(folder, name) for name in ("stranger", "authority", "impostor"))
    made = subprocess.run([program(), "hostkeys", "create", str(folder / "hostkeys")], capture_output=True, check=False, timeout=60)
    assert made.returncode == 0, made.stderr
    return People(**people, stranger=stranger, authority=authority, impostor=impostor, host_keys=folder / "hostkeys")
