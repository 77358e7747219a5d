"""Turns the body of a large answer into a Snapshot without holding up the event loop.

msgspec keeps the interpreter lock while it decodes: a 130 MB state of 100,000 tasks would stop every answer of the control plane for
over a second, in a thread as well. So whatever is larger than INLINE goes, piece by piece as it arrives, to a child process that
decodes it and returns it in parts of PART tasks; reading one of them takes about 2 ms. The body is never whole in our memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os.path
import sys
from collections.abc import AsyncIterator, Callable

import msgspec

import octopus
from octopus.core.errors import BadUpstream, OrchestratorUnavailable
from octopus.core.groups import ours
from octopus.core.inventory import Snapshot, Task
from octopus.core.mesos_events import decode_subscribed
from octopus.core.mesos_state import decode_state

INLINE = 2 * 1024 * 1024
"""Bytes decoded in the event loop: about 10 ms."""

PART = 1000
"""Tasks in a part."""

MAX_PART = 64 * 1024 * 1024
"""Bytes of a part."""

DECODERS: dict[str, Callable[[bytes, str], Snapshot]] = {"state": decode_state, "subscribed": decode_subscribed}


class Part(msgspec.Struct):
    """A part of a snapshot on its way between the processes: the head has all but the tasks, the last ``last``, or what went wrong."""

    head: Snapshot | None = None
    tasks: list[Task] = []
    problem: str = ""
    last: bool = False


async def read_snapshot(kind: str, pieces: AsyncIterator[bytes], source: str, *, inline: int = INLINE) -> Snapshot:
    """Return the snapshot in a body that comes in pieces. ``kind`` is ``state`` or ``subscribed``. Raise BadUpstream.

    What does not begin like JSON is refused at its first byte.
    """
    start = bytearray()
    async for piece in pieces:
        start += piece
        if not bytes(start[:64]).lstrip().startswith(b"{") and bytes(start[:64]).strip():
            raise BadUpstream(source, "not JSON", bytes(start[:100]))
        if len(start) > inline:
            return await _in_child(kind, bytes(start), pieces, source)
    return DECODERS[kind](bytes(start), source)


async def _in_child(kind: str, start: bytes, pieces: AsyncIterator[bytes], source: str) -> Snapshot:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "octopus.feeds.decoding_process",
        kind,
        source,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": os.path.dirname(os.path.dirname(octopus.__file__))},
        cwd="/",
    )
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_send(child, start, pieces))
            answer = group.create_task(_receive(child, source))
        await child.wait()  # it has said all: a kill that meets its end would have asyncio warn of an unknown process
        return answer.result()
    except ExceptionGroup as group:
        raise ours(group) from None
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


async def _send(child: asyncio.subprocess.Process, start: bytes, pieces: AsyncIterator[bytes]) -> None:
    if child.stdin is None:
        raise OrchestratorUnavailable("the decoding process has no input")
    try:
        child.stdin.write(start)
        async for piece in pieces:
            child.stdin.write(piece)
            await child.stdin.drain()
        child.stdin.close()
        await child.stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError) as error:
        raise OrchestratorUnavailable("the decoding process died") from error


async def _receive(child: asyncio.subprocess.Process, source: str) -> Snapshot:
    if child.stdout is None:
        raise OrchestratorUnavailable("the decoding process has no output")
    decoder = msgspec.msgpack.Decoder(Part)
    head, tasks = Snapshot(), list[Task]()
    while True:
        try:
            size = int.from_bytes(await child.stdout.readexactly(4), "big")
            part = decoder.decode(await child.stdout.readexactly(min(size, MAX_PART)))
        except (asyncio.IncompleteReadError, msgspec.DecodeError) as error:
            raise OrchestratorUnavailable(f"{source}: the decoding process died") from error
        if part.problem:
            raise BadUpstream(source, part.problem)
        head = part.head or head
        tasks.extend(part.tasks)
        if part.last:
            return msgspec.structs.replace(head, tasks=tasks)
