"""scrypt hashes of the users file."""

from __future__ import annotations

import pytest

from octopus.identity.passwords import hash_password, is_password, read_hash, verify


def test_a_hash_knows_its_password_and_no_other() -> None:
    """What was hashed is accepted, anything else is not, also in other alphabets."""
    known = read_hash(hash_password("päss wörd ✓", ln=14))
    assert verify("päss wörd ✓", known)
    assert not verify("pass word ✓", known)
    assert not verify("", known)


def test_two_hashes_of_one_password_differ_and_read_back_as_written() -> None:
    """Each hash has a salt of its own, and its text form loses nothing."""
    first, second = hash_password("secret", ln=14), hash_password("secret", ln=14)
    assert first != second
    assert str(read_hash(first)) == first


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "$2b$12$abcdefghijklmnopqrstuuMRzQdE5nFfQAl5T6mDPPiKX0jP.Q9mW",
        hash_password("x", ln=14).replace("ln=14", "ln=30"),
        hash_password("x", ln=14).replace("ln=14", "ln=1"),
        hash_password("x", ln=14).replace("r=8", "r=99"),
        hash_password("x", ln=14).replace("p=1", "p=50"),
        hash_password("x", ln=14) + "\n",
        hash_password("x", ln=14)[:-20],
    ],
)
def test_a_hash_too_cheap_too_dear_or_damaged_is_refused(text: str) -> None:
    """A check costs neither nothing nor the machine; the refusal does not repeat the hash."""
    with pytest.raises(ValueError, match=r"scrypt|base64") as refusal:
        read_hash(text)
    assert not text or text not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "a\0b", "x" * 1025, "\ud800"])
def test_what_cannot_be_a_password_is_refused_before_any_work(text: str) -> None:
    """Empty, NUL, over 1024 bytes and lone surrogates are never hashed."""
    assert not is_password(text)
    with pytest.raises(ValueError, match="password"):
        hash_password(text)


def test_a_hash_does_not_show_itself_in_logs() -> None:
    """Neither salt nor digest is in the repr."""
    known = read_hash(hash_password("secret", ln=14))
    assert str(known).rpartition("$")[2] not in repr(known)
