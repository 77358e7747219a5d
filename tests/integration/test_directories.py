"""The directories under one contract: LDAP, the users file, and the fake that other tests use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from octopus.demo.certificates import Authority
from octopus.identity.ldap import LdapDirectory
from octopus.identity.passwords import hash_password
from octopus.identity.users_file import UsersFile
from tests.directory_contract import ALICE_FINGERPRINT, ALICE_KEY, RESTRICTED_KEY, SHARED_FINGERPRINT, SHARED_KEY, DirectoryContract
from tests.fake_directory import FakeDirectory, FakePerson
from tests.parts.directory import BIND_DN, BIND_PASSWORD, GROUP_BASE, USER_BASE, Person, Slapd

RESTRICTED = f'from="192.0.2.0/24" {RESTRICTED_KEY}'
OVER = (("objectClass", "shadowAccount"), ("shadowExpire", "1"))
PEOPLE = (
    Person("alice", "alice-secret", (ALICE_KEY,)),
    Person("carol", "carol-secret", ("garbage", SHARED_KEY)),
    Person("dave", "dave-secret", (RESTRICTED, f"{SHARED_KEY} too")),
    Person("mallory", "mallory-secret", more=OVER),
)


@pytest.fixture(scope="module")
def server(tls_authority: Authority) -> Iterator[Slapd]:
    """Give a slapd with the contract's people."""
    groups = {"dev": ("alice",), "logging-dev": ("alice", "mallory")}
    with Slapd(tls_authority, people=PEOPLE, groups=groups) as slapd:
        yield slapd


class TestLdap(DirectoryContract):
    """LdapDirectory over a real slapd."""

    @pytest.fixture
    async def directory(self, server: Slapd) -> AsyncIterator[LdapDirectory]:
        """Provide the directory."""
        directory = LdapDirectory(
            servers=[server.tls_url],
            ca_file=str(server.ca),
            bind_dn=BIND_DN,
            bind_password=BIND_PASSWORD,
            user_base=USER_BASE,
            user_filter="(&(objectClass=inetOrgPerson)(uid={login}))",
            group_base=GROUP_BASE,
        )
        yield directory
        await directory.aclose()


USERS = f"""
[users.alice]
password = "{hash_password("alice-secret", ln=14)}"
keys = ["{ALICE_KEY}"]
groups = ["dev", "logging-dev"]

[users.carol]
password = "{hash_password("carol-secret", ln=14)}"
keys = ["garbage", "{SHARED_KEY}"]

[users.dave]
password = "{hash_password("dave-secret", ln=14)}"
keys = ['{RESTRICTED}', "{SHARED_KEY}"]

[users.mallory]
password = "{hash_password("mallory-secret", ln=14)}"
groups = ["logging-dev"]
expires = 2020-01-01
"""


class TestUsersFile(DirectoryContract):
    """UsersFile over a real file."""

    @pytest.fixture
    async def directory(self, tmp_path: Path) -> AsyncIterator[UsersFile]:
        """Provide the directory."""
        path = tmp_path / "users.toml"
        path.touch(0o600)
        path.write_text(USERS)
        directory = UsersFile(path)
        yield directory
        await directory.aclose()


class TestFake(DirectoryContract):
    """FakeDirectory."""

    @pytest.fixture
    async def directory(self) -> FakeDirectory:
        """Provide the directory."""
        shared = frozenset({SHARED_FINGERPRINT})
        return FakeDirectory(
            {
                "alice": FakePerson("alice-secret", frozenset({"dev", "logging-dev"}), frozenset({ALICE_FINGERPRINT})),
                "carol": FakePerson("carol-secret", fingerprints=shared),
                "dave": FakePerson("dave-secret", fingerprints=shared),
                "mallory": FakePerson("mallory-secret", disabled=True),
            }
        )
