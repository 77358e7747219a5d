"""An engine that hangs at each step: one line, one status, one log line, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.people import People
from tests.e2e.planes import Planes, becomes, ends, planes
from tests.e2e.scene import IPS, Scene, behind, ldap, over_tls, own_socket
from tests.e2e.trail import Event
from tests.parts.directory import BIND_PASSWORD, Slapd
from tests.parts.proxy import Proxy, in_front_of
from tests.parts.ssh_client import Ended, Terminal

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

AT_ONCE = 4
"""Sessions that meet the hanging engine together: as many as it gets threads."""

STEPS = {
    "version": rb"GET /version ",
    "inspect": rb"GET /v[0-9.]+/containers/[^ ]+/json",
    "exec create": rb"POST /v[0-9.]+/containers/[^ ]+/exec ",
    "start": rb"POST /v[0-9.]+/exec/[^ ]+/start ",
    "exec inspect": rb"GET /v[0-9.]+/exec/[^ ]+/json",
}


@dataclass
class Play:
    """One worker, two engines; ``hanging`` leads to web_front's while ``listening`` is open, the ``witness`` is in at the other."""

    gateway: Planes
    scene: Scene
    key: Path
    hanging: Proxy
    listening: AsyncExitStack
    witness: Terminal

    async def keystrokes_until(self, done: asyncio.Future[Any]) -> int:
        """Type into the session on the other engine, and see it echoed, until then; return how often."""
        count = 0
        while not done.done() or not count:
            self.witness.send(b"key %d\n" % count)
            await self.witness.expect(rb"key %d\r\nkey %d\r\n" % (count, count), timeout=10)
            count += 1
        return count

    async def fail(self, count: int = AT_ONCE) -> int:
        """Have sessions fail on the hanging engine, while the witness types; return how many keys were typed."""
        logged = len(self.log_lines())
        failing = asyncio.gather(*(self.gateway.ssh.run("web_front", "cat", key=self.key) for _ in range(count)))
        typed = await self.keystrokes_until(failing)
        sessions = {one_line(ended) for ended in await failing}
        assert {ended.status for ended in await failing} == {69}
        over = await self.ends(sessions)
        assert [event["event"] for event in over] == ["session.failed"] * count
        await becomes(lambda: self.unavailable(logged), sorted(sessions))
        return typed

    def unavailable(self, since: int) -> list[str]:
        """Return the sessions whose container is told to be unavailable in the log, from a line on."""
        return sorted(line["session"] for line in self.log_lines()[since:] if line.get("kind") == "ContainerUnavailable")

    async def ends(self, sessions: Collection[str]) -> list[Event]:
        """Return the terminal events of these sessions, once each has one."""

        def over(events: Sequence[Event]) -> list[Event] | None:
            found = [event for event in ends(events) if event["session"] in sessions]
            return found if len(found) >= len(sessions) else None

        return await self.gateway.trail.until(over)

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what the gateway logged, line by line: all of it is structured."""
        return [json.loads(line) for line in self.gateway.log.splitlines()]

    def held(self) -> tuple[int, int]:
        """Return the threads and descriptors of the worker."""
        [pid] = self.gateway.workers().values()
        return len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))

    def grown(self, before: tuple[int, int]) -> bool:
        """Tell whether the worker holds more than before but for one engine's threads and connections, kept a minute for the next."""
        threads, descriptors = self.held()
        return threads > before[0] + AT_ONCE or descriptors > before[1] + 2 * AT_ONCE


def started(events: Sequence[Event]) -> list[str]:
    """Return the sessions that run the command of the test below."""
    return [event["session"] for event in events if event["event"] == "exec" and event["command"].startswith("echo begun")]


def one_line(ended: Ended) -> str:
    """Return the session of the one line that was told."""
    found = re.fullmatch(rb"octopus: the container engine of \S+ does not answer \[(s-[0-9a-f]+)\]\n", ended.stderr)
    assert found, ended
    return found[1].decode()


@asynccontextmanager
async def staged(scene: Scene, company: Slapd, people: People, *, tls: bool) -> AsyncIterator[Play]:
    """Give a play; over TLS the proxies see nothing of what passes."""
    async with AsyncExitStack() as stack:
        urls = [engine.address.url.replace("https:", "tcp:") if tls else own_socket(engine).url for engine in scene.engines]
        other = await stack.enter_async_context(in_front_of(urls[1]).serve(IPS[1]))
        listening = await stack.enter_async_context(AsyncExitStack())
        hanging = await listening.enter_async_context(in_front_of(urls[0]).serve(IPS[0], other.port))
        sections: dict[str, Any] = {**ldap(company), **behind(scene.cluster), **(over_tls(scene.engines[0]) if tls else {})}
        limits = {"connect_timeout": "1s", "call_timeout": "2s", "start_timeout": "2s", "exit_timeout": "2s"}
        url = f"{'https' if tls else 'http'}://{{ip}}:{other.port}"
        sections["docker"] = {**sections.get("docker", {}), **limits, "url": url}
        sections["ssh"] = {"workers": 1, "host_keys": str(people.host_keys)}
        files, secrets = {"ldap.secret": BIND_PASSWORD}, {BIND_PASSWORD, *people.secrets}
        gateway = await stack.enter_async_context(planes(sections, files=files, secrets=secrets))
        key = people.alice.key
        await gateway.serves("web_back", key=key)  # not web_front: nothing is known of its engine before the first step
        witness = await stack.enter_async_context(gateway.ssh.terminal("web_back", "echo in; exec cat", key=key, options=["-t"]))
        await witness.expect(rb"in\r\n")
        play = Play(gateway, scene, key, hanging, listening, witness)
        yield play
        hanging.thaw()
        witness.send(b"\x04")
        assert await witness.wait() == 0
        await becomes(lambda: scene.processes("/web/front") + scene.processes("/web/back"), [])


@pytest_asyncio.fixture(loop_scope="session")
async def play(scene: Scene, company: Slapd, people: People) -> AsyncIterator[Play]:
    """Engines over plain HTTP, so that the proxies see each request."""
    async with staged(scene, company, people, tls=False) as running:
        yield running


async def test_an_engine_that_hangs_at_any_call(play: Play) -> None:
    """Each step ends in one line, 69, one log line and one terminal event; keys are echoed elsewhere; nothing is leaked."""
    before = play.held()
    for step, pattern in STEPS.items():
        play.hanging.cut()
        play.hanging.hang_at = re.compile(pattern)
        typed = await play.fail()
        play.hanging.thaw()
        play.hanging.cut()
        assert (await play.gateway.ssh.run("web_front", "echo works", key=play.key)).stdout == b"works\n", step
        print(f"{step}: {AT_ONCE} sessions failed, {typed} keys echoed meanwhile, threads and descriptors {before} -> {play.held()}")
    await becomes(lambda: play.grown(before), False)


async def test_an_engine_nobody_can_connect_to(play: Play) -> None:
    """SYNs that nobody answers end at the connect timeout."""
    async with unanswered(play.hanging, play.listening, IPS[0]):
        typed = await play.fail(2)
    print(f"connect: 2 sessions failed, {typed} keys echoed meanwhile")


async def test_an_engine_that_hangs_in_the_midst(play: Play) -> None:
    """A silent stream is no failure; when its client leaves, the session ends all the same, and once, and is swept when it can be."""
    process = await asyncio.create_subprocess_exec(
        *play.gateway.ssh.command("web_front", "echo begun; exec sleep 1000", key=play.key),
        stdout=asyncio.subprocess.PIPE,
        env=play.gateway.ssh.environment(),
    )
    assert process.stdout is not None
    await process.stdout.readuntil(b"begun\n")
    [session] = await play.gateway.trail.until(lambda events: started(events) or None)
    play.hanging.freeze()
    process.kill()
    await process.communicate()
    ending = asyncio.ensure_future(play.ends({session}))
    typed = await play.keystrokes_until(ending)
    [end] = await ending
    assert (end["event"], end["reason"]) == ("session.failed", "the client is gone")
    play.hanging.thaw()
    print(f"reaping: 1 session, {typed} keys echoed meanwhile")


async def test_an_engine_that_never_shakes_hands(scene: Scene, company: Slapd, people: People) -> None:
    """A TLS handshake without an answer ends at the connect timeout, or the call's."""
    async with staged(scene, company, people, tls=True) as play:
        play.hanging.cut()
        play.hanging.freeze()
        typed = await play.fail(2)
        print(f"handshake: 2 sessions failed, {typed} keys echoed meanwhile")


@asynccontextmanager
async def unanswered(proxy: Proxy, listening: AsyncExitStack, host: str) -> AsyncIterator[None]:
    """Have connections to the proxy's address neither made nor refused, as behind a firewall that drops."""
    port = proxy.port
    await listening.aclose()
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server((host, port), backlog=0))
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((host, port))
        assert full.fileno() >= 0
        yield
    await listening.enter_async_context(proxy.serve(host, port))
