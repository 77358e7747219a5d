"""Logs of tasks through the whole of octopus: the rule, the trail, and an engine over TLS."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.scene import Scene
from tests.e2e.trail import Chapter

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAYS = "echo hello >/proc/1/fd/1; echo trouble >/proc/1/fd/2"
SUBSYSTEM = ("-s",)


async def test_who_may_reads_and_follows_the_log_of_a_task(scene: Scene, record: Chapter) -> None:
    """What the task wrote, each stream apart, and what it writes next; the trail says who looked, at what, and how much there was."""
    task, alice = scene.task("/web/front"), scene.people.alice.key
    engine, container = scene.engine(task), scene.container(task)
    assert engine.run(container, "/bin/sh", "-c", SAYS) == (0, b"")
    with engine.api() as api:
        while b"hello" not in (logged := api.logs(container)) or b"trouble" not in logged:
            pass
    ended = await scene.gateway.ssh.run("web_front", "logs", "-n", "10", key=alice, options=SUBSYSTEM)
    assert (ended.status, ended.stdout, ended.stderr) == (0, b"hello\n", b"trouble\n")
    async with scene.gateway.ssh.terminal("web_front", "logs", "-f", key=alice, options=["-tt", *SUBSYSTEM]) as terminal:
        await terminal.expect(rb"hello\r\n")
        assert await asyncio.to_thread(engine.run, container, "/bin/sh", "-c", "echo later >/proc/1/fd/1") == (0, b"")
        await terminal.expect(rb"later\r\n")
        terminal.send(b"\x03")
        assert await terminal.wait() == 130
    read, followed = await record.sessions(2)
    assert read.names == followed.names == ["session.requested", "session.started", "session.ended"]
    assert (read.events[0]["kind"], read.events[0]["command"]) == ("logs", "logs -n 10")
    assert (read.end["exit_status"], read.end["bytes_out"]) == (0, 14)
    assert (followed.events[0]["command"], followed.end["exit_status"]) == ("logs -f", 130)


async def test_a_rule_that_does_not_name_logs_allows_none(scene: Scene, record: Chapter) -> None:
    """bob may run commands in /web, and read no log."""
    ended = await scene.gateway.ssh.run("web_front", "logs", key=scene.people.bob.key, options=SUBSYSTEM)
    assert (ended.status, ended.stdout) == (77, b"")
    assert (await record.session()).names == ["session.denied"]
