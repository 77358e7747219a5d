"""Whoever types must not feel who copies: a keystroke's way to the container and back, beside OpenSSH with ``docker exec``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from tests.benchmarks.figures import Figure, Table, high, median, ms
from tests.benchmarks.rivals import WINDOW
from tests.benchmarks.test_bulk import NAME, local
from tests.e2e.people import People
from tests.parts.directory import Slapd
from tests.parts.engines import Engine
from tests.parts.ssh_client import SshClient, Terminal
from tests.streams import until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1800)]

SESSIONS = int(os.environ.get("OCTOPUS_BENCH_SESSIONS", "200"))
KEYS = 200
ROUNDS = 8
AT_ONCE = 8
DOWNLOAD = "cat /dev/zero"
UPLOAD = "cat >/dev/null"
UNDER_WAY = 16 << 20
"""Bytes after which a copy is under way."""


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: a way to a shell in the container, and to a command in it."""

    ssh: SshClient
    user: str
    key: Path
    copies: SshClient
    copies_key: Path

    @asynccontextmanager
    async def typing(self) -> AsyncIterator[Terminal]:
        """Give a terminal whose keys are echoed by the container."""
        async with self.ssh.terminal(self.user, key=self.key, size=WINDOW, options=["-tt"]) as terminal:
            await terminal.expect(rb"[#$] ")
            terminal.send(b"exec cat >/dev/null\r")
            await terminal.expect(rb"null\r\n")
            yield terminal

    async def crowd(self, stack: AsyncExitStack) -> None:
        """Open the sessions that nobody types in."""
        room, key = asyncio.Semaphore(AT_ONCE), asyncssh.read_private_key(self.key)

        async def enter() -> None:
            async with room:
                connecting = asyncssh.connect(
                    self.ssh.host, self.ssh.port, username=self.user, client_keys=[key], known_hosts=None, config=None, agent_path=None
                )
                connection = await stack.enter_async_context(connecting)
                process = await connection.create_process(term_type="xterm", encoding=None)
                await process.stdout.readuntil(b"# ")

        async with asyncio.TaskGroup() as tasks:
            for _ in range(SESSIONS):
                tasks.create_task(enter())

    @asynccontextmanager
    async def copying(self) -> AsyncIterator[None]:
        """Run four downloads and two uploads without end; go on once data runs in all of them."""
        async with AsyncExitStack() as stack:
            pids = [await stack.enter_async_context(self._endless(DOWNLOAD)) for _ in range(4)]
            pids += [await stack.enter_async_context(self._endless(UPLOAD, given=True)) for _ in range(2)]
            await under_way(pids)
            yield

    @asynccontextmanager
    async def _endless(self, command: str, *, given: bool = False) -> AsyncIterator[int]:
        argv = self.copies.command(self.user, command, key=self.copies_key)
        with Path("/dev/zero" if given else os.devnull).open("rb") as source:
            process = await asyncio.create_subprocess_exec(*argv, stdin=source, stdout=asyncio.subprocess.DEVNULL)
        try:
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def under_way(pids: list[int]) -> None:
    """Wait until data runs in all these copies."""
    await until(lambda: min(map(_moved, pids)) > UNDER_WAY)


def _moved(pid: int) -> int:
    """Return the bytes a process has read, from files and sockets alike (proc(5), io)."""
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


async def struck(terminal: Terminal) -> float:
    """Return the seconds from a keystroke to its echo."""
    began = time.perf_counter()
    terminal.send(b"x")
    await terminal.expect(b"x")
    return time.perf_counter() - began


async def typed(terminal: Terminal) -> list[float]:
    """Return the seconds from each of some keystrokes to its echo."""
    took = [await struck(terminal) for _ in range(KEYS)]
    terminal.send(b"\r")
    await terminal.expect(rb"\n")
    return took


def tell(table: Table, load: str, ours: list[float], theirs: list[float], how: str) -> None:
    """Add what keystrokes took under a load, half of them and all but the slowest of a hundred."""
    for name, measure in (("p50", median), ("p99", high)):
        mine, other = measure(ours), measure(theirs)
        table.add(
            Figure(
                name=f"keystroke: {name} {load}",
                ours=ms(mine),
                theirs=ms(other),
                ratio=mine / other,
                goal="≤ 1",
                how=f"{len(ours)} keystrokes, {how}",
            )
        )


async def test_keystroke(people: People, company: Slapd, docker_engine: Engine, tmp_path: Path, table: Table) -> None:
    """With many sessions open beside it, then with bulk data running through the same server as well."""
    async with local(people, company, docker_engine, workers=2) as octopus:
        container, gateway = octopus.container, octopus.gateway.ssh
        with container.openssh() as shells, container.openssh("$SSH_ORIGINAL_COMMAND") as commands:
            sshd, copies = (SshClient(server.host, server.port, tmp_path) for server in (shells, commands))
            ours = Side(gateway, NAME, octopus.key, gateway, octopus.key)
            theirs = Side(sshd, shells.user, shells.key, copies, commands.key)
            quiet, loud = await compared(ours, theirs)
    how = "beside OpenSSH + docker exec under the same load of its own"
    tell(table, f"among {SESSIONS} sessions", quiet[0], quiet[1], how)
    tell(table, f"among {SESSIONS} sessions, 4 downloads, 2 uploads", loud[0], loud[1], how)


async def compared(*sides: Side) -> tuple[list[list[float]], list[list[float]]]:
    """Return what keystrokes took on each side, in turn: with nobody copying, and with copies."""
    quiet: list[list[float]] = [[] for _ in sides]
    loud: list[list[float]] = [[] for _ in sides]
    async with AsyncExitStack() as stack:
        typists = [await stack.enter_async_context(side.typing()) for side in sides]
        for side in sides:
            await side.crowd(stack)
        for _ in range(ROUNDS):
            for number, terminal in enumerate(typists):
                quiet[number] += await typed(terminal)
        for _ in range(ROUNDS):
            for number, (side, terminal) in enumerate(zip(sides, typists, strict=True)):
                async with side.copying():
                    loud[number] += await typed(terminal)
    return quiet, loud
