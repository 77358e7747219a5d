"""A verifier of the audit trail by a stranger: written from the documentation in ``octopus/core/chain.py`` alone."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def prove(directory: Path, key: Ed25519PublicKey | None = None) -> int:
    """Return how many lines there are; raise ValueError or InvalidSignature at the first that is wrong. Nothing may be pruned."""
    finished = sorted(directory.glob("audit-*.jsonl"), key=lambda path: int(path.stem.split("-")[-1]))
    seq, before, last = 0, "0" * 64, b""
    for path in [*finished, directory / "audit.jsonl"]:
        for line in path.read_bytes().splitlines(keepends=True):
            covered, _, rest = line.rpartition(b',"hash":"')
            digest = hashlib.sha256(covered).hexdigest()
            if rest != digest.encode() + b'"}\n' or not line.startswith(f'{{"seq":{seq + 1},"prev":"{before}",'.encode()):
                raise ValueError(f"{path.name}: line {seq + 1} of the trail is wrong")
            seq, before = seq + 1, digest
            if json.loads(line)["event"] == "audit.checkpoint":
                last = line
                if key:
                    message, _, signature = covered.rpartition(b',"signature":"')
                    key.verify(base64.b64decode(signature.removesuffix(b'"')), message)
    if (directory / "audit.head").read_bytes() != last:
        raise ValueError("the last checkpoint is another")
    return seq
