"""Passwords at rest: scrypt (RFC 7914) in the PHC string format ``$scrypt$ln=15,r=8,p=1$salt$hash``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets

from octopus.core.types import Value

MAX_PASSWORD = 1024
"""Bytes of UTF-8."""
_PHC = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{43,86})")
_MIN_LN, _MAX_LN, _MAX_R, _MAX_P = 14, 17, 16, 4


class PasswordHash(Value, frozen=True, kw_only=True):
    """A hash with all it takes to check a password against it: ``ln`` is the binary logarithm of scrypt's N."""

    ln: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def __post_init__(self) -> None:
        """Refuse what is weak, and what would cost more than 256 MiB or seconds to check."""
        if not (_MIN_LN <= self.ln <= _MAX_LN and 1 <= self.r <= _MAX_R and 1 <= self.p <= _MAX_P):
            raise ValueError(f"scrypt's cost must be ln={_MIN_LN}…{_MAX_LN}, r=1…{_MAX_R}, p=1…{_MAX_P}")

    @property
    def work(self) -> int:
        """What a check costs, for comparing two hashes."""
        return self.r * self.p << self.ln

    def __str__(self) -> str:
        return f"$scrypt$ln={self.ln},r={self.r},p={self.p}${_encode(self.salt)}${_encode(self.digest)}"

    def __repr__(self) -> str:
        return f"PasswordHash(ln={self.ln}, r={self.r}, p={self.p})"


def is_password(text: str) -> bool:
    """Tell whether ``text`` may be checked at all: not empty, no NUL, at most 1024 bytes of UTF-8."""
    try:
        return bool(text) and "\0" not in text and len(text.encode()) <= MAX_PASSWORD
    except UnicodeEncodeError:
        return False


def hash_password(password: str, *, ln: int = 15, r: int = 8, p: int = 1) -> str:
    """Return ``password`` hashed with a fresh salt, as the users file holds it. Raise ValueError when it is not usable."""
    if not is_password(password):
        raise ValueError("a password is 1 to 1024 bytes of UTF-8 without NUL")
    salt = secrets.token_bytes(16)
    blank = PasswordHash(ln=ln, r=r, p=p, salt=salt, digest=b"")
    return str(PasswordHash(ln=ln, r=r, p=p, salt=salt, digest=_scrypt(password, blank, 32)))


def read_hash(text: str) -> PasswordHash:
    """Read what ``hash_password`` wrote. Raise ValueError; its text never repeats the hash."""
    parts = _PHC.fullmatch(text)
    if parts is None:
        raise ValueError("not a scrypt hash ($scrypt$ln=…,r=…,p=…$salt$hash)")
    try:
        salt, digest = _decode(parts[4]), _decode(parts[5])
    except binascii.Error:
        raise ValueError("the salt or the hash is not base64") from None
    return PasswordHash(ln=int(parts[1]), r=int(parts[2]), p=int(parts[3]), salt=salt, digest=digest)


def verify(password: str, known: PasswordHash) -> bool:
    """Tell whether ``password`` is the one that was hashed. Takes tens of milliseconds of CPU: call it in a thread."""
    return is_password(password) and hmac.compare_digest(_scrypt(password, known, len(known.digest)), known.digest)


def _scrypt(password: str, cost: PasswordHash, length: int) -> bytes:
    memory = 128 * cost.r * ((1 << cost.ln) + cost.p + 2)
    return hashlib.scrypt(password.encode(), salt=cost.salt, n=1 << cost.ln, r=cost.r, p=cost.p, maxmem=memory, dklen=length)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
