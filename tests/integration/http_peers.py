"""Small HTTP servers that do exactly what a test tells them: also what no decent server does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Asked:
    """One request: method, path with query, headers in small letters, body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Wire:
    """The server's side of one connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Send a whole answer."""
        lines = {"Content-Length": str(len(body)), "Content-Type": "application/json"} | (headers or {})
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.send(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)

    async def begin_chunked(self, headers: dict[str, str] | None = None) -> None:
        """Send the head of an answer whose body comes in chunks."""
        lines = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"} | (headers or {})
        await self.send(("HTTP/1.1 200 OK\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n").encode())

    async def chunk(self, data: bytes) -> None:
        """Send one chunk."""
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))


Handler = Callable[[Asked, Wire], Awaitable[None]]


@dataclass
class Peer:
    """A server on 127.0.0.1. ``handler`` may be exchanged at any time; ``asked`` holds every request; ``came`` is set by each."""

    handler: Handler
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        """Return the paths asked so far."""
        return [asked.path for asked in self.asked]


async def _serve(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while (asked := await _read(reader)) is not None:
            peer.asked.append(asked)
            peer.came.set()
            await peer.handler(asked, Wire(writer))
            if writer.is_closing():
                break
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode().strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.strip().casefold(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body)


@contextlib.asynccontextmanager
async def peer(handler: Handler) -> AsyncIterator[Peer]:
    """Run a server until the block is left."""
    made = Peer(handler)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_serve(made, reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


def always(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Handler:
    """Return a handler that answers everything alike."""

    async def handle(asked: Asked, wire: Wire) -> None:
        await wire.answer(status, body, headers)

    return handle


def close_abruptly(wire: Wire) -> None:
    """Close the connection as it is."""
    wire._writer.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most a minute."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  conditions of all kinds, not one event
            await asyncio.sleep(0)
