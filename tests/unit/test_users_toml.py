"""The text of a users file."""

from __future__ import annotations

import pytest

from octopus.core.errors import ConfigError
from octopus.identity.passwords import hash_password, verify
from octopus.identity.users_toml import read_users

HASH = hash_password("secret", ln=14)
DAY = 1_798_675_200.0  # 2026-12-31T00:00:00Z


def test_a_whole_user_is_read() -> None:
    """Every key has its place, and a login is found in any spelling."""
    users = read_users(f'[users.Alice]\npassword = "{HASH}"\nkeys = ["a", "b"]\ngroups = ["dev"]\nexpires = 2026-12-31\ndisabled = false')
    alice = users["alice"]
    assert (alice.login, alice.keys, alice.groups, alice.expires, alice.disabled) == ("Alice", ("a", "b"), frozenset({"dev"}), DAY, False)
    assert alice.password is not None
    assert verify("secret", alice.password)


def test_an_empty_file_and_an_empty_user_are_sound() -> None:
    """Nobody, and somebody with neither password nor key: both let nobody in."""
    assert read_users("") == {}
    assert read_users("[users.alice]")["alice"].password is None


@pytest.mark.parametrize(
    ("line", "now", "fault"),
    [
        ("expires = 2026-12-31", DAY - 1, ""),
        ("expires = 2026-12-31", DAY, "expired"),
        ("expires = 2026-12-31T00:00:00+01:00", DAY - 3600, "expired"),
        ("expires = 2026-12-31T00:00:00", DAY - 1, ""),
        ("disabled = true", 0, "disabled"),
        ("disabled = false", 0, ""),
    ],
)
def test_an_account_ends_when_its_day_begins(line: str, now: float, fault: str) -> None:
    """Dates are UTC unless they say otherwise."""
    found = read_users(f"[users.alice]\n{line}")["alice"].fault(now)
    assert fault in found
    assert bool(found) is bool(fault)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("[users.alice", ["Expected ']'"]),
        ("users = 1", ["users: not a table"]),
        ("[groups.dev]", ["groups: unknown key"]),
        ("[users]\nalice = 1", ["users.alice: not a table"]),
        ("[users.alice]\npasword = 'x'\nkey = 'y'", ["users.alice.pasword: unknown key", "users.alice.key: unknown key"]),
        ("[users.alice]\npassword = 'secret'", ["users.alice.password: not a scrypt hash"]),
        ("[users.alice]\npassword = 1", ["users.alice.password: not a string"]),
        ("[users.alice]\nkeys = 'x'", ["users.alice.keys: not a list of strings"]),
        ("[users.alice]\nkeys = ['']", ["users.alice.keys: not a list of strings"]),
        ("[users.alice]\ngroups = [1]", ["users.alice.groups: not a list of strings"]),
        ("[users.alice]\nexpires = 'soon'", ["users.alice.expires: not a date"]),
        ("[users.alice]\ndisabled = 'no'", ["users.alice.disabled: not true or false"]),
        ("[users.alice]\n[users.ALICE]", ["users.ALICE: the same login as alice"]),
        ("[users.' alice']\n[users.'']\n[users.\"a\\u001b[0m\"]", ["users. alice: not", "users.: not", "users.a\\x1b[0m: not"]),
        ("[users.alice]\nexpires = 1\n[users.bob]\ngroups = 1\n[more]", ["more", "users.alice.expires", "users.bob.groups"]),
    ],
)
def test_all_faults_are_named_at_once(text: str, faults: list[str]) -> None:
    """Each fault has its place; no secret is repeated, no control character shown."""
    with pytest.raises(ConfigError) as failure:
        read_users(text)
    assert len(failure.value.faults) == len(faults)
    for found, expected in zip(failure.value.faults, faults, strict=True):
        assert found.startswith(expected)
        assert "'secret'" not in found
        assert found.isprintable()
