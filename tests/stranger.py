"""A verifier of the audit trail by a stranger, written from the README ("The chain, for a verifier of your own") alone."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def prove(directory: Path, key: Ed25519PublicKey | None = None) -> int:
    """Return how many lines there are; raise ValueError or InvalidSignature at the first thing that is wrong."""
    finished = sorted(directory.glob("audit-*.jsonl"), key=lambda path: int(path.stem.split("-")[-1]))
    lines = [line for path in [*finished, directory / "audit.jsonl"] for line in path.read_bytes().splitlines(keepends=True)]
    count = prove_lines(lines, (directory / "audit.head").read_bytes(), key)
    for recording in [one for line in lines if b'"recordings":[' in line for one in json.loads(line)["recordings"]]:
        content = (directory / "recordings" / recording["path"]).read_bytes()
        if (len(content), hashlib.sha256(content).hexdigest()) != (recording["size"], recording["sha256"]):
            raise ValueError(f"{recording['path']} was altered")
    return count


def prove_lines(lines: Iterable[bytes], head: bytes, key: Ed25519PublicKey | None = None) -> int:
    """Return how many lines there are in this trail, of which nothing may be pruned; raise at the first that is wrong."""
    seq, before, last = 0, "0" * 64, b""
    for line in lines:
        covered, _, rest = line.rpartition(b',"hash":"')
        digest = hashlib.sha256(covered).hexdigest()
        if rest != digest.encode() + b'"}\n' or not line.startswith(f'{{"seq":{seq + 1},"prev":"{before}",'.encode()):
            raise ValueError(f"line {seq + 1} of the trail is wrong")
        seq, before = seq + 1, digest
        if json.loads(line)["event"] == "audit.checkpoint":
            last = line
            if key:
                message, _, signature = covered.rpartition(b',"signature":"')
                key.verify(base64.b64decode(signature.removesuffix(b'"')), message)
    if head != last:
        raise ValueError("the last checkpoint is another")
    return seq
