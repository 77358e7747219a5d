"""How sessions end: by the container's end, by the client's in every way it can go, by a stopped agent; and what is left then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from octopus.demo.model import Task
from tests.e2e.scene import AGENTS, Scene, launch, on
from tests.e2e.trail import Chapter
from tests.parts.proxy import Proxy, in_front_of
from tests.parts.ssh_client import SshClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

STUBBORN = "trap '' HUP; sleep 4242 & (sleep 4243 &); echo running; wait; sleep 4244"
"""Ignores HUP, and leaves children in the background and beside itself."""


async def test_container_that_ends_names_its_replacement(scene: Scene, record: Chapter) -> None:
    """When the task is killed the person is told in one line, with the task that replaces it where there is one already."""
    first, _ = await launch(scene.cluster, "/web/pair", instances=2, **on(1))
    async with scene.gateway.ssh.terminal(first.id, key=scene.people.alice.key) as terminal:
        await terminal.expect(rb"[#$] ")
        scene.cluster.kill_task(first.id)
        match = await terminal.expect(rb"octopus: the container has ended; its replacement is (\S+) \[s-[0-9a-f]+\]\r\n")
        assert await terminal.wait() == 137
    assert match[1].decode() in {task.id for task in scene.cluster.tasks("/web/pair")} - {first.id}
    end = (await record.session()).end
    assert (end["event"], end["exit_status"], end["container_gone"]) == ("session.ended", 137, True)


async def test_output_before_the_end_is_all_there(scene: Scene, record: Chapter) -> None:
    """A command whose container dies under it keeps what it wrote; its status says that it was killed."""
    [task] = await launch(scene.cluster, "/web/doomed", **on(2))
    command = "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; sleep 1000"
    running = asyncio.create_task(scene.gateway.ssh.run(task.id, command, key=scene.people.alice.key))
    await record.event("session.started")
    await lives(scene, task, "sleep 1000")
    with scene.engine(task).api() as api:
        api.kill(scene.container(task))
    ended = await running
    assert (ended.status, len(ended.stdout.splitlines())) == (137, 500)
    assert ended.stderr.startswith(b"octopus: the container has ended")
    assert (await record.session()).end["container_gone"] is True


async def lives(scene: Scene, task: Task, command: str) -> None:
    """Wait until a command runs in a task's container."""
    async with asyncio.timeout(20):
        while command not in await asyncio.to_thread(scene.engine(task).processes, scene.container(task)):
            pass


@contextlib.asynccontextmanager
async def proxied(scene: Scene) -> AsyncIterator[tuple[Proxy, SshClient]]:
    """Give a client whose connection goes through a proxy that can cut it."""
    async with in_front_of(f"tcp://127.0.0.1:{scene.gateway.port}").serve() as proxy:
        yield proxy, SshClient("127.0.0.1", proxy.port, scene.gateway.directory)


@pytest.mark.parametrize(("how", "tty"), [("killed", "-tt"), ("killed", "-T"), ("cut", "-tt"), ("cut", "-T"), ("tilde-dot", "-tt")])
async def test_client_that_goes_leaves_nothing(scene: Scene, record: Chapter, how: str, tty: str) -> None:
    """Killed, told to hang up, or cut off: what it started, and what that started, is gone from the container."""
    async with proxied(scene) as (proxy, ssh), ssh.terminal("web_front", STUBBORN, key=scene.people.alice.key, options=[tty]) as terminal:
        await terminal.expect(rb"running\r?\n")
        assert {"sleep 4242", "sleep 4243"} <= set(scene.processes("/web/front"))
        match how:
            case "killed":
                terminal.vanish()
            case "tilde-dot":
                terminal.send(b"\r~.")
            case _:
                proxy.cut()
        story = await record.session()
    assert story.end["event"] == "session.failed"
    assert story.names.count("session.failed") == 1
    assert scene.processes("/web/front") == []


async def test_connection_with_several_sessions_killed(scene: Scene, record: Chapter) -> None:
    """A ControlMaster killed under its sessions ends each of them, and leaves nothing of any."""
    control = ["-o", "ControlMaster=auto", "-o", f"ControlPath={scene.gateway.directory}/cm2"]
    key = scene.people.alice.key
    async with scene.gateway.ssh.terminal("web_front", "echo mas''ter; sleep 5001", key=key, options=control) as master:
        await master.expect(rb"master")
        commands = [
            asyncio.create_task(scene.gateway.ssh.run("web_front", f"sleep 500{number}", key=key, options=control)) for number in (2, 3)
        ]
        async with asyncio.timeout(20):
            while len(await asyncio.to_thread(scene.processes, "/web/front")) < 3:
                pass
        master.vanish()
        stories = await record.sessions(3)
        assert {ended.status for ended in await asyncio.gather(*commands)} == {255}
    assert {story.end["event"] for story in stories} == {"session.failed"}
    assert scene.processes("/web/front") == []


async def test_shell_that_exits_leaves_nothing(scene: Scene, record: Chapter) -> None:
    """What a person left in the background is swept when the shell ends by itself, too."""
    async with scene.gateway.ssh.terminal("web_front", key=scene.people.alice.key) as terminal:
        await terminal.expect(rb"[#$] ")
        terminal.send(b"trap '' HUP; sleep 4245 & sleep 4246 & exit\r")
        await terminal.wait()
    assert (await record.session()).end["event"] == "session.ended"
    assert scene.processes("/web/front") == []


async def test_agent_that_leaves(scene: Scene) -> None:
    """An agent that is cut off takes its tasks out of what can be entered: a clear line, and they are back when it is."""
    task = scene.task("/web/back")
    scene.cluster.agent_unreachable(AGENTS[1])
    try:
        async with asyncio.timeout(30):
            while (ended := await scene.gateway.ssh.run(task.id, "true", key=scene.people.alice.key)).status == 0:
                pass
        assert ended.status in (68, 69)
        assert (ended.stderr.startswith(b"octopus: "), ended.stderr.count(b"\n")) == (True, 1)
    finally:
        scene.cluster.agent_return(AGENTS[1])
    await scene.gateway.serves("web_back", key=scene.people.alice.key)


async def test_unreachable_engine_is_one_line(scene: Scene, record: Chapter) -> None:
    """A task on an agent without an engine is 69 in one line; the reason is on the trail and in the log, not on the screen."""
    await scene.cluster.add_agent("agent-9.corp.example", ip="127.0.0.9")
    try:
        await launch(scene.cluster, "/web/nowhere", constraints=[["hostname", "CLUSTER", "agent-9.corp.example"]])
        async with asyncio.timeout(30):
            while (ended := await scene.gateway.ssh.run("web_nowhere", "true", key=scene.people.alice.key)).status == 68:
                pass
        assert ended.status == 69
        assert ended.stderr.startswith(b"octopus: the container engine of agent-9.corp.example does not answer [s-")
        failed = await record.event("session.failed")
        assert "agent-9" in failed["reason"]
    finally:
        await scene.cluster.remove_agent("agent-9.corp.example")


async def test_sessions_outlive_a_full_stop_of_the_cluster(scene: Scene) -> None:
    """With Mesos and Marathon gone a session goes on, and new ones come in from memory."""
    async with scene.gateway.ssh.terminal("web_front", key=scene.people.alice.key) as terminal:
        await terminal.expect(rb"[#$] ")
        await scene.cluster.stop_master(0)
        await scene.cluster.stop_marathon(0)
        try:
            terminal.send(b"echo still he''re\r")
            await terminal.expect(rb"still here")
            for name in ("web_front", "heka@agent-2", scene.task("/logging/logstash").id):
                assert (await scene.gateway.ssh.run(name, "true", key=scene.people.alice.key)).status == 0
            assert (await scene.gateway.ssh.run("no_such_thing", "true", key=scene.people.alice.key)).status == 68
            checked = await scene.gateway.run("check")
            assert (checked.status, checked.stdout.count(b"fault\t") >= 2) == (1, True)
        finally:
            await scene.cluster.start_master(0)
            scene.cluster.fail_over(0)
            await scene.cluster.start_marathon(0)
    await launch(scene.cluster, "/web/afterwards", **on(1))
    await scene.gateway.serves("web_afterwards", key=scene.people.alice.key)
