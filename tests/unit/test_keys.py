"""Lines of authorized_keys: which fingerprints they allow, and why others are skipped."""

from __future__ import annotations

from typing import Any

import asyncssh
import pytest

from octopus.identity.keys import MAX_LINE, UnusableKey, fingerprint, is_fingerprint, read_lines

NOW = 1_800_000_000.0  # 2027-01-15


def _public(algorithm: str, **options: Any) -> tuple[str, str]:
    key = asyncssh.generate_private_key(algorithm, **options)
    return key.export_public_key().decode().strip(), key.get_fingerprint()


LINE, FINGERPRINT = _public("ssh-ed25519")


@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521"])
def test_every_strong_kind_gives_the_fingerprint_of_openssh(algorithm: str) -> None:
    """A key is known by the same SHA-256 fingerprint that its owner's client shows."""
    line, expected = _public(algorithm)
    assert fingerprint(line, NOW) == expected
    assert is_fingerprint(expected)


@pytest.mark.parametrize(
    "line",
    [
        LINE + " alice@laptop, the old one",
        "  " + LINE + "\n",
        "no-agent-forwarding,no-X11-forwarding,no-user-rc " + LINE,
        'expiry-time="20991231" ' + LINE,
        'expiry-time="20991231235959Z",no-user-rc ' + LINE,
    ],
)
def test_comments_and_options_that_hold_anyway_are_no_hindrance(line: str) -> None:
    """A comment, spaces around, and options that ask for nothing octopus would not do leave the key usable."""
    assert fingerprint(line, NOW) == FINGERPRINT


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('from="10.0.0.0/8" ' + LINE, "restricted by from"),
        ('command="echo \\"hi\\", there" ' + LINE, "restricted by command"),
        ("restrict,pty " + LINE, "restricted by restrict"),
        ("cert-authority " + LINE, "restricted by cert-authority"),
        ("brand-new-option " + LINE, "restricted by brand-new-option"),
        ('expiry-time="20200101" ' + LINE, "expired"),
        ('expiry-time="20200101Z" ' + LINE, "expired"),
        ('expiry-time="20271399" ' + LINE, "cannot be read"),
        ('expiry-time="soon" ' + LINE, "cannot be read"),
        ("expiry-time " + LINE, "cannot be read"),
        ('from="unterminated ' + LINE, "not a public key"),
        (LINE[: len("ssh-ed25519 AAAA") + 9], "damaged"),
        (LINE.replace("ssh-ed25519", "ssh-rsa"), "damaged"),
        ("ssh-ed25519", "not a public key"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACBAA== old", "not a public key"),
        ("X509:<I>DC=com<S>CN=alice", "not a public key"),
        ("# a comment", "not a public key"),
        ("", "not a public key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "not a public key"),
        ("ssh-ed25519 " + "A" * MAX_LINE, "too long"),
    ],
)
def test_a_restriction_that_cannot_be_kept_makes_the_key_unusable(line: str, why: str) -> None:
    """Restricted, expired, damaged and foreign lines give no fingerprint, and say why."""
    with pytest.raises(UnusableKey, match=why):
        fingerprint(line, NOW)


def test_a_short_rsa_key_is_weak() -> None:
    """RSA under 2048 bits does not count as a key."""
    line, _ = _public("ssh-rsa", key_size=1024)
    with pytest.raises(UnusableKey, match="weak"):
        fingerprint(line, NOW)


def test_good_lines_survive_among_garbage_and_the_rest_is_counted() -> None:
    """One bad line costs neither the others nor the count of what was skipped."""
    found = read_lines(["garbage", LINE, LINE + " again", 'from="h" ' + LINE, "\x00\x1b]0;x\x07"], NOW)
    assert found.fingerprints == {FINGERPRINT}
    assert len(found.skipped) == 3


@pytest.mark.parametrize("text", ["", "SHA256:", "MD5:00:11", "SHA256:" + "*" * 43, FINGERPRINT + "\n", FINGERPRINT + "="])
def test_only_whole_fingerprints_are_fingerprints(text: str) -> None:
    """What does not match from end to end is not a fingerprint."""
    assert not is_fingerprint(text)
