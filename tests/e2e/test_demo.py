"""``octopus demo`` as a newcomer meets it: started, pasted from, ended with Ctrl-C, gone."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from octopus.demo.engines import first_answering
from octopus.demo.stage import SYSTEM_ENGINE
from tests.parts.ssh_client import Ended, SshClient
from tests.parts.tools import need

OCTOPUS = Path(sys.executable).with_name("octopus")


@dataclass
class RunningDemo:
    """A demo that has said all it says at the start: ``lines``."""

    process: asyncio.subprocess.Process
    client: SshClient
    lines: list[str] = field(default_factory=list)

    def password(self, login: str) -> str:
        """Return the password it printed for this person."""
        return next(line.split()[2] for line in self.lines if line.split()[:2] == [login, "password"])

    def pasted(self, beginning: str) -> list[str]:
        """Return the line to paste under the words that begin so, as arguments."""
        found = next(number for number, line in enumerate(self.lines) if line.strip().startswith(beginning))
        return shlex.split(self.lines[found + 1])

    @property
    def directory(self) -> Path:
        """The folder of this demo."""
        found = re.search(r"-F (\S+)/ssh_config", "\n".join(self.lines))
        assert found
        return Path(found[1])

    async def paste(self, beginning: str, *command: str, password: str = "", stdin: bytes | None = b"") -> Ended:
        """Run a line it printed, and a command behind it, with this password typed."""
        answers = {"assword": password} if password else {}
        return await self.client.run_program([*self.pasted(beginning), *command], answers=answers, stdin=stdin)


@contextlib.asynccontextmanager
async def demo(directory: Path) -> AsyncIterator[RunningDemo]:
    """Run the installed command until it has printed where its recordings are; end it with SIGINT."""
    process = await asyncio.create_subprocess_exec(OCTOPUS, "demo", stdout=asyncio.subprocess.PIPE)
    running = RunningDemo(process, SshClient("127.0.0.1", 0, directory))
    assert process.stdout
    try:
        while not running.lines or not running.lines[-1].startswith("Recordings:"):
            line = await process.stdout.readline()
            assert line, f"it ended: {running.lines}"
            running.lines.append(line.decode().rstrip("\n"))
        yield running
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.communicate()


@pytest.fixture
async def shown(tmp_path: Path) -> AsyncIterator[RunningDemo]:
    """A demo with whatever engine it finds."""
    need("ssh", "openssh-client")
    if first_answering([SYSTEM_ENGINE]) is None:
        need("dockerd", "docker.io")
    async with demo(tmp_path) as running:
        yield running


async def test_the_lines_can_be_pasted_and_nothing_is_left(shown: RunningDemo) -> None:
    """Password, key, log, refusal, list and agent work as the printed words say; after Ctrl-C folder and processes are gone."""
    alice, bob = shown.password("alice"), shown.password("bob")
    shell = await shown.paste("a shell", "echo $MESOS_TASK_ID; exit 3", password=alice)
    assert (shell.status, shell.stdout[:17]) == (3, b"logging_logstash.")
    ambiguous = await shown.paste("her key", "true")
    assert ambiguous.status == 64
    assert ambiguous.stderr.count(b"logging_logstash.instance-") >= 3
    assert b"httpd" in (await shown.paste("one command", password=bob)).stdout
    assert b" line 1\n" in (await shown.paste("what the second", password=alice)).stdout
    refused = await shown.paste("not his", "true", password=bob)
    assert (refused.status, b"access denied" in refused.stderr) == (77, True)
    listed = await shown.paste("what she", password=alice)
    assert listed.stdout.decode().count("\n") >= 9
    assert (await shown.paste("the instance", "echo $HOST", password=alice)).stdout == b"agent-2.example\n"

    directory = shown.directory
    assert (directory / "audit" / "audit.jsonl").stat().st_size > 0
    shown.process.send_signal(signal.SIGINT)
    await shown.process.communicate()
    assert shown.process.returncode == 0
    assert not directory.exists()
    assert processes_naming(directory) == []


def processes_naming(directory: Path) -> list[bytes]:
    """Return the command lines that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return [line for line in found if bytes(directory) in line]
