"""A syslog collector on loopback: keeps every message it reads, hangs when told to, and can be gone for a while."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

HEADER = re.compile(
    rb"<(?P<priority>[0-9]{1,3})>1 (?P<time>\S+) (?P<host>\S+) (?P<app>\S+) (?P<process>\S+) (?P<name>\S+) (?P<data>-|\[.*?\]) ",
)
"""RFC 5424 6: HEADER, and STRUCTURED-DATA with the space before MSG."""


class Collector:
    """``messages`` are what was read, in its order, without their frames; ``reading`` lets it be."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def lines(self) -> list[bytes]:
        """Return the text of each message."""
        return [message[_header(message).end() :] for message in self.messages]

    @property
    def numbers(self) -> list[int]:
        """Return the place in the trail of each line that came."""
        return [json.loads(line)["seq"] for line in self.lines]

    @asynccontextmanager
    async def listening(self, port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """Take connections there; on leaving they are reset, with what was not read."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=context, limit=1 << 20)
        try:
            yield
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def datagrams(self, path: Path) -> AsyncIterator[None]:
        """Take datagrams there, as /dev/log does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as here:
            here.bind(str(path))
            task = asyncio.create_task(self._take(here))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                path.unlink()

    async def _take(self, here: socket.socket) -> None:
        while True:
            await self.reading.wait()
            self.messages.append(await asyncio.get_running_loop().sock_recv(here, 1 << 20))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    await self.reading.wait()
                    length = int(await reader.readuntil(b" "))
                    self.messages.append(await reader.readexactly(length))
        finally:
            writer.transport.abort()
            self._tasks.discard(task)


def _header(message: bytes) -> re.Match[bytes]:
    match = HEADER.match(message)
    assert match is not None, message[:200]
    return match


def parsed(message: bytes) -> dict[str, Any]:
    """Return the fields of a message's header."""
    return {name: value.decode() for name, value in _header(message).groupdict().items()}
