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
    """Passes bytes on until told otherwise.

    ``hang_at`` matches the request that gets no answer; ``requests`` are the request lines that came.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.hang_at: re.Pattern[bytes] | None = None
        self.hung = asyncio.Event()
        self.requests: list[bytes] = []
        self.port = 0

    def freeze(self) -> None:
        """Pass nothing on any more, in either direction."""
        self._flowing.clear()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it may be closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST instead of FIN
            writer.transport.abort()

    def close(self) -> None:
        """Close every connection as its peer would."""
        for writer in self._writers:
            writer.close()

    def thaw(self) -> None:
        """Pass everything on again."""
        self.hang_at = None
        self.hung.clear()
        self._flowing.set()

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Proxy]:
        """Listen there until left; ``port`` 0 is a free one."""
        server = await asyncio.start_server(self._serve, host, port)
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
                if asked and data.startswith((b"GET ", b"HEAD ", b"POST ", b"PUT ")):
                    self.requests.append(data.partition(b"\r\n")[0])
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
