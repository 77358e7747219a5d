"""Clients of a StreamingGateway, which compare every byte."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.streaming_gateway import BLOCK, blocks

BLOCKS = 128
"""8 MiB a stream: more than the sockets between can hold, so that a stream nobody reads is under way."""


class Choosy:
    """Whoever is offered what comes and leaves each ``every``-th piece to the reader; ``came`` is where both put theirs."""

    def __init__(self, every: int) -> None:
        self.came: list[bytes] = []
        self.offered = 0
        self._every = every

    def take(self, data: bytes) -> bool:
        """Take a piece, or not."""
        self.offered += 1
        taken = self.offered % self._every != 0
        if taken:
            self.came.append(data)
        return taken


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition; the test's timeout bounds it."""
    while not condition():  # noqa: ASYNC110 (the condition is in other processes and files)
        await asyncio.sleep(0)


async def settled(value: Callable[[], int], quiet: float = 0.3) -> int:
    """Wait until a value has not changed for a while, and return it."""
    loop = asyncio.get_running_loop()
    last, since = value(), loop.time()
    while loop.time() - since < quiet:
        await asyncio.sleep(0)
        if (now := value()) != last:
            last, since = now, loop.time()
    return int(last)


class Stream:
    """One client of a StreamingGateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seed: int) -> None:
        self._reader = reader
        self._writer = writer
        self._seed = seed
        self.session = ""
        self.pid = 0

    @classmethod
    async def order(cls, port: int, seed: int, *, count: int = BLOCKS, prologue: bytes = b"") -> Stream:
        """Connect, say ``prologue`` and begin a stream; its first bytes are there when this returns."""
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BLOCK)
        reader, writer = await asyncio.open_connection(sock=sock, limit=BLOCK)
        writer.write(prologue + json.dumps({"task": "web.1", "seed": seed, "blocks": count}).encode() + b"\n")
        stream = cls(reader, writer, seed)
        try:
            answer = json.loads(await reader.readline())
        except BaseException:
            writer.close()
            raise
        stream.session, stream.pid = answer["session"], answer["pid"]
        return stream

    async def read(self, count: int = BLOCKS) -> None:
        """Read the stream and compare every byte."""
        for place, block in enumerate(blocks(self._seed, count)):
            assert await self._reader.readexactly(BLOCK) == block, f"block {place} of {self.session}"

    async def finish(self, count: int = BLOCKS) -> None:
        """Read the whole stream, let the session end, and see that nothing else came."""
        await self.read(count)
        self.let_end()
        assert await self._reader.read() == b"bye\n"
        self.close()

    async def broken(self) -> bool:
        """Read on to the end; tell whether it came before the stream's."""
        total = 0
        with suppress(ConnectionError):
            while data := await self._reader.read(BLOCK):
                total += len(data)
        self.close()
        return total < BLOCKS * BLOCK

    def let_end(self) -> None:
        """Let the session end once its stream is through."""
        self._writer.write(b"\n")

    def close(self) -> None:
        """Let go of the connection."""
        self._writer.close()
