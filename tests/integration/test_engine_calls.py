"""Calls to an engine's API as the engine sees them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from octopus.core.errors import ContainerUnavailable
from octopus.core.types import EngineAddress
from octopus.engine.api import EngineApi
from octopus.engine.endpoint import open_endpoint
from octopus.engine.limits import EngineLimits

VERSION = b'{"ApiVersion": "1.45", "MinAPIVersion": "1.24"}'


@dataclass
class Listener:
    """An engine that answers every request with ``answer`` and keeps what it was sent."""

    answer: bytes = b"HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: e30=\r\nContent-Length: 2\r\n\r\n{}"
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    serving: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        self.connections += 1
        self.serving.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if head.startswith("GET /version "):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(VERSION), VERSION))
                    continue
                self.heads.append(head)
                self.bodies.append(body)
                writer.write(self.answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head.startswith("HEAD") else self.answer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self.serving.discard(asyncio.current_task())


@asynccontextmanager
async def listening(engine: Listener, limits: EngineLimits | None = None) -> AsyncIterator[EngineApi]:
    """Give the API of an engine over TCP."""
    async with await asyncio.start_server(engine.serve, "127.0.0.1", 0) as server:
        address = EngineAddress(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        api = EngineApi("agent-7", address, open_endpoint(address, 5.0), limits or EngineLimits())
        try:
            yield api
        finally:
            api.release()
            async with asyncio.timeout(30):
                while engine.serving:  # noqa: ASYNC110  each ends with its connection, which is closed now
                    await asyncio.sleep(0.01)


async def test_calls_of_all_kinds_go_over_one_connection() -> None:
    """A handshake for every stat would cost more than the stat."""
    engine = Listener()
    async with listening(engine) as api:
        for _ in range(3):
            assert (await api.call("GET", "/containers/c/json")).body == b"{}"
            assert (await api.call("HEAD", "/containers/c/archive", params={"path": "/"})).stat == "e30="
            assert (await api.call("POST", "/exec/e/resize")).status == 200
    assert engine.connections == 1


async def test_what_is_sent() -> None:
    """Paths and parameters are quoted, whatever bytes a file's name has; bodies are JSON; the SDK says who asks."""
    engine = Listener()
    async with listening(engine) as api:
        await api.call("GET", "/containers/a b/archive", params={"path": b"/tmp/\xff&x=1"})
        await api.call("POST", "/containers/c/exec", body={"Cmd": ["sh", "-c", "é"]})
        await api.call("POST", "/exec/e/resize", params={"h": "24", "w": "80"})
    asked, created, resized = engine.heads
    assert asked.startswith("GET /v1.45/containers/a%20b/archive?path=%2Ftmp%2F%FF%26x%3D1 HTTP/1.1\r\n")
    assert re.search(r"(?i)\r\naccept-encoding: identity\r\n", asked)
    assert re.search(r"(?i)\r\nuser-agent: docker-sdk-python/", asked)
    assert re.search(r"(?i)\r\ncontent-type: application/json\r\n", created)
    assert engine.bodies[1] == b'{"Cmd": ["sh", "-c", "\\u00e9"]}'
    assert resized.startswith("POST /v1.45/exec/e/resize?h=24&w=80 HTTP/1.1\r\n")
    assert re.search(r"(?i)\r\ncontent-length: 0\r\n", resized)


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    """Nobody sends us on to another engine."""
    engine = Listener(answer=b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    async with listening(engine) as api:
        assert (await api.call("GET", "/containers/c/json")).status == 302


async def test_an_answer_too_large_ends_its_connection_and_nothing_else() -> None:
    """What is left of it is never taken for the answer to the next call."""
    engine = Listener(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
    async with listening(engine, EngineLimits(body=1000)) as api:
        with pytest.raises(ContainerUnavailable, match="more than 1000 bytes"):
            await api.call("GET", "/containers/c/json")
        engine.answer = Listener.answer
        assert (await api.call("GET", "/containers/c/json")).body == b"{}"


async def test_a_connection_that_the_engine_has_closed_is_not_used_again() -> None:
    """Engines close connections that nobody uses; the next call makes another."""
    engine = Listener()
    async with listening(engine) as api:
        await api.call("GET", "/containers/c/json")
        engine.answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
        await api.call("GET", "/containers/c/json")
        engine.answer = Listener.answer
        assert (await api.call("GET", "/containers/c/json")).body == b"{}"
    assert engine.connections == 2
