"""A TCP proxy in front of a real server that can hang at a chosen request, freeze, or cut its connections."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Proxy:
    """Passes bytes on until told otherwise. ``hang_at`` matches the request that gets no answer; ``url`` is where it listens."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.hang_at: re.Pattern[bytes] | None = None
        self.hung = asyncio.Event()
        self.port = 0

    def freeze(self) -> None:
        """Pass nothing on any more, in either direction."""
        self._flowing.clear()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST instead of FIN
            writer.transport.abort()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Proxy]:
        """Listen on a free port of 127.0.0.1 until left."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        used = {writer}
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                upstream_reader, upstream_writer = await self._connect()
                used.add(upstream_writer)
                self._writers |= used
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(reader, upstream_writer, asked=True))
                    pumps.create_task(self._pump(upstream_reader, writer, asked=False))
        finally:
            for one in used:
                one.transport.abort()
            self._writers -= used
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asked: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if asked and self.hang_at and self.hang_at.search(data):
                    self.hung.set()
                    await asyncio.Event().wait()
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()


def in_front_of(url: str) -> Proxy:
    """Return a proxy for a server at a unix:// or tcp:// URL."""
    scheme, _, place = url.partition("://")
    if scheme == "unix":
        return Proxy(lambda: asyncio.open_unix_connection(place))
    host, _, port = place.rpartition(":")
    return Proxy(lambda: asyncio.open_connection(host, int(port)))
