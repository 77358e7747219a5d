"""People of the stub engine's gateway, in a process of their own: what their client needs is not taken for the gateway's.

``python -m tests.benchmarks.visitors PORT KEY COUNT shells|connections`` logs in so often, opens a shell each or none, and stays until
its input ends. Each line sent to it is a question: ``enter`` comes in once more and leaves, the answer is the seconds from connecting to
the prompt; ``held`` is answered by how many of those who stayed are in.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import asyncssh

from tests.benchmarks.stub_engine import NAME

HOST = "127.0.0.1"
AT_ONCE = 8
"""Clients of one address that are not known yet at a time: fewer than a gateway allows."""


def connecting(port: int, key: asyncssh.SSHKey) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
    """Log in, with algorithms that cost little."""
    return asyncssh.connect(
        HOST,
        port,
        username=NAME,
        client_keys=[key],
        known_hosts=None,
        config=None,
        agent_path=None,
        encryption_algs=["aes256-gcm@openssh.com"],
        server_host_key_algs=["ssh-ed25519"],
    )


async def shell(connection: asyncssh.SSHClientConnection) -> asyncssh.SSHClientProcess[bytes]:
    """Open a shell and wait for its prompt."""
    process = await connection.create_process(term_type="xterm", encoding=None)
    await process.stdout.readuntil(b"# ")
    return process


async def enter(port: int, key: asyncssh.SSHKey) -> float:
    """Log in, open a shell and leave; return the seconds to its prompt."""
    began = time.perf_counter()
    async with connecting(port, key) as connection:
        process = await shell(connection)
        took = time.perf_counter() - began
        process.stdin.write(b"exit\r")
        await process.wait_closed()
    return took


async def main(port: int, key: asyncssh.SSHKey, count: int, kind: str) -> None:
    """Come in, stay, and answer until the input ends."""
    room = asyncio.Semaphore(AT_ONCE)
    async with AsyncExitStack() as stack:

        async def come() -> asyncssh.SSHClientConnection:
            async with room:
                connection = await stack.enter_async_context(connecting(port, key))
                if kind == "shells":
                    await shell(connection)
                return connection

        held = await asyncio.gather(*(come() for _ in range(count)))
        while asked := (await asyncio.to_thread(sys.stdin.readline)).strip():
            answer = await enter(port, key) if asked == "enter" else sum(not one.is_closed() for one in held)
            print(answer, flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), asyncssh.read_private_key(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
