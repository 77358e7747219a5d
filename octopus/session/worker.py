"""A session worker's process: takes connections from its supervisor, serves them, and outlives it until the last one ends."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import itertools
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Protocol

import msgspec
import structlog
import uvloop

from octopus.control.plane import KillSession, Plane, Start, StopWorker
from octopus.session.journal import Journal
from octopus.session.plane_calls import PlaneCalls
from octopus.session.plane_client import PlaneClient
from octopus.session.proxy_socket import real_client
from octopus.session.worker_channel import WorkerChannel
from octopus.session.worker_settings import WorkerSettings
from octopus.session.write_ahead import WriteAhead

SIGN_OF_LIFE = 4
"""Of so many looks at an idle worker's load one is told."""

_log = structlog.get_logger(__name__)


class Gateway(Protocol):
    """Speaks SSH on connected sockets. ``moved`` counts the bytes of all its sessions, both ways."""

    @property
    def moved(self) -> int:
        """Bytes moved so far."""
        ...

    async def serve(self, sock: socket.socket, client: str) -> None:
        """Serve one connection from ``client`` (``ip:port``) to its end; cancelled, cut it. Owns the socket."""
        ...

    async def kill(self, session: str, reason: str) -> None:
        """End a session, if it runs here; ``reason`` goes to the person and the audit trail."""
        ...


Build = Callable[[WorkerSettings, Plane, WriteAhead], AbstractAsyncContextManager[Gateway]]
"""Makes a worker's gateway, which is closed when the worker ends."""


class Worker:
    """One worker at work. Times in seconds.

    It drains when its channel ends or on SIGTERM: live connections go on for at most ``drain_timeout``; sessions that are told
    to end get ``grace`` before their connection is cut. Unless ``proxy_header_time`` is 0, each connection has to begin with a
    PROXY header within that time, which says who the client is.
    """

    def __init__(
        self,
        *,
        channel: WorkerChannel,
        gateway: Gateway,
        plane: PlaneClient,
        drain_timeout: float,
        proxy_header_time: float = 0.0,
        grace: float = 10.0,
        interval: float = 0.5,
    ) -> None:
        self._channel = channel
        self._gateway = gateway
        self._plane = plane
        self._drain_timeout = drain_timeout
        self._proxy_header_time = proxy_header_time
        self._grace = grace
        self._interval = interval
        self._connections: dict[asyncio.Task[None], socket.socket] = {}
        self._numbered: dict[int, socket.socket] = {}
        self._draining = asyncio.Event()
        self._stopping = asyncio.Event()
        self._reason = "the gateway was restarted, and the time to finish is over"
        self._tasks = asyncio.TaskGroup()

    def drain(self) -> None:
        """Take no more connections, and end with the last one."""
        self._draining.set()

    async def run(self) -> None:
        """Serve until drained or stopped."""
        self._channel.listen(self._accept, self.drain, self._cut)
        async with self._tasks as tasks:
            besides = [tasks.create_task(self._report()), tasks.create_task(self._obey())]
            await self._draining.wait()
            self._channel.close(self._accept)
            _log.info("draining", connections=len(self._connections))
            await self._finish()
            for task in besides:
                task.cancel()

    async def _finish(self) -> None:
        await self._wait(self._all_over(), self._stopping.wait(), at_most=self._drain_timeout)
        if not self._connections:
            return
        for session in self._plane.live():
            await self._gateway.kill(session.session, self._reason)
        await self._wait(self._all_over(), self._plane.quiet(), at_most=self._grace)
        for task, connection in self._connections.items():
            # Shut down as well: a task that waits for a client who does not read may be slow to go.
            _shut(connection)
            task.cancel()
        await self._all_over()

    async def _wait(self, *any_of: Coroutine[None, None, object], at_most: float) -> None:
        tasks = [self._tasks.create_task(one) for one in any_of]
        await asyncio.wait(tasks, timeout=at_most, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def _all_over(self) -> None:
        while self._connections:
            await asyncio.wait(self._connections)

    def _accept(self, number: int, client: str, sock: socket.socket) -> None:
        task = self._tasks.create_task(self._serve(number, client, sock))
        self._connections[task] = sock
        task.add_done_callback(self._connections.pop)

    def _cut(self, number: int) -> None:
        if connection := self._numbered.get(number):
            _shut(connection)

    async def _serve(self, number: int, client: str, sock: socket.socket) -> None:
        self._numbered[number] = sock
        try:
            if known := await self._known(number, client, sock):
                await self._gateway.serve(sock, known)
        except Exception:  # One connection's bug ends no other.
            _log.exception("bug while serving a connection", client=client)
        finally:
            del self._numbered[number]
            sock.close()
            self._channel.closed(number)

    async def _known(self, number: int, client: str, sock: socket.socket) -> str:
        """Return who the client really is, "" when the balancer in front of it does not say so."""
        if not self._proxy_header_time:
            return client
        try:
            client = await real_client(sock, within=self._proxy_header_time) or client
        except (ConnectionError, TimeoutError, ValueError) as error:
            _log.warning("connection without a PROXY header", peer=client, error=str(error))
            return ""
        self._channel.known_as(number, client)
        return client

    async def _report(self) -> None:
        """Tell the load as it changes, and now and then although it does not: who is silent gets no more connections."""
        moved = rate = 0.0
        for turn in itertools.count():
            await asyncio.sleep(self._interval)
            before, moved = moved, self._gateway.moved
            if moved != before or rate or turn % SIGN_OF_LIFE == 0:
                rate = (moved - before) / self._interval
                self._channel.load(rate)

    async def _obey(self) -> None:
        async for command in self._plane.commands(os.getpid()):
            if isinstance(command, KillSession):
                await self._gateway.kill(command.session, command.reason)
            elif isinstance(command, StopWorker):
                self._reason = command.reason
                self._stopping.set()
                self.drain()


def run_worker(build: Build) -> None:
    """Be a worker: the channel is standard input. Returns when the last connection has ended."""
    channel = WorkerChannel(_take_stdin())
    start = channel.start()
    lock = _hold(Path(start.lock_file))
    # What is loaded stays: looked through again at each full collection, it would hold up all who type for 20 ms.
    gc.freeze()
    try:
        uvloop.run(_work(channel, start, build))
    finally:
        # Let go last of all: a free lock says that nothing more will come from this worker.
        os.close(lock)


async def _work(channel: WorkerChannel, start: Start, build: Build) -> None:
    settings = msgspec.json.decode(start.settings, type=WorkerSettings)
    plane = PlaneClient(
        PlaneCalls(Path(start.plane_socket)),
        worker=start.worker,
        spool_directory=Path(start.spool_directory),
        clock=time.time,
        authenticated=channel.authenticated,
        journal=Journal([Path(path) for path in start.journals]),
    )
    async with plane, build(settings, plane, WriteAhead(Path(start.write_ahead))) as gateway:
        worker = Worker(
            channel=channel,
            gateway=gateway,
            plane=plane,
            drain_timeout=settings.drain_timeout,
            grace=settings.stop_grace,
            proxy_header_time=settings.login_grace_time if settings.proxy_protocol else 0.0,
        )
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, worker.drain)
        for number in (signal.SIGINT, signal.SIGHUP):  # A terminal's ^C, and a hang-up, are for the supervisor to act on.
            loop.add_signal_handler(number, lambda: None)
        _log.info("worker ready", worker=start.worker, pid=os.getpid())
        await worker.run()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _take_stdin() -> socket.socket:
    """Return the channel, and leave nothing on standard input for libraries to read or children to inherit."""
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return channel


def _hold(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
