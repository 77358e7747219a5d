"""Many at once, with an engine that costs nothing: memory, connections held, connections a second, and whether opening stays flat."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from octopus.demo.process import Daemon
from tests.benchmarks.figures import Figure, Table, busy, median, memory, ms
from tests.benchmarks.stub_engine import NAME
from tests.e2e.gateway import HOST, Gateway, Sections
from tests.e2e.people import People
from tests.e2e.scene import EVERYTHING, gateway_for

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1200)]

SESSIONS = 1000
CONNECTIONS = 2000
ROUNDS = 21
KNOCKS = 400
CLIENTS = 2
AT_ONCE = 8
"""Clients of one address that are not known yet at a time: fewer than a gateway allows."""


@dataclass
class Crowd:
    """Clients of one gateway, all of this process."""

    gateway: Gateway
    key: asyncssh.SSHKey
    stack: AsyncExitStack
    held: list[asyncssh.SSHClientConnection]

    async def connect(self) -> asyncssh.SSHClientConnection:
        """Log in."""
        connecting = asyncssh.connect(
            HOST,
            self.gateway.port,
            username=NAME,
            client_keys=[self.key],
            known_hosts=None,
            config=None,
            agent_path=None,
            encryption_algs=["aes256-gcm@openssh.com"],
            server_host_key_algs=["ssh-ed25519"],
        )
        connection = await self.stack.enter_async_context(connecting)
        self.held.append(connection)
        return connection

    async def enter(self) -> float:
        """Log in and open a shell; return the seconds to its prompt."""
        began = time.perf_counter()
        connection = await self.connect()
        process = await connection.create_process(term_type="xterm", encoding=None)
        await process.stdout.readuntil(b"# ")
        return time.perf_counter() - began

    async def grow(self, count: int, *, shells: bool) -> None:
        """Have ``count`` connections in all."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with room:
                await (self.enter() if shells else self.connect())

        async with asyncio.TaskGroup() as tasks:
            for _ in range(count - len(self.held)):
                tasks.create_task(one())


@asynccontextmanager
async def crowd(people: People, folder: Path) -> AsyncIterator[Crowd]:
    """Run a gateway before the stub, and give it clients."""
    socket = folder / "engine.sock"
    command = [sys.executable, "-m", "tests.benchmarks.stub_engine", str(socket)]
    with Daemon(folder, command, socket.exists, start_timeout=30):
        inventory: Sections = {
            "docker": {"url": f"unix://{socket}", "inventory": True},
            "policy": [{"users": ["alice"], "apps": ["/**", "**"], "allow": EVERYTHING}],
            "auth.users": {"file": "users.toml"},
        }
        async with gateway_for(people, inventory, {"ssh": {"workers": 2}}) as gateway:
            await gateway.serves(NAME, key=people.alice.key)
            async with AsyncExitStack() as stack:
                yield Crowd(gateway, asyncssh.read_private_key(people.alice.key), stack, [])


async def test_idle_sessions(people: People, tmp_path: Path, table: Table) -> None:
    """What a thousand shells that nobody types in hold in all processes of the gateway, and how long the next one takes to open."""
    async with crowd(people, tmp_path) as people_in:
        few = [await people_in.enter() for _ in range(ROUNDS)]
        empty = memory(people_in.gateway.processes)
        await people_in.grow(SESSIONS, shells=True)
        full = memory(people_in.gateway.processes)
        many = [await people_in.enter() for _ in range(ROUNDS)]
    table.add(
        Figure(
            name="scale: memory of an idle session",
            ours=f"{full / SESSIONS / 1024:.0f} KiB",
            goal="≤ 1 MiB",
            how=f"{SESSIONS} shells, all processes of the gateway (Pss) shared among them; "
            f"{(full - empty) / (SESSIONS - ROUNDS) / 1024:.0f} KiB for each more",
        )
    )
    table.add(
        Figure(
            name="open: the gateway's own share, engine stubbed out",
            ours=ms(median(few)),
            goal="≤ 30 ms",
            how=f"from connecting to the first prompt, a running client's own work included, median of {ROUNDS}",
        )
    )
    table.add(
        Figure(
            name=f"scale: opening among {SESSIONS} sessions, beside the first ones",
            ours=ms(median(many)),
            theirs=ms(median(few)),
            ratio=median(many) / median(few),
            goal="flat",
            how=f"median of {ROUNDS} before and after, engine stubbed out",
        )
    )


async def test_connections(people: People, tmp_path: Path, table: Table) -> None:
    """Two thousand people who are logged in and do nothing, all of whom are still there at the end."""
    async with crowd(people, tmp_path) as people_in:
        await people_in.grow(CONNECTIONS, shells=False)
        held = memory(people_in.gateway.processes)
        assert not any(connection.is_closed() for connection in people_in.held)
        took = await people_in.enter()
    table.add(
        Figure(
            name="scale: connections held",
            ours=str(CONNECTIONS),
            goal=str(CONNECTIONS),
            how=f"{held / CONNECTIONS / 1024:.0f} KiB each in all processes of the gateway; the next one is in after {ms(took)}",
        )
    )


async def test_connections_a_second(people: People, tmp_path: Path, table: Table) -> None:
    """How many people log in, run a command and leave in a second."""
    async with crowd(people, tmp_path) as people_in:
        gateway = people_in.gateway
        before = busy(gateway.processes)
        arguments = [str(gateway.port), str(people.alice.key), str(KNOCKS // CLIENTS), str(AT_ONCE)]
        clients = [
            await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.benchmarks.knock", *arguments, stdout=asyncio.subprocess.PIPE)
            for _ in range(CLIENTS)
        ]
        ran = [float((await client.communicate())[0]) for client in clients]
        used = (busy(gateway.processes) - before) / KNOCKS
    table.add(
        Figure(
            name="scale: connections a second",
            ours=f"{KNOCKS / max(ran):.0f}",
            goal="≥ 100",
            how=f"{KNOCKS} logins by key with a command each, {CLIENTS} clients on the same machine; {ms(used)} of processor each in the "
            f"gateway's processes",
        )
    )
