"""Serves an application on a socket of its own inside the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

CLOSE_WITHIN = 2
"""Seconds that open requests have to end when a server is closed."""


class _Server(uvicorn.Server):
    """A server that leaves the process' signals alone, being one of many in it, and says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take over no signal."""
        yield


def listening_socket(host: str, port: int = 0) -> socket.socket:
    """Return a bound socket; port 0 lets the system choose. Raise OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, sock: socket.socket) -> AsyncIterator[None]:
    """Serve ``app`` on ``sock`` until the block is left; the socket is closed then."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", server_header=False, timeout_graceful_shutdown=CLOSE_WITHIN
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]), name=f"serve {sock.getsockname()}")
    try:
        await server.ready.wait()
        yield
    finally:
        server.should_exit = True
        await task
        sock.close()


class Servers:
    """Applications being served, each under a name, that can be stopped one by one or all together."""

    def __init__(self) -> None:
        self._open: dict[str, contextlib.AsyncExitStack] = {}

    async def start(self, name: str, app: ASGIApp, sock: socket.socket) -> None:
        """Serve an application on a socket."""
        stack = contextlib.AsyncExitStack()
        await stack.enter_async_context(serving(app, sock))
        self._open[name] = stack

    async def stop(self, name: str) -> None:
        """Stop serving it and close its socket; harmless when it is not served."""
        if name in self._open:
            await self._open.pop(name).aclose()

    async def stop_all(self) -> None:
        """Stop serving everything."""
        await asyncio.gather(*(self.stop(name) for name in list(self._open)))
