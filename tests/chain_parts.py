"""Trails in memory for the tests of the chain: sound ones, and what can be done to them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from octopus.core.chain import CHECKPOINT, CURRENT, Link, digest_of, seal
from octopus.core.proof import CheckSignature, Fault, Proof

Tamper = Callable[[list[bytes], random.Random], list[bytes]]


def line(after: Link, event: str = "exec", sign: Callable[[bytes], bytes] | None = None, **fields: Any) -> tuple[bytes, Link]:
    """Return the next line of a trail."""
    return seal(after, json.dumps({"event": event, "session": "s-1", **fields}, separators=(",", ":")).encode(), sign)


def sound(count: int, *, every: int = 10, sign: Callable[[bytes], bytes] | None = None, **fields: Any) -> list[bytes]:
    """Return a trail of so many lines; each ``every``-th and the last are checkpoints."""
    link, lines = Link(), []
    for number in range(1, count + 1):
        if number % every == 0 or number == count:
            one, link = line(link, CHECKPOINT, sign, **({"signed_by": "k"} if sign else {}))
        else:
            one, link = line(link, command=f"echo {number}", **fields)
        lines.append(one)
    return lines


def faults(lines: Sequence[bytes], head: bytes | None, check: CheckSignature | None = None, *, files: int = 1) -> list[Fault]:
    """Return what is wrong with a trail, cut into so many files."""
    proof = Proof(head=head, check=check)
    size = max(1, -(-len(lines) // files))
    for start in range(0, len(lines), size):
        last = start + size >= len(lines)
        list(proof.walk(CURRENT if last else f"file-{start}", lines[start : start + size]))
    return proof.finish()


def rehashed(raw: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return a line that was changed, its hash made to fit again."""
    body = change(raw[: -len(b',"hash":""}\n') - 64])
    return body + b',"hash":"%s"}\n' % digest_of(body)


def alter(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Change one byte anywhere."""
    place = chance.randrange(len(lines))
    old = lines[place]
    byte = chance.randrange(len(old))
    new = chance.choice([value for value in range(256) if value != old[byte]])
    # What was one line may be two now, or two one: the file is read anew.
    return _reread(b"".join([*lines[:place], old[:byte] + bytes([new]) + old[byte + 1 :], *lines[place + 1 :]]))


def alter_and_rehash(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Change a line and make its own hash fit."""
    place = chance.randrange(len(lines))
    return [*lines[:place], rehashed(lines[place], lambda body: body.replace(b"s-1", b"s-2")), *lines[place + 1 :]]


def delete(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Take out one to five lines."""
    place = chance.randrange(len(lines))
    return lines[:place] + lines[place + chance.randint(1, 5) :]


def insert(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Put in a line that is whole in itself, or a copy of another."""
    place = chance.randrange(len(lines) + 1)
    made, _ = line(Link(seq=chance.randrange(len(lines) + 5)), command="rm")
    return [*lines[:place], chance.choice([made, chance.choice(lines)]), *lines[place:]]


def swap(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Let two lines change places."""
    one, other = sorted(chance.sample(range(len(lines)), 2))
    return [*lines[:one], lines[other], *lines[one + 1 : other], lines[one], *lines[other + 1 :]]


def truncate(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Cut the file off at any byte."""
    whole = b"".join(lines)
    # The current file's torn last line is no fault by itself, so it is not even read.
    return [one for one in _reread(whole[: chance.randrange(len(whole))]) if one.endswith(b"\n")]


def _reread(whole: bytes) -> list[bytes]:
    *lines, rest = whole.split(b"\n")
    return [one + b"\n" for one in lines] + ([rest] if rest else [])
