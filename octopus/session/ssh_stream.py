"""What every channel's session object has of a stream: writes that wait for the client, and word of its end."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from asyncssh.constants import EXTENDED_DATA_STDERR

from octopus.core.errors import Disconnected
from octopus.session.courtesy import BULK
from octopus.session.ssh_connection import GatewayConnection, PacedChannel

CHUNK = 262_144
"""Bytes up to which pieces of input are put together."""
MAX_WRITE = 262_144
"""Bytes written at a time: several packets, in one system call."""

C = TypeVar("C", bound=PacedChannel)


class SshStream(Generic[C]):
    """Base of the session objects on channels; ``gone`` is set once the client is."""

    def __init__(self, connection: GatewayConnection) -> None:
        self.gone = asyncio.Event()
        self._connection = connection
        self._waiter: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._chan: C | None = None

    async def write(self, data: bytes, *, stderr: bool = False) -> None:
        """Send output; returns when the client has room for more. Raise Disconnected."""
        datatype = EXTENDED_DATA_STDERR if stderr else None
        if len(data) >= BULK:
            await self._connection.courtesy.turn(len(data))
        for start in range(0, len(data), MAX_WRITE):
            await self._drained()
            part = data if len(data) <= MAX_WRITE else data[start : start + MAX_WRITE]
            try:
                self._open().write(part, datatype)
            except OSError as error:
                raise Disconnected(f"the channel is closed: {error}") from error
        await self._drained()

    async def flush(self) -> None:
        """Wait until the client was sent everything. Raise Disconnected."""
        self._open().set_write_buffer_limits(high=0, low=0)
        await self._drained()

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        if self._chan and not self.gone.is_set():
            self._chan.abort()

    def pause_writing(self) -> None:
        """Note that the channel's buffer is full; asyncssh calls this and what follows."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Note that the channel's buffer has room."""
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the client is gone, in whichever way."""
        self.gone.set()
        self._wake()
        self._room.set()

    @property
    def ready(self) -> bool:
        """Whether what is sent goes out without waiting."""
        return self._room.is_set() and self._connection.writable.is_set() and not self.gone.is_set()

    async def _next(self) -> None:
        """Wait until something comes, or the client is gone."""
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            if self._waiter is waiter:
                self._waiter = None

    @property
    def _awaited(self) -> bool:
        """Whether what comes is waited for, and nothing has come before it."""
        return self._waiter is not None and not self._waiter.done()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _used(self, size: int) -> None:
        if self._chan and not self.gone.is_set():
            self._chan.used(size)

    async def _drained(self) -> None:
        """Wait until channel, socket and key exchange take more."""
        while not (self._room.is_set() and self._connection.writable.is_set()):
            await self._room.wait()
            await self._connection.writable.wait()
        if self.gone.is_set():
            raise Disconnected("the client is gone")

    def _open(self) -> C:
        if self._chan is None or self.gone.is_set():
            raise Disconnected("the channel is closed")
        return self._chan
