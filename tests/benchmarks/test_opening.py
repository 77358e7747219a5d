"""What it takes to be in: from ``ssh`` to the first prompt, beside OpenSSH with ``docker exec`` and beside the bare engine API."""

from __future__ import annotations

import time
from pathlib import Path

import asyncssh
import pytest

from tests.benchmarks.figures import Figure, Table, busy, in_turn, median, ms
from tests.benchmarks.rivals import WINDOW, Container
from tests.e2e.gateway import HOST
from tests.e2e.scene import Scene
from tests.parts.ssh_client import SshClient

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

ROUNDS = 21
APP = "/web/front"
NAME = "web_front"


async def test_first_prompt(scene: Scene, tmp_path: Path, table: Table) -> None:
    """From starting ssh to the shell's prompt, in turn through octopus and through OpenSSH with docker exec."""
    with Container.of(scene, APP).openssh() as server:
        openssh = SshClient(server.host, server.port, tmp_path)
        ours, theirs = await in_turn(
            ROUNDS,
            lambda: prompt(scene.gateway.ssh, NAME, scene.people.alice.key),
            lambda: prompt(openssh, server.user, server.key),
        )
    table.add(
        Figure(
            name="open: ssh to first prompt, beside OpenSSH + docker exec",
            ours=ms(median(ours)),
            theirs=ms(median(theirs)),
            ratio=median(ours) / median(theirs),
            goal="≤ 0.35",
            how=f"median of {ROUNDS}; engine over TLS for octopus, by its unix socket for OpenSSH",
        )
    )


async def test_own_share(scene: Scene, table: Table) -> None:
    """What handshake, key, resolving, deciding and recording add to the engine's own time, for a client that is already running."""
    container, key = Container.of(scene, APP), asyncssh.read_private_key(scene.people.alice.key)
    before = busy(scene.gateway.processes)
    ours, floor = await in_turn(ROUNDS, lambda: running_client(scene.gateway.port, key), container.bare_prompt)
    used = (busy(scene.gateway.processes) - before) / ROUNDS
    table.add(
        Figure(
            name="open: first prompt for a running client, beside the bare engine API",
            ours=ms(median(ours)),
            theirs=ms(median(floor)),
            ratio=median(ours) / median(floor),
            goal=f"≤ 30 ms over it: {ms(median(ours) - median(floor))}",
            how=f"median of {ROUNDS}, a client's own work included; {ms(used)} of processor in all the gateway's processes",
        )
    )


async def prompt(client: SshClient, user: str, key: Path) -> float:
    """Return the seconds from starting ssh to the prompt."""
    began = time.perf_counter()
    async with client.terminal(user, key=key, size=WINDOW, options=["-tt"]) as terminal:
        await terminal.expect(rb"[#$] ")
        took = time.perf_counter() - began
        terminal.send(b"exit\r")
        await terminal.wait()
    return took


async def running_client(port: int, key: asyncssh.SSHKey) -> float:
    """Return the seconds from connecting to the prompt."""
    began = time.perf_counter()
    async with asyncssh.connect(HOST, port, username=NAME, client_keys=[key], known_hosts=None, config=None, agent_path=None) as connection:
        process = await connection.create_process(term_type="xterm", term_size=(WINDOW.cols, WINDOW.rows), encoding=None)
        await process.stdout.readuntil(b"# ")
        took = time.perf_counter() - began
        process.stdin.write(b"exit\r")
        await process.wait_closed()
    return took
