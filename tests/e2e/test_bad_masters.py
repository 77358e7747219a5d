"""Masters and Marathons that answer garbage, half an answer, nothing or too much: what is known goes on being served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.gateway import Gateway
from tests.e2e.people import People
from tests.e2e.planes import becomes
from tests.e2e.scene import Scene, behind, gateway_for, ldap, over_tls
from tests.parts.directory import Slapd

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

MIB = 1 << 20
HUGE = 200 * MIB
MAX_GROWTH = 150 * MIB
"""Bytes by which the gateway's largest process may grow, whatever it is told."""

PAGE = b"<html><body>Service temporarily unavailable</body></html>"


def answer(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """Return an HTTP answer; ``length`` is what it says its body's is."""
    head = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}", "", ""]
    return "\r\n".join(head).encode() + body


BAD: Mapping[str, bytes | None] = {
    "garbage": bytes(range(256)) * 16,
    "garbage in JSON's place": answer("200 OK", b'{"slaves": [}' * 100, "Content-Type: application/json"),
    "half an answer": answer("200 OK", b'{"slaves": [', "Content-Type: application/json", length=100_000),
    "a page": answer("200 OK", PAGE, "Content-Type: text/html"),
    "401": answer("401 Unauthorized", b"", 'WWW-Authenticate: Basic realm="mesos"'),
    "a redirect to itself": answer("307 Temporary Redirect", b"", "Location: {self}"),
    "nothing": None,
    "200 MB": answer("200 OK", b"", "Content-Type: application/json", length=HUGE),
    "200 MB, no length": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
}
"""What is answered; None is no answer at all, and what is huge goes on after its head."""


class Moody:
    """A server that passes everything on to the real one, or answers everybody alike. ``asked`` counts since the last change."""

    def __init__(self, url: str) -> None:
        self._upstream = urlsplit(url)
        self._tasks: set[asyncio.Task[None]] = set()
        self._mood: str = ""
        self.asked = 0
        self.url = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Moody]:
        """Serve on a free port until left."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await self._cut()

    async def become(self, mood: str) -> None:
        """Answer so from now on ("" as the real one); connections so far are cut."""
        self._mood, self.asked = mood, 0
        await self._cut()

    async def _cut(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._mood:
                await self._answer(reader, writer)
            else:
                await self._pass_on(reader, writer)
        except OSError:
            return
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        said = BAD[self._mood]
        if said is None:
            await reader.read()
            return
        writer.write(said.replace(b"{self}", self.url.encode()))
        await writer.drain()
        if self._mood.startswith("200 MB"):
            for _ in range(HUGE // MIB):
                writer.write(b"[" * MIB)
                await writer.drain()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, upstream_writer))
                pumps.create_task(_pump(upstream_reader, writer))
        except* OSError:
            writer.transport.abort()
        finally:
            upstream_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def told(gateway: Gateway, feed: str, event: str) -> int:
    """Return how often the log says this of a feed."""
    lines = map(json.loads, gateway.log.splitlines())
    return sum(line["event"].startswith(event) and line.get("feed") == feed for line in lines)


def enough(mood: str, master: Moody, marathon: Moody) -> bool:
    """Tell whether each feed has failed, and tried again where it was answered; Marathon is asked by a reader and a listener."""
    return master.asked >= (1 if BAD[mood] is None else 2) and marathon.asked >= 2 + (BAD[mood] is not None)


async def test_whatever_they_answer_what_is_known_is_served(scene: Scene, company: Slapd, people: People) -> None:
    """One log line when a feed begins to fail and one when it works again, memory within bounds, and no restart in between."""
    key = people.alice.key
    async with AsyncExitStack() as stack:
        master = await stack.enter_async_context(Moody(scene.cluster.mesos_urls[0]).serve())
        marathon = await stack.enter_async_context(Moody(scene.cluster.marathon_urls[0]).serve())
        sections: dict[str, Any] = {**ldap(company), **behind(scene.cluster), **over_tls(scene.engines[0])}
        sections["mesos"] = {"masters": [master.url], "poll_interval": "1s", "fetch_timeout": "5s", "max_state": 20 * MIB}
        sections["marathon"] = {"urls": [marathon.url], "poll_interval": "1s"}
        gateway = await stack.enter_async_context(gateway_for(people, sections))
        await gateway.serves("web_front", key=key)
        feeds = {"mesos": master, "marathon": marathon}
        start = gateway.memory()
        for mood in BAD:
            before = {feed: (told(gateway, feed, "feed fails"), told(gateway, feed, "feed works")) for feed in feeds}
            for feed in feeds.values():
                await feed.become(mood)
            served = await gateway.ssh.run("web_front", "echo served", key=key)
            assert (served.stdout, served.stderr) == (b"served\n", b""), mood
            await becomes(lambda mood=mood: enough(mood, master, marathon), True)  # type: ignore[misc]
            largest = gateway.memory()
            for feed in feeds.values():
                await feed.become("")
            for name, (fails, works) in before.items():
                await becomes(lambda name=name: told(gateway, name, "feed works"), works + 1)  # type: ignore[misc]
                # One for the connection that was cut, one for the answer, where these are two kinds of failure.
                assert 1 <= told(gateway, name, "feed fails") - fails <= 2, (mood, name)
            print(f"{mood}: memory {start // MIB} -> {largest // MIB} MiB")
            assert largest - start < MAX_GROWTH, mood
