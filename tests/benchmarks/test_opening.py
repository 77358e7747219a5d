"""What a session costs: the time from ``ssh`` to the first prompt beside OpenSSH with ``docker exec``, and the memory of an idle one."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncssh
import pytest

from octopus.core.types import TermSize
from tests.e2e.gateway import HOST, Gateway
from tests.e2e.scene import Scene, own_socket
from tests.parts.ssh_client import SshClient
from tests.parts.sshd import Sshd
from tests.parts.tools import need

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROUNDS = 15
SESSIONS = 100
APP = "/web/front"
NAME = "web_front"
WINDOW = TermSize(cols=100, rows=40)


@pytest.fixture
def baseline(scene: Scene) -> Iterator[Sshd]:
    """Give OpenSSH as people use it for this job today: the same container, the docker command forced."""
    task = scene.task(APP)
    engine = own_socket(scene.engine(task)).url
    command = f"{need('docker', 'docker.io')} -H {engine} exec -it {scene.container(task)} /bin/sh"
    with Sshd(more=[f"ForceCommand {command}"]) as server:
        yield server


async def test_first_prompt(scene: Scene, baseline: Sshd, tmp_path: Path, report: Callable[[str], None]) -> None:
    """From starting ssh to the shell's prompt, in turn through octopus and through OpenSSH with docker exec."""
    octopus = scene.gateway.ssh
    openssh = SshClient(baseline.host, baseline.port, tmp_path)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(await _prompt(octopus, NAME, scene.people.alice.key))
        theirs.append(await _prompt(openssh, baseline.user, baseline.key))
    ratio = statistics.median(ours) / statistics.median(theirs)
    report(f"first prompt: octopus {_ms(ours)}, OpenSSH + docker exec {_ms(theirs)}, ratio {ratio:.2f} ({ROUNDS} rounds in turn)")


async def test_idle_sessions(scene: Scene, report: Callable[[str], None]) -> None:
    """What a hundred shells that nobody types in add to the memory of all processes of the gateway."""
    async with AsyncExitStack() as stack:
        await _idle(stack, scene, 2)
        before = _private(scene.gateway)
        await _idle(stack, scene, SESSIONS)
        after = _private(scene.gateway)
    report(
        f"idle session: {(after - before) / SESSIONS / 1024:.0f} KiB each in all processes ({SESSIONS} sessions, {before >> 20} MiB before)"
    )


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print past pytest's capture: the figures are what a benchmark is run for."""

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}")

    return tell


async def _prompt(client: SshClient, user: str, key: Path) -> float:
    began = time.perf_counter()
    async with client.terminal(user, key=key, size=WINDOW, options=["-tt"]) as terminal:
        await terminal.expect(rb"[#$] ")
        took = time.perf_counter() - began
        terminal.send(b"exit\r")
        await terminal.wait()
    return took


async def _idle(stack: AsyncExitStack, scene: Scene, count: int) -> None:
    for _ in range(count):
        connection = await stack.enter_async_context(
            asyncssh.connect(
                HOST, scene.gateway.port, username=NAME, client_keys=[str(scene.people.alice.key)], known_hosts=None, config=None
            )
        )
        process = await connection.create_process(term_type="xterm", encoding=None)
        await process.stdout.readuntil(b"# ")


def _private(gateway: Gateway) -> int:
    """Return the bytes that are the gateway's processes' own (proc(5), smaps_rollup)."""
    return sum(
        int(found[1]) << 10
        for pid in gateway.processes
        for found in re.finditer(r"Private_(?:Clean|Dirty):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    )


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms"
