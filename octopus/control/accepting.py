"""Connections on their way in: they wait in the sockets while nothing could answer them, then each is given to a session worker."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from octopus.control import listeners
from octopus.control.placing import ConnectionLimits
from octopus.control.sd_notify import notify

Give = Callable[[int, str, socket.socket], bool]
"""Hands a connection, by its number and its client's address, to a worker; False when none takes it. May raise OSError."""

_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = structlog.get_logger(__name__)


async def _at_once() -> None:
    """Be ready."""


@dataclass(frozen=True, kw_only=True)
class Doors:
    """Where connections come in: ``inherited`` sockets where there are any, else ``listen`` is bound. They wait until ``ready``
    returns. systemd is told at ``notify_socket``."""

    listen: Sequence[str] = ()
    inherited: Sequence[socket.socket] = ()
    ready: Callable[[], Awaitable[None]] = _at_once
    notify_socket: str = ""


class Accepting:
    """Takes connections within ``limits``, which learn of each one's end from whoever it was given to."""

    def __init__(self, doors: Doors, limits: ConnectionLimits, give: Give) -> None:
        self._doors = doors
        self._limits = limits
        self._give = give
        self._numbers = itertools.count(1)

    async def run(self, stopping: asyncio.Event) -> None:
        """Take connections until ``stopping``. Raise ConfigError where an address cannot be listened on."""
        sockets = self._doors.inherited or listeners.bind(self._doors.listen)
        try:
            await self._until_ready(stopping)
            async with asyncio.TaskGroup() as tasks:
                accepting = [tasks.create_task(self._accept(sock)) for sock in sockets]
                addresses = [listeners.name(sock.getsockname()) for sock in sockets]
                _log.info("taking connections", listen=addresses)
                notify(self._doors.notify_socket, "READY=1")
                await stopping.wait()
                notify(self._doors.notify_socket, "STOPPING=1")
                for task in accepting:
                    task.cancel()
        finally:
            listeners.close(sockets)

    async def _until_ready(self, stopping: asyncio.Event) -> None:
        """Leave connections waiting in the sockets while there is nothing to answer them with, or until told to stop."""
        either = [asyncio.ensure_future(self._doors.ready()), asyncio.ensure_future(stopping.wait())]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for one in either:
            one.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:
                _log.error("a connection cannot be accepted", error=str(error))
                if error.errno in _OUT_OF_DESCRIPTORS:  # nothing tells when there are some again
                    await asyncio.sleep(0.5)
                continue
            with connection:
                self._pass_on(connection, address)

    def _pass_on(self, connection: socket.socket, address: tuple[str, int]) -> None:
        number, client = next(self._numbers), listeners.name(address)
        if not self._limits.opened(number, address[0]):
            _log.warning("a connection too many was closed", client=client)
            return
        try:
            given = self._give(number, client, connection)
        except OSError as error:
            _log.error("cannot start a worker", error=str(error))
            given = False
        if not given:
            _log.error("no worker takes a connection", client=client)
            self._limits.closed(number)
