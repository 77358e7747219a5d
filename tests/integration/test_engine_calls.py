"""Calls to an engine's API as the engine sees them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import re
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

import pytest

from octopus.core.errors import ContainerUnavailable, InvalidRequest
from octopus.core.types import EngineAddress
from octopus.engine.api import EngineApi
from octopus.engine.endpoint import open_endpoint
from octopus.engine.limits import EngineLimits
from octopus.engine.shell import Shells
from octopus.engine.wire import Container, decode

VERSION = b'{"ApiVersion": "1.45", "MinAPIVersion": "1.24"}'


@dataclass
class Listener:
    """An engine that answers every request with ``answer``, or what ``answers`` says, and keeps what it was sent."""

    answers: Callable[[str], bytes] | None = None
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
                answer = self.answers(head) if self.answers else self.answer
                writer.write(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head.startswith("HEAD") else answer)
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


# Which shell a person gets, and in how many calls.

ROOTS = "root:x:0:0::/:{}\n"


def files(contents: Mapping[str, str]) -> Callable[[str], bytes]:
    """Return the answers of an engine whose container has these files, all of which can be executed."""

    def answer(head: str) -> bytes:
        path = unquote(re.search(r"path=(\S+)", head)[1])  # type: ignore[index]
        if path not in contents:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"
        content = contents[path].encode()
        stat = {"name": "f", "size": len(content), "mode": 0o755, "mtime": "2026-01-01T00:00:00Z", "linkTarget": ""}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo("f")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        header = base64.b64encode(json.dumps(stat).encode()).decode()
        lines = f"HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: {header}\r\nContent-Length: {len(buffer.getvalue())}\r\n\r\n"
        return lines.encode() + buffer.getvalue()

    return answer


CONTAINER = decode(b'{"Id": "c0ffee", "Name": "/c", "State": {"Running": true, "StartedAt": "x"}}', Container)


@pytest.mark.parametrize(
    ("contents", "shells", "calls"),
    [
        ({"/bin/sh": "", "/etc/passwd": ROOTS.format("/bin/sh")}, ("/bin/sh", "/bin/sh"), 3),
        ({"/bin/sh": "", "/bin/zsh": "", "/etc/passwd": ROOTS.format("/bin/zsh")}, ("/bin/sh", "/bin/zsh"), 4),
        ({"/bin/sh": "", "/bin/bash": ""}, ("/bin/sh", "/bin/bash"), 3),
        ({"/bin/sh": ""}, ("/bin/sh", "/bin/sh"), 3),
        ({"/bin/bash": "", "/etc/passwd": ROOTS.format("/bin/sh")}, ("/bin/bash", "/bin/bash"), 4),
        ({"/bin/zsh": "", "/etc/passwd": ROOTS.format("/bin/zsh")}, ("", "/bin/zsh"), 5),
    ],
)
async def test_the_shells_of_a_container(contents: Mapping[str, str], shells: tuple[str, str], calls: int) -> None:
    """The one that runs commands, and the user's own where it is there; the same from memory."""
    engine = Listener(answers=files(contents))
    async with listening(engine) as api:
        known = Shells()
        assert await known.shells(api, CONTAINER, "") == shells
        assert len(engine.heads) == calls
        if shells[0]:
            assert await known.shells(api, CONTAINER, "") == shells


async def test_a_container_without_any_shell() -> None:
    """Whatever its passwd says."""
    async with listening(Listener(answers=files({"/etc/passwd": ROOTS.format("/bin/sh")}))) as api:
        with pytest.raises(InvalidRequest, match="no shell"):
            await Shells().shells(api, CONTAINER, "")


async def test_an_engine_that_fails_while_it_is_asked_about_shells() -> None:
    """It is told like any other failure of an engine."""
    async with listening(Listener(answer=b"nonsense\r\n\r\n")) as api:
        with pytest.raises(ContainerUnavailable):
            await Shells().shells(api, CONTAINER, "")
