"""The child process of ``snapshots``: reads a body on its input, writes the snapshot in parts to its output."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec

from octopus.core.errors import BadUpstream
from octopus.core.inventory import Snapshot
from octopus.feeds.snapshots import DECODERS, PART, Part


def parts(snapshot: Snapshot) -> Iterator[Part]:
    """Yield a snapshot in parts, the tasks PART at a time."""
    yield Part(head=msgspec.structs.replace(snapshot, tasks=[]))
    for at in range(0, len(snapshot.tasks), PART):
        yield Part(tasks=snapshot.tasks[at : at + PART])
    yield Part(last=True)


def main(kind: str, source: str) -> None:
    """Decode the whole input as ``kind``."""
    try:
        answer = parts(DECODERS[kind](sys.stdin.buffer.read(), source))
    except BadUpstream as error:
        answer = iter([Part(problem=str(error))])
    encoder = msgspec.msgpack.Encoder()
    for part in answer:
        data = encoder.encode(part)
        sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:3])
