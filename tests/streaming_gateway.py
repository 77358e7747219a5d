"""A worker whose gateway speaks a trivial protocol in SSH's place: an order in, a stream of known bytes out."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from octopus.control.plane import Plane
from octopus.core.errors import OctopusError
from octopus.core.types import AuditEvent, Connection, terminal_key
from octopus.session.worker import run_worker
from octopus.session.worker_settings import WorkerSettings
from octopus.session.write_ahead import WriteAhead
from tests.plane_parts import SHELL, attempt

BLOCK = 1 << 16


def blocks(seed: int, count: int) -> Iterator[bytes]:
    """Yield the blocks of a stream, the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.randbytes(BLOCK)


class StreamingGateway:
    """Each connection orders in one line of JSON ``task``, ``seed`` and ``blocks``; it gets a line that names its session and
    worker process, the blocks, and after a line of its own the end."""

    def __init__(self, plane: Plane) -> None:
        self.moved = 0
        self._plane = plane
        self._killed: dict[str, asyncio.Future[str]] = {}

    async def kill(self, session: str, reason: str) -> None:
        """End a session."""
        if session in self._killed and not self._killed[session].done():
            self._killed[session].set_result(reason)

    async def serve(self, sock: socket.socket, client: str) -> None:
        """Serve one connection."""
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            await self._serve(reader, writer, client)
        except (OctopusError, ConnectionError) as error:
            writer.write(json.dumps({"error": type(error).__name__}).encode() + b"\n")
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str) -> None:
        order = json.loads(await reader.readline() or "{}")
        if not order:
            return
        session = f"s-{secrets.token_hex(4)}"
        connection = Connection(id="c-1", client=client)
        identity = await self._plane.authenticate(attempt(connection=connection))
        await self._plane.admit(session, identity, connection, order["task"], SHELL)
        killed = self._killed[session] = asyncio.get_running_loop().create_future()
        writer.write(json.dumps({"session": session, "pid": os.getpid()}).encode() + b"\n")
        stream = asyncio.create_task(self._stream(reader, writer, order))
        await asyncio.wait([stream, killed], return_when=asyncio.FIRST_COMPLETED)
        stream.cancel()
        name, data = ("session.failed", {"reason": killed.result()}) if killed.done() else ("session.ended", {"exit_status": 0})
        event = AuditEvent(event=name, key=terminal_key(session), session=session, login="alice", client=client, data=data)
        await self._plane.record(event)
        writer.write(b"bye\n")

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, order: dict[str, Any]) -> None:
        for block in blocks(order["seed"], order["blocks"]):
            writer.write(block)
            await writer.drain()
            self.moved += len(block)
        await reader.readline()


@asynccontextmanager
async def build(settings: WorkerSettings, plane: Plane, write_ahead: WriteAhead) -> AsyncIterator[StreamingGateway]:
    """Return the gateway."""
    yield StreamingGateway(plane)


if __name__ == "__main__":
    run_worker(build)
