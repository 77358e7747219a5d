"""The script that ends a session's processes, under each shell it may meet, with and without programs beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from octopus.demo.images import busybox_program
from octopus.engine.reaper import SWEEP
from tests.parts.tools import need
from tests.streams import until

TOOLS = os.environ.get("PATH", "")


def shell(name: str) -> list[str]:
    """The command line of a shell."""
    return [str(busybox_program()), "ash"] if name == "ash" else [need(name, name)]


@asynccontextmanager
async def running(*command: str, session: str = "", env: dict[str, str] | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of its own session, marked with ``session``; it has said a line when this is entered."""
    marked = {"PATH": TOOLS, "MULTI": "line\nline", **(env or {}), **({"OCTOPUS_SESSION": session} if session else {})}
    process = await asyncio.create_subprocess_exec(*command, env=marked, stdout=asyncio.subprocess.PIPE, start_new_session=True)
    assert process.stdout
    await process.stdout.readline()
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        await process.communicate()


async def sweep(name: str, path: str, steps: str, *tokens: str) -> list[int]:
    """Run the script with these lines of input; return the counts."""
    process = await asyncio.create_subprocess_exec(
        *shell(name),
        "-c",
        SWEEP,
        "octopus-sweep",
        *tokens,
        env={"PATH": path},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(steps.encode())
    assert (err, process.returncode) == (b"", 0)
    return [int(line) for line in out.split()]


SLEEPER = ("sh", "-c", "echo up; exec sleep 1000")


@pytest.mark.parametrize("path", [TOOLS, "/nowhere"], ids=["programs", "alone"])
@pytest.mark.parametrize("name", ["dash", "bash", "ash"])
async def test_the_marked_processes_are_ended(name: str, path: str) -> None:
    """Those of the sessions named, and no other."""
    one, two, other = (secrets.token_hex(16) for _ in range(3))
    async with running(*SLEEPER, session=one) as a, running(*SLEEPER, session=two) as b, running(*SLEEPER, session=other) as c:
        assert await sweep(name, path, "0\nEXIT\n", one, two) == [2]
        assert a.returncode is None
        assert await sweep(name, path, "TERM\nEXIT\n", one, two) == [2]
        assert [await a.wait(), await b.wait()] == [-15, -15]
        assert await sweep(name, path, "TERM\nEXIT\n", one, two) == [0]
        assert c.returncode is None


@pytest.mark.parametrize("name", ["dash", "bash", "ash"])
async def test_the_token_is_compared_whole(name: str) -> None:
    """Neither a longer token, nor another variable that ends or begins like it, is a match."""
    token = secrets.token_hex(16)
    lookalikes = {"MY_OCTOPUS_SESSION": token, "X": f"OCTOPUS_SESSION={token}", "Y": f"\nOCTOPUS_SESSION={token}x"}
    async with running(*SLEEPER, session=token + "0", env=lookalikes) as process:
        assert await sweep(name, TOOLS, "KILL\nEXIT\n", token) == [0]
        assert process.returncode is None


@pytest.mark.parametrize("name", ["dash", "bash", "ash"])
async def test_a_child_that_cleared_its_environment_goes_with_its_session(name: str) -> None:
    """It is still in the process session of one that is marked."""
    token = secrets.token_hex(16)
    async with running("sh", "-c", "env -i sleep 1000 & echo up; wait", session=token) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        assert await sweep(name, TOOLS, "KILL\nEXIT\n", token) == [2]
        await process.wait()
        # A signal is sent at once and takes effect when the process is run next.
        await until(lambda: not any(_alive(pid) for pid in children.split()))


@pytest.mark.parametrize("name", ["dash", "bash", "ash"])
async def test_when_whoever_asked_is_gone_the_rest_is_killed(name: str) -> None:
    """Input that ends without EXIT is a gateway that died."""
    token = secrets.token_hex(16)
    async with running("sh", "-c", "trap '' HUP TERM; echo up; while :; do sleep 1; done", session=token) as process:
        await sweep(name, TOOLS, "HUP\n", token)
        assert await process.wait() == -9


def _alive(pid: str) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False
