"""Masters, Marathons and agents that go and come back while people are in and others come: nobody notices who need not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from octopus.demo.cluster import DemoCluster
from tests.e2e.gateway import Gateway, Sections
from tests.e2e.scene import AGENTS, Scene, behind, cluster, gateway_for, launch, on, own_socket
from tests.parts.ssh_client import Terminal

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

USERS: Sections = {"auth.users": {"file": "users.toml"}}
ANYTHING = {"users": ["alice"], "apps": ["**"], "allow": ["shell", "exec"]}


@asynccontextmanager
async def before(scene: Scene, demo: DemoCluster) -> AsyncIterator[Gateway]:
    """Run a gateway before a cluster on the first engine."""
    local: Sections = {"docker": {"url": own_socket(scene.engines[0]).url}, "policy": [ANYTHING]}
    async with gateway_for(scene.people, USERS, behind(demo), local) as running:
        yield running


async def answers(terminal: Terminal, word: str) -> None:
    """Have cat in a terminal say a word."""
    terminal.send(f"{word}\n".encode())
    for _ in ("the terminal's echo", "cat's"):
        await terminal.expect(rf"{word}\r\n".encode())


async def test_leaders_change_while_people_come_and_are_in(scene: Scene) -> None:
    """Nobody leads, another does, agents come back one by one, servers die: each login is served, and who is in types on."""
    key = scene.people.alice.key
    async with cluster(scene.engines[:1] * 2, local=True, masters=2, marathons=2, name="leaders") as demo:
        await launch(demo, "/leaders/one", **on(1))
        await launch(demo, "/leaders/two", **on(2))
        async with before(scene, demo) as running:
            for name in ("leaders_one", "leaders_two"):
                await running.serves(name, key=key)
            steps: dict[str, Callable[[], Awaitable[None] | None]] = {
                "no master leads": lambda: demo.fail_over(None),
                "another does, without agents": lambda: demo.fail_over(1, reregister=False),
                "one agent is back": lambda: demo.reregister(AGENTS[0]),
                "both are": lambda: demo.reregister(AGENTS[1]),
                "no Marathon leads": lambda: demo.lead_marathon(None),
                "another does": lambda: demo.lead_marathon(1),
                "a master dies": lambda: demo.stop_master(0),
                "a Marathon dies": lambda: demo.stop_marathon(0),
                "the leading Marathon too": lambda: demo.stop_marathon(1),
                "the leading master too": lambda: demo.stop_master(1),
            }
            async with running.ssh.terminal("leaders_two", "exec cat", key=key, options=["-t"]) as terminal:
                await answers(terminal, "begin")
                for step, do in steps.items():
                    logins = [asyncio.create_task(running.ssh.run(name, "echo in", key=key)) for name in ("leaders_one", "leaders_two")]
                    done = do()
                    if done is not None:
                        await done
                    logins += [asyncio.create_task(running.ssh.run(name, "echo in", key=key)) for name in ("leaders_one", "leaders_two")]
                    await answers(terminal, step.replace(" ", "-").replace(",", ""))
                    for login in await asyncio.gather(*logins):
                        assert (login.status, login.stdout, login.stderr) == (0, b"in\n", b""), step
                for number in range(2):
                    await demo.start_master(number)
                    await demo.start_marathon(number)
                demo.fail_over(0)
                await launch(demo, "/leaders/later", **on(1))
                await running.serves("leaders_later", key=key)
                await answers(terminal, "end")
                terminal.send(b"\x04")
                assert await terminal.wait() == 0


@pytest.mark.parametrize(("marathon", "replaced"), [("1.5.0", False), ("1.8.222", True)])
async def test_an_agent_is_cut_off_and_comes_back(scene: Scene, marathon: str, replaced: bool) -> None:
    """Who is in a container of it stays, and nobody else is let in meanwhile. Back, it is entered again; or, where Marathon has put
    another task in its place, its container ends and whoever is in it is told of that task."""
    key = scene.people.alice.key
    async with cluster(scene.engines[:1] * 2, local=True, marathon_version=marathon, name="cut") as demo:
        [task] = await launch(demo, "/cut/app", **on(2))
        async with before(scene, demo) as running:
            await running.serves(task.id, key=key)
            chapter = running.trail.from_now()
            async with running.ssh.terminal(task.id, "exec cat", key=key, options=["-t"]) as terminal:
                await answers(terminal, "before")
                demo.agent_unreachable(AGENTS[1])
                async with asyncio.timeout(60):
                    while (ended := await running.ssh.run(task.id, "true", key=key)).status == 0:
                        pass
                assert (ended.status, b"no running task matches" in ended.stderr) == (68, True)
                await answers(terminal, "during")
                demo.agent_return(AGENTS[1])
                if replaced:
                    [other] = await demo.running("/cut/app", 1)
                    await terminal.expect(
                        rb"octopus: the container has ended; its replacement is " + re.escape(other.id.encode()) + rb" \[s-"
                    )
                    assert await terminal.wait() == 137
                    await running.serves("cut_app", key=key)
                else:
                    await running.serves(task.id, key=key)
                    await answers(terminal, "after")
                    terminal.send(b"\x04")
                    assert await terminal.wait() == 0
            inside = await chapter.event("session.requested", pty=True)
            end = await chapter.event("session.ended", session=inside["session"])
            assert (end["container_gone"], end["target"]["task"]) == (replaced, task.id)
