"""Without a target: the picker on a real terminal, ps and help for scripts, one line for everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from octopus.core.errors import AmbiguousTarget
from octopus.core.types import TermSize
from tests.parts.gateway import GatewayPart, gateway_part, target

SHOP = "web_shop.7b1c0000-8a11-11e5-9c5b-56847afe9799"


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[GatewayPart]:
    """A gateway with two apps for one test."""
    async with gateway_part(tmp_path) as part:
        part.plane.tasks[SHOP] = target(SHOP, "/web/shop")
        yield part


@pytest.mark.parametrize("user", ["alice", "alice+"])
async def test_typing_finds_and_enter_enters(part: GatewayPart, user: str) -> None:
    """``ssh alice@octopus`` on a terminal: a list, a search, Enter, and a shell in the task, of the size the window has by then."""
    async with part.ssh.terminal(user, key=part.key, size=TermSize(cols=60, rows=12)) as terminal:
        await terminal.expect(rb"/logging/logstash")
        terminal.resize(TermSize(cols=70, rows=15))
        terminal.send(b"shop")
        await terminal.expect(rb"1/1 ")
        terminal.send(b"\r")
        await terminal.expect(rb"\$ ")
        terminal.send(b"stty size; exit 3\r")
        await terminal.expect(rb"15 70")
        assert await terminal.wait() == 3
    [end] = await part.plane.ended()
    assert end.target["task"] == SHOP


@pytest.mark.parametrize("key", [b"\x1b", b"\x03", b"\x04"])
async def test_leaving_the_picker_enters_nothing(part: GatewayPart, key: bytes) -> None:
    """Esc, ^C and ^D leave, with the screen as it was and the status of ^C."""
    async with part.ssh.terminal("alice", key=part.key) as terminal:
        await terminal.expect(rb"type to search")
        terminal.send(key)
        await terminal.expect(rb"\x1b\[\?1049l")
        assert await terminal.wait() == 130
    assert part.backend.started == 0


async def test_several_instances_are_a_picker_on_a_terminal(part: GatewayPart) -> None:
    """An app with several instances: choose on a terminal."""
    part.plane.refusals["web_shop"] = AmbiguousTarget(candidates=[SHOP, "other"])
    async with part.ssh.terminal("web_shop", key=part.key) as terminal:
        await terminal.expect(rb"7b1c0000")
        terminal.send(b"\r")
        await terminal.expect(rb"\$ ")
        terminal.send(b"exit\r")
        assert await terminal.wait() == 0


async def test_what_is_typed_ahead_is_the_shells(part: GatewayPart) -> None:
    """Whatever follows the choice, in the same packet even, is not lost."""
    part.plane.refusals["web_shop"] = AmbiguousTarget(candidates=[SHOP, "other"])
    async with part.ssh.terminal("web_shop", key=part.key) as terminal:
        await terminal.expect(rb"7b1c0000")
        terminal.send(b"shop\rexit 5\r")
        assert await terminal.wait() == 5


async def test_a_signal_leaves_the_picker(part: GatewayPart) -> None:
    """As ^C does."""
    async with asyncssh.connect(
        "127.0.0.1", part.port, username="alice", client_keys=[str(part.key)], known_hosts=None, config=None
    ) as connection:
        process = await connection.create_process(term_type="xterm")
        await process.stdout.readuntil("Esc leaves")
        process.send_signal("INT")
        assert (await process.wait()).exit_status == 130
    assert part.backend.started == 0


async def test_several_instances_are_listed_without_a_terminal(part: GatewayPart) -> None:
    """Without a terminal, and for a command, the refusal lists them."""
    part.plane.refusals["web_shop"] = AmbiguousTarget(candidates=[SHOP, "\x1b[2Jother"])
    ended = await part.ssh.run("web_shop", "true", key=part.key)
    assert ended.status == 64
    assert ended.stderr.startswith(f"octopus: several running tasks match: {SHOP}, \\x1b[2Jother [s-".encode())
    assert (await part.ssh.run("web_shop", "true", key=part.key, options=["-tt"], stdin=None)).status == 64


async def test_ps_is_a_table_for_scripts(part: GatewayPart) -> None:
    """``ps`` lists whole ids; a pattern narrows; nothing found is 68."""
    everything = await part.ssh.run("alice", "ps", key=part.key)
    assert (everything.status, len(everything.stdout.splitlines())) == (0, 3)
    one = await part.ssh.run("alice", "ps", "shop", key=part.key)
    assert one.stdout.splitlines()[1].split() == [b"/web/shop", SHOP.encode(), b"agent-1"]
    nothing = await part.ssh.run("alice", "ps", "nothing", key=part.key)
    assert (nothing.status, nothing.stdout) == (68, b"")


async def test_an_empty_user_name_names_nothing(part: GatewayPart) -> None:
    """``ssh -l ''`` is answered like a login without a target."""
    assert b"ssh APP~2@GATEWAY" in (await part.ssh.run("", "help", key=part.key, options=["-l", ""])).stdout
    ended = await part.ssh.run("", "true", key=part.key, options=["-l", ""])
    assert (ended.status, ended.stderr[:26]) == (64, b"octopus: a task is missing")


async def test_help_is_plain_text(part: GatewayPart) -> None:
    """``help`` says how names are written."""
    ended = await part.ssh.run("alice", "help", key=part.key)
    assert ended.status == 0
    assert b"ssh APP~2@GATEWAY" in ended.stdout


@pytest.mark.parametrize("command", [(), ("rm",), ("ps", "a", "b")])
async def test_anything_else_is_one_line(part: GatewayPart, command: tuple[str, ...]) -> None:
    """No target, no terminal, no command that is known: one line and 64."""
    ended = await part.ssh.run("alice", *command, key=part.key)
    assert ended.status == 64
    assert ended.stderr.startswith(b"octopus: a task is missing")


async def test_nothing_to_choose_from(part: GatewayPart) -> None:
    """A person who may enter nothing is told so."""
    part.plane.tasks.clear()
    async with part.ssh.terminal("alice", key=part.key) as terminal:
        await terminal.expect(rb"octopus: nothing is running that you may enter")
        assert await terminal.wait() == 68


async def test_client_that_vanishes_from_the_picker(part: GatewayPart) -> None:
    """Nothing is left of a picker whose client is gone."""
    async with part.ssh.terminal("alice", key=part.key) as terminal:
        await terminal.expect(rb"type to search")
        terminal.vanish()
        await terminal.wait()
    assert part.gateway.sessions() == ()
