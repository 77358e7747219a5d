"""Logs as a client has them: the subsystem ``logs`` of the gateway, over a log of this machine's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from octopus.core.errors import AccessDenied
from octopus.core.types import Output
from tests.parts.gateway import GatewayPart, gateway_part
from tests.streams import until

SUBSYSTEM = ["-s"]


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[GatewayPart]:
    """A gateway whose containers have said two lines and a word on stderr."""
    async with gateway_part(tmp_path) as part:
        part.backend.logged = (Output(data=b"one\ntwo\n"), Output(data=b"wrong\n", stderr=True))
        yield part


async def test_a_log_is_shown_and_on_the_trail(part: GatewayPart) -> None:
    """Each stream apart, status 0, no command started; the trail has what was asked for and how much was shown."""
    ended = await part.ssh.run("t", "logs", "-n", "100", key=part.key, options=SUBSYSTEM)
    assert (ended.status, ended.stdout, ended.stderr) == (0, b"one\ntwo\n", b"wrong\n")
    assert part.backend.started == 0
    [end] = await part.plane.ended()
    assert (end.event, end.data["exit_status"], end.data["bytes_out"], end.data["recordings"]) == ("session.ended", 0, 14, [])


async def test_a_follower_that_leaves_is_let_go(part: GatewayPart) -> None:
    """^C at a client without a terminal ends the client: the log is closed, the session is over."""
    argv = part.ssh.command("t", "logs", "-f", key=part.key, options=SUBSYSTEM)
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    assert await process.stdout.readexactly(8) == b"one\ntwo\n"
    process.terminate()
    await process.wait()
    await until(lambda: not part.backend.followed)
    [end] = await part.plane.ended()
    assert (end.event, end.data["exit_status"]) == ("session.ended", 130)


@pytest.mark.parametrize("key", [b"\x03", b"\x04"])
async def test_a_follower_on_a_terminal_leaves_by_key(part: GatewayPart, key: bytes) -> None:
    """Lines begin at the left; ^C and ^D leave, with the status of ^C, other keys do nothing."""
    async with part.ssh.terminal("t", "logs", "-f", key=part.key, options=["-tt", *SUBSYSTEM]) as terminal:
        await terminal.expect(rb"one\r\ntwo\r\n")
        terminal.send(b"x" + key)
        assert await terminal.wait() == 130
    [end] = await part.plane.ended()
    assert (end.event, end.data["exit_status"]) == ("session.ended", 130)


async def test_what_cannot_be_read_is_nobodys_session(part: GatewayPart) -> None:
    """One line that says how to ask, and nothing on the trail."""
    ended = await part.ssh.run("t", "logs", "--sinze", "1h", key=part.key, options=SUBSYSTEM)
    assert (ended.status, ended.stdout) == (64, b"")
    assert ended.stderr.startswith(b"octopus: logs: ")
    assert b"expected logs [-f]" in ended.stderr
    assert not part.plane.of("session.requested")


async def test_nothing_is_shown_that_no_rule_allows(part: GatewayPart) -> None:
    """A refusal is the same as for a shell."""
    part.plane.refusals["t"] = AccessDenied("no rule")
    ended = await part.ssh.run("t", "logs", key=part.key, options=SUBSYSTEM)
    assert (ended.status, ended.stdout) == (77, b"")
    assert not part.backend.followed


async def test_a_log_needs_a_name(part: GatewayPart) -> None:
    """Without one there is nothing to follow, and no picker where there is no terminal."""
    ended = await part.ssh.run("alice", "logs", key=part.key, options=SUBSYSTEM)
    assert ended.status == 64
    assert b"a task is missing" in ended.stderr
