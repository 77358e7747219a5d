"""What every Directory must do, said once: each is tested by a subclass that provides it as a fixture."""

from __future__ import annotations

import asyncssh
import pytest

from octopus.core.errors import AuthenticationFailed
from octopus.core.ports import Directory
from octopus.core.types import Identity


def public_key() -> tuple[str, str]:
    """Make a key; return its line as in authorized_keys and its fingerprint."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment="made for a test")
    return key.export_public_key().decode().strip(), key.get_fingerprint()


ALICE_KEY, ALICE_FINGERPRINT = public_key()
SHARED_KEY, SHARED_FINGERPRINT = public_key()
RESTRICTED_KEY, RESTRICTED_FINGERPRINT = public_key()
NOBODYS_FINGERPRINT = public_key()[1]


class DirectoryContract:
    """A directory that holds these people behaves so.

    alice (alice-secret, her key, in ``dev`` and ``logging-dev``), carol (carol-secret, in no group), dave (dave-secret) who shares a
    key with carol and has another, restricted by ``from=``, and mallory (mallory-secret), whose account is over.
    """

    @pytest.fixture
    async def directory(self) -> Directory:
        """Provide the directory."""
        raise NotImplementedError

    async def test_the_right_password_gives_login_and_groups(self, directory: Directory) -> None:
        """Who proves to be alice is alice, in her groups."""
        identity = await directory.check_password("alice", "alice-secret")
        assert identity == Identity(login="alice", groups=frozenset({"dev", "logging-dev"}), method="password")
        assert (await directory.check_password("carol", "carol-secret")).groups == frozenset()

    async def test_another_spelling_of_a_login_is_the_same_person(self, directory: Directory) -> None:
        """The login that rules and limits see is the directory's own, however it was typed."""
        assert (await directory.check_password("ALICE", "alice-secret")).login == "alice"
        assert (await directory.look_up("Alice", "publickey")).login == "alice"

    @pytest.mark.parametrize(
        ("login", "password"),
        [
            ("alice", "not-hers"),
            ("alice", "Alice-secret"),
            ("alice", "alice-secret "),
            ("alice", ""),
            ("alice", "alice-secret\0"),
            ("alice", "\u00ad"),
            ("alice", "x" * 5000),
            ("alice", "\ud800"),
            ("nobody", "alice-secret"),
            ("", "alice-secret"),
            ("", ""),
            ("*", "alice-secret"),
            ("al*", "alice-secret"),
            ("*)(uid=*", "alice-secret"),
            ("alice)(|(uid=*", "alice-secret"),
            ("alice\0", "alice-secret"),
            ("alice\\00", "alice-secret"),
            ("\\61lice", "alice-secret"),
            (" alice", "alice-secret"),
            ("alice\n", "alice-secret"),
            ("alic\u00e9", "alice-secret"),
            ("\u0430lice", "alice-secret"),
            ("uid=alice,ou=people,dc=corp,dc=example", "alice-secret"),
            ("alice" * 2000, "alice-secret"),
            ("\ud800", "alice-secret"),
            ("mallory", "mallory-secret"),
        ],
    )
    async def test_everything_else_fails_in_one_way(self, directory: Directory, login: str, password: str) -> None:
        """Wrong, empty, absurd, injected, unknown and expired are all the same notice."""
        with pytest.raises(AuthenticationFailed) as refusal:
            await directory.check_password(login, password)
        assert refusal.value.notice == AuthenticationFailed.default_notice
        assert not password.strip() or password not in str(refusal.value)

    async def test_a_person_proven_otherwise_is_looked_up(self, directory: Directory) -> None:
        """A key or certificate brings the same groups, and the method it was."""
        identity = await directory.look_up("alice", "certificate")
        assert identity == Identity(login="alice", groups=frozenset({"dev", "logging-dev"}), method="certificate")

    @pytest.mark.parametrize("login", ["nobody", "", "*", "mallory", "alice\0", "x" * 5000])
    async def test_who_is_unknown_or_whose_account_is_over_is_not_looked_up(self, directory: Directory, login: str) -> None:
        """A valid key or certificate of somebody who may not come in any more is worth nothing."""
        with pytest.raises(AuthenticationFailed):
            await directory.look_up(login, "publickey")

    @pytest.mark.parametrize(
        ("fingerprint", "login", "owner"),
        [
            (ALICE_FINGERPRINT, "", "alice"),
            (ALICE_FINGERPRINT, "Alice", "alice"),
            (SHARED_FINGERPRINT, "carol", "carol"),
            (SHARED_FINGERPRINT, "dave", "dave"),
        ],
    )
    async def test_a_key_leads_to_its_owner(self, directory: Directory, fingerprint: str, login: str, owner: str) -> None:
        """The one owner, with or without a login; where several share a key, the one who is said."""
        identity = await directory.by_key(fingerprint, login)
        assert (identity.login, identity.method) == (owner, "publickey")
        assert identity == await directory.look_up(owner, "publickey")

    @pytest.mark.parametrize(
        ("fingerprint", "login"),
        [
            (ALICE_FINGERPRINT, "carol"),
            (SHARED_FINGERPRINT, ""),
            (SHARED_FINGERPRINT, "alice"),
            (RESTRICTED_FINGERPRINT, ""),
            (NOBODYS_FINGERPRINT, ""),
            ("", ""),
            ("SHA256:*", ""),
        ],
    )
    async def test_a_key_of_nobody_or_of_several_proves_nobody(self, directory: Directory, fingerprint: str, login: str) -> None:
        """Another's, shared by people of whom none is said, nobody's; one with a restriction that cannot be kept is nobody's."""
        with pytest.raises(AuthenticationFailed):
            await directory.by_key(fingerprint, login)
