"""Much data: past 2 GiB through one connection both ways, and what neither a slow client nor a flood may cost."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator

import pytest

from tests.e2e.gateway import Gateway
from tests.e2e.scene import Scene
from tests.e2e.trail import Chapter

pytestmark = pytest.mark.asyncio(loop_scope="session")

BLOCK = bytes(range(256)) * 4096
"""1 MiB."""
BLOCKS = 2100
"""MiB; SSH renews its keys on the way (RFC 4253 9: each 1 GiB), and 32 bits do not count them."""
SPARE = 64 << 20
"""Bytes a worker may grow by while it holds a flood back: buffers and windows, and what the allocator keeps."""


@pytest.mark.timeout(600)
async def test_more_than_two_gib_both_ways(scene: Scene, record: Chapter) -> None:
    """2100 MiB go in and come back through one connection, every byte, over TLS to the agent."""
    command = scene.gateway.ssh.command("web_front", "cat; exit 3", key=scene.people.alice.key)
    async with running(scene.gateway, command) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send(process.stdin))
            received = tasks.create_task(digest(process.stdout))
        assert await process.wait() == 3
    whole = hashlib.blake2b()
    for _ in range(BLOCKS):
        whole.update(BLOCK)
    assert received.result() == (BLOCKS * len(BLOCK), whole.hexdigest())
    end = (await record.session()).end
    assert (end["bytes_in"], end["bytes_out"]) == (BLOCKS * len(BLOCK), BLOCKS * len(BLOCK))


@contextlib.asynccontextmanager
async def running(gateway: Gateway, command: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a client whose streams the test itself reads and writes; killed on leaving."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=gateway.ssh.environment(), limit=1 << 20)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if process.stdout is not None:
            await process.stdout.read()  # to its end, or the pipe stays open
        await process.wait()


async def send(writer: asyncio.StreamWriter) -> None:
    """Write all blocks, then the end."""
    for _ in range(BLOCKS):
        writer.write(BLOCK)
        await writer.drain()
    writer.close()


async def digest(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Return how much comes, and its hash."""
    total, whole = 0, hashlib.blake2b()
    while piece := await reader.read(1 << 20):
        total += len(piece)
        whole.update(piece)
    return total, whole.hexdigest()


async def test_flood_to_a_client_that_reads_nothing(scene: Scene, record: Chapter) -> None:
    """A container that floods a client which does not read stands still; memory does not grow, and others are served meanwhile."""
    before = scene.gateway.memory()
    command = scene.gateway.ssh.command("web_front", "cat /dev/zero", key=scene.people.alice.key)
    async with running(scene.gateway, command) as process:
        assert process.stdout is not None
        await process.stdout.readexactly(1 << 20)
        # nothing is read from here on: the pipe, ssh's buffers, the sockets and the gateway's fill up while others work
        for _ in range(5):
            assert (await scene.gateway.ssh.run("web_back", "head -c 5000000 /dev/zero | wc -c", key=scene.people.alice.key)).status == 0
        assert scene.gateway.memory() < before + SPARE
    await record.sessions(6)
    assert scene.processes("/web/front") == []


async def test_flood_into_a_command_that_reads_nothing(scene: Scene, record: Chapter) -> None:
    """A client that pours into a command which does not read stands still, too."""
    before = scene.gateway.memory()
    command = scene.gateway.ssh.command("web_front", "echo ready; sleep 86399", key=scene.people.alice.key)
    async with running(scene.gateway, command) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdout.readexactly(6)
        pouring = asyncio.create_task(send(process.stdin))
        for _ in range(5):
            assert (await scene.gateway.ssh.run("web_back", "true", key=scene.people.alice.key)).status == 0
        assert not pouring.done()
        assert scene.gateway.memory() < before + SPARE
        pouring.cancel()
    await record.sessions(6)
    assert scene.processes("/web/front") == []
