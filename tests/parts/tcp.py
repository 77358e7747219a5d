"""TCP servers on loopback for what real servers do not do on demand: say nothing, or nonsense, or too much."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """A server that is running at ``host``:``port``; ``connections`` counts who came."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.port = 0
        self.connections = 0

    def url(self, scheme: str) -> str:
        """Return its address as a URL."""
        return f"{scheme}://{self.host}:{self.port}"


@contextlib.asynccontextmanager
async def listen(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[Listener]:
    """Give every connection to ``handler`` until the block ends; then all are cut."""
    listener = Listener(host)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                await handler(reader, writer)
        finally:
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.connections += 1
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, host, 0)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything, answer nothing."""
    while await reader.read(4096):
        pass


def goes_on(head: bytes, piece: bytes) -> Handler:
    """Answer with ``head`` and then ``piece`` after ``piece`` for as long as anybody listens."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(head)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return handler
