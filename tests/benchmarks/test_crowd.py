"""Many at once, with an engine that costs nothing: memory, connections held, connections a second, and whether opening stays flat."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from octopus.demo.process import Daemon
from tests.benchmarks.figures import Figure, Table, busy, in_turn, median, memory, ms
from tests.benchmarks.stub_engine import NAME
from tests.benchmarks.visitors import AT_ONCE
from tests.e2e.gateway import Gateway, Sections
from tests.e2e.people import People
from tests.e2e.scene import EVERYTHING, gateway_for

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1200)]

SESSIONS = 1000
CONNECTIONS = 2000
ROUNDS = 101
WARM_UP = 10
KNOCKS = 400
CLIENTS = 2


@asynccontextmanager
async def stubbed(people: People, folder: Path) -> AsyncIterator[Gateway]:
    """Run a gateway before the stub."""
    folder.mkdir()
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
            yield gateway


@dataclass(frozen=True)
class Visitors:
    """People of a gateway, in a process of their own: beside a thousand connections of its own a client is slow, whatever it asks."""

    process: asyncio.subprocess.Process

    async def enter(self) -> float:
        """Have one more come in, open a shell and leave; return the seconds to its prompt."""
        await self._send(b"enter\n")
        return float(await self._said())

    async def held(self) -> int:
        """Return how many of those who came and stayed are still in."""
        await self._send(b"held\n")
        return int(await self._said())

    async def _send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        await self.process.stdin.drain()

    async def _said(self) -> bytes:
        assert self.process.stdout is not None
        return await self.process.stdout.readline()


@asynccontextmanager
async def visitors(gateway: Gateway, people: People, count: int, *, shells: bool = False) -> AsyncIterator[Visitors]:
    """Have ``count`` people logged in meanwhile, each with a shell or without."""
    arguments = [str(gateway.port), str(people.alice.key), str(count), "shells" if shells else "connections"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.visitors",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        visiting = Visitors(process)
        assert await visiting.held() == count
        yield visiting
    finally:
        await process.communicate(b"")


async def test_idle_sessions(people: People, tmp_path: Path, table: Table) -> None:
    """What a thousand shells that nobody types in hold in all processes of the gateway, and how long the next one takes to open."""
    async with stubbed(people, tmp_path / "empty") as empty, stubbed(people, tmp_path / "full") as full:
        before = memory(full.processes)
        async with visitors(full, people, SESSIONS, shells=True), visitors(empty, people, 0) as first, visitors(full, people, 0) as late:
            after = memory(full.processes)
            await in_turn(WARM_UP, first.enter, late.enter)
            few, many = await in_turn(ROUNDS, first.enter, late.enter)
    table.add(
        Figure(
            name="scale: memory of an idle session",
            ours=f"{after / SESSIONS / 1024:.0f} KiB",
            goal="≤ 1 MiB",
            how=f"{SESSIONS} shells, all processes of the gateway (Pss) shared among them; "
            f"{(after - before) / SESSIONS / 1024:.0f} KiB for each more",
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
            how=f"median of {ROUNDS} in turn with a gateway that holds none, clients in processes of their own; engine stubbed out; "
            f"longest {ms(max(many))} beside {ms(max(few))}",
        )
    )


async def test_connections(people: People, tmp_path: Path, table: Table) -> None:
    """Two thousand people who are logged in and do nothing, all of whom are still there at the end."""
    async with (
        stubbed(people, tmp_path / "gateway") as gateway,
        visitors(gateway, people, CONNECTIONS) as crowd,
        visitors(gateway, people, 0) as late,
    ):
        held = memory(gateway.processes)
        took = await late.enter()
        assert await crowd.held() == CONNECTIONS
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
    async with stubbed(people, tmp_path / "gateway") as gateway:
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
