"""One line of authorized_keys (sshd(8)) to the fingerprint it allows; the one place where public keys are read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import asyncssh
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from octopus.core.types import Value

MAX_LINE = 16 * 1024
"""Characters of a line; an RSA key of 16384 bits takes under 3,000."""
MIN_RSA_BITS = 2048

_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
_OPTION = r'[A-Za-z0-9-]+(?:="(?:[^"\\]|\\.)*")?'
_LINE = re.compile(
    rf"(?:(?P<options>{_OPTION}(?:,{_OPTION})*)[ \t]+)?"
    rf"(?P<type>{'|'.join(map(re.escape, _TYPES))})[ \t]+(?P<blob>[A-Za-z0-9+/]+={{0,2}})(?:[ \t].*)?"
)
_EXPIRY = re.compile(r"(?P<time>\d{8}|\d{12}|\d{14})(?P<utc>Z?)")
_EXPIRY_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")

# What these grant or take away octopus never offers, or leaves to the policy. Every other option is a restriction that
# cannot be kept here (from=, command=, restrict, ...), so its key is not usable.
_KEPT_ANYWAY = frozenset({"no-agent-forwarding", "no-x11-forwarding", "no-user-rc"})


class UnusableKey(ValueError):
    """The line holds no key that may be used; the text says why."""


class KeyLines(Value, frozen=True, kw_only=True):
    """The ``SHA256:…`` fingerprints that lines allow, and why the lines that were skipped were."""

    fingerprints: frozenset[str]
    skipped: tuple[str, ...]


def is_fingerprint(text: str) -> bool:
    """Tell whether ``text`` is a SHA-256 fingerprint as OpenSSH writes it."""
    return _FINGERPRINT.fullmatch(text) is not None


def read_lines(lines: Iterable[str], now: float) -> KeyLines:
    """Read all that can be read. ``now`` in seconds since 1970 decides about ``expiry-time``."""
    fingerprints: set[str] = set()
    skipped: list[str] = []
    for line in lines:
        try:
            fingerprints.add(fingerprint(line, now))
        except UnusableKey as error:
            skipped.append(str(error))
    return KeyLines(fingerprints=frozenset(fingerprints), skipped=tuple(skipped))


def fingerprint(line: str, now: float) -> str:
    """Return the fingerprint of the key on ``line``. Raise UnusableKey: not a key, weak, expired or restricted."""
    if len(line) > MAX_LINE:
        raise UnusableKey("the line is too long")
    parts = _LINE.fullmatch(line.strip())
    if parts is None:
        raise UnusableKey("not a public key of a kind that is accepted")
    for option in re.findall(_OPTION, parts["options"] or ""):
        _check_option(option, now)
    return _fingerprint(parts["type"], parts["blob"])


def _check_option(option: str, now: float) -> None:
    name, _, value = option.partition("=")
    if name.lower() == "expiry-time":
        if _expiry(value.strip('"')) <= now:
            raise UnusableKey("the key has expired")
    elif name.lower() not in _KEPT_ANYWAY:
        raise UnusableKey(f"the key is restricted by {name.lower()}, which cannot be kept here")


def _expiry(text: str) -> float:
    """Read ``YYYYMMDD[HHMM[SS]][Z]``; without Z it is local time (sshd(8))."""
    parts = _EXPIRY.fullmatch(text)
    if parts is None:
        raise UnusableKey("the key's expiry-time cannot be read")
    try:
        moment = datetime.strptime(parts["time"], _EXPIRY_FORMATS[len(parts["time"])])
        return (moment.replace(tzinfo=UTC) if parts["utc"] else moment.astimezone()).timestamp()
    except (ValueError, OverflowError) as error:
        raise UnusableKey("the key's expiry-time cannot be read") from error


def _fingerprint(kind: str, blob: str) -> str:
    try:
        key = asyncssh.import_public_key(f"{kind} {blob}")
    except (asyncssh.KeyImportError, ValueError) as error:
        raise UnusableKey("the key is damaged") from error
    if isinstance(key.pyca_key, RSAPublicKey) and key.pyca_key.key_size < MIN_RSA_BITS:
        raise UnusableKey("the key is weak")
    return key.get_fingerprint()
