"""The chain that holds the lines of the audit trail together: what is in a line, and how a stranger proves it.

A line is one JSON object and a newline, in UTF-8. Of its bytes only these places are fixed:

- it begins with ``{"seq":N,"prev":"P",``: N counts the lines from 1, over all files; P is the ``hash`` of the line before it,
  64 zeros in the first;
- it ends with ``,"hash":"H"}`` and the newline: H is the SHA-256, in 64 lower-case hexadecimal digits, of all the line's bytes
  before ``,"hash":"``, just as they stand in the file. Nothing is parsed or formatted anew to compute it.

A checkpoint (``"event":"audit.checkpoint"``) is such a line too. Signed, it has ``,"signature":"S"`` right before its hash: S is
the base64 of the Ed25519 signature (RFC 8032) over all the line's bytes before ``,"signature":"``, and ``signed_by`` is the SHA-256
(hexadecimal) of the public key as DER (SubjectPublicKeyInfo). As each line holds the hash of the one before it, a signature covers
everything up to itself. The last checkpoint stands a second time in a file of its own: a trail that ends before it was cut off.

The trail is ``audit-YYYYMMDD-HHMMSS-N.jsonl``, in the order of N, the ``seq`` of the first line, and then ``audit.jsonl``. Whole
files may be gone from its beginning: an ``audit.pruned`` line further on says which, and the ``hash`` of each one's last line.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime

from octopus.core.types import Value

CURRENT = "audit.jsonl"
"""The file that is written."""
HEAD = "audit.head"
"""The file that holds the last checkpoint."""
CHECKPOINT = "audit.checkpoint"
PRUNED = "audit.pruned"
REPAIRED = "audit.repaired"
CARRIED = "audit.carried"

Sign = Callable[[bytes], bytes]
"""Returns the 64 bytes of a signature over what it is given."""

TAIL = len(',"hash":""}\n') + 64
"""Bytes of a line that its hash does not cover."""
_SIGNATURE = b',"signature":"'
_ROTATED = re.compile(r"audit-[0-9]{8}-[0-9]{6}-(?P<seq>[0-9]{12,18})\.jsonl")


class Link(Value, frozen=True, kw_only=True):
    """A line's place in the chain: its number and its hash."""

    seq: int = 0
    hash: str = "0" * 64


def seal(before: Link, fields: bytes, sign: Sign | None = None) -> tuple[bytes, Link]:
    """Return the line that follows ``before``, and its own place; ``fields`` is a JSON object with all else it holds, at least one."""
    body = b'{"seq":%d,"prev":"%s",' % (before.seq + 1, before.hash.encode()) + fields[1:-1]
    if sign:
        body += _SIGNATURE + base64.b64encode(sign(body)) + b'"'
    digest = digest_of(body)
    return body + closing(digest), Link(seq=before.seq + 1, hash=digest.decode())


def digest_of(body: bytes) -> bytes:
    """Return the hash of a line's bytes before the ``hash`` field, as the field holds it."""
    return hashlib.sha256(body).hexdigest().encode()


def closing(digest: bytes) -> bytes:
    """Return the end of a line with that hash."""
    return b',"hash":"%s"}\n' % digest


def is_whole(line: bytes) -> bool:
    """Tell whether the line's hash fits its bytes."""
    return line[-TAIL:] == closing(digest_of(line[:-TAIL]))


def signed_part(line: bytes) -> tuple[bytes, bytes]:
    """Return what the line's signature covers, and the signature in base64; b"" when it has none."""
    message, mark, signature = line[:-TAIL].rpartition(_SIGNATURE)
    return (message, signature[:-1]) if mark else (b"", b"")


def rotated_name(began: float, seq: int) -> str:
    """Return the name of a finished file: when its first line was written (seconds since 1970), and that line's number."""
    return f"audit-{datetime.fromtimestamp(began, UTC):%Y%m%d-%H%M%S}-{seq:012}.jsonl"


def first_seq(name: str) -> int:
    """Return the number of the first line of the finished file of that name, 0 when it is no such name."""
    match = _ROTATED.fullmatch(name)
    return int(match["seq"]) if match else 0
