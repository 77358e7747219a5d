"""Nothing is left behind: some two hundred sessions, ended in every way there is, and not one process of theirs afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.people import People, Person
from tests.e2e.planes import Planes, becomes, ends, planes
from tests.e2e.scene import IPS, POLICY, Scene, behind, ldap
from tests.parts.directory import BIND_PASSWORD, Slapd
from tests.parts.proxy import Proxy, in_front_of
from tests.parts.ssh_client import Ended, SshClient

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

LEAVING: Mapping[str, str] = {
    "nothing": "",
    "background": "sleep 1000 & sleep 1001 &",
    "setsid": "setsid sleep 1000 &",
    "nohup": "(trap '' HUP; exec sleep 1000) </dev/null >/dev/null 2>&1 &",
    "stubborn": "sh -c 'trap \"\" HUP TERM INT; while :; do sleep 1; done' &",
    "daemon": "(setsid sh -c 'trap \"\" HUP; sleep 1000; :' </dev/null >/dev/null 2>&1 &);",
}
"""What a session may leave behind; nohup by hand, since busybox here has none."""

STAYS = "while :; do sleep 1; done"
RULES = (
    {"users": ["alice"], "apps": ["/heka"], "allow": ["exec"], "idle_timeout": "1s"},
    {"users": ["alice"], "apps": ["/logging/logstash"], "allow": ["exec"], "keep_background": True},
    *POLICY,
)
APPS = {"/web/front": 1, "/web/back": 1, "/ops/tool": 1, "/ops/app-user": 1, "/heka": 2, "/logging/logstash": 3}


@dataclass
class Client:
    """An ssh whose command has said that it is ready."""

    process: asyncio.subprocess.Process

    @classmethod
    async def start(cls, ssh: SshClient, target: str, command: str, *, person: Person, pty: bool) -> Client:
        """Start it, and wait for its command."""
        process = await asyncio.create_subprocess_exec(
            *ssh.command(target, command, key=person.key, options=["-tt"] if pty else []),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=ssh.environment(),
            start_new_session=True,
        )
        client = cls(process)
        assert process.stdout is not None
        try:
            await asyncio.wait_for(process.stdout.readuntil(b"ready"), 60)
        except (asyncio.IncompleteReadError, TimeoutError):
            raise AssertionError(f"{target}: {command}: {await client.ended()}") from None
        return client

    def type(self, text: bytes) -> None:
        """Type on its terminal."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)

    def end_of_input(self) -> None:
        """Close its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def ended(self) -> Ended:
        """Return how it ended; a client that does not by itself is killed."""
        try:
            stdout, stderr = await asyncio.wait_for(self.process.communicate(), 60)
        except TimeoutError:
            self.process.kill()
            stdout, stderr = await self.process.communicate()
            raise AssertionError(f"a client did not end: {stdout!r} {stderr!r}") from None
        return Ended(status=self.process.returncode or 0, stdout=stdout, stderr=stderr)


Place = tuple[str, Person]
End = Callable[[Sequence[Client]], None]


@dataclass
class Play:
    """A gateway on two engines that can be cut off; ``network`` leads to it and can be cut too."""

    gateway: Planes
    scene: Scene
    people: People
    engines: Sequence[Proxy]
    network: Proxy
    sessions: int = 0

    @property
    def places(self) -> Iterator[tuple[Place, Place]]:
        """Return, again and again, where to enter as root and as somebody else."""
        alice, bob = self.people.alice, self.people.bob
        while True:
            yield ("web_front", alice), ("ops_tool", bob)
            yield ("web_back", alice), ("ops_app-user", alice)

    async def end_all(self, way: str, end: End, *, stay: str = STAYS, ptys: Sequence[bool] = (False, True), port: int = 0) -> list[Ended]:
        """Run a session for everything that may be left, as root and another user; end all of them in one way.

        Wait until each has its terminal event and no process of theirs is left; return how the clients ended.
        """
        return await self.run(
            way,
            end,
            [
                (place, f"{left} echo ready; {stay}", pty)
                for left, places in zip(LEAVING.values(), self.places, strict=False)
                for place in places
                for pty in ptys
            ],
            port=port,
        )

    async def run(self, way: str, end: End, sessions: Sequence[tuple[Place, str, bool]], *, port: int = 0) -> list[Ended]:
        """Run these sessions and end them; see ``end_all``."""
        ssh = SshClient(self.gateway.ssh.host, port or self.gateway.port, self.gateway.directory)
        since = len(self.gateway.trail.events)
        started = [Client.start(ssh, target, command, person=person, pty=pty) for (target, person), command, pty in sessions]
        clients = await asyncio.gather(*started)
        end(clients)
        ended = await asyncio.gather(*(client.ended() for client in clients))
        self.sessions += len(clients)
        over = await self.gateway.trail.until(lambda events: found if len(found := ends(events)) >= len(clients) else None, since)
        assert len({event["session"] for event in over}) == len(over) == len(clients), way
        await becomes(partial(self.left, *APPS), [])
        assert self.gateway.half_recordings() == []
        print(f"{way}: {len(clients)} sessions, {len(over)} terminal events, 0 processes left")
        return list(ended)

    def left(self, *apps: str) -> list[str]:
        """Return what runs in the containers beyond their own, and what bears a session's mark."""
        found = []
        for app in apps:
            for number in range(1, APPS[app] + 1):
                found += self.scene.processes(app, number)
                found += self._marked(app, number)
        return found

    def _marked(self, app: str, number: int) -> list[str]:
        task = self.scene.task(app, number)
        search = "grep -lz ^OCTOPUS_SESSION= /proc/[0-9]*/environ 2>/dev/null; true"
        _, said = self.scene.engine(task).run(self.scene.container(task), "sh", "-c", search, user="0")
        return said.decode().split()


@pytest_asyncio.fixture(loop_scope="session")
async def play(scene: Scene, company: Slapd, people: People) -> AsyncIterator[Play]:
    """A gateway of two workers, its engines and its network within reach of scissors."""
    async with AsyncExitStack() as stack:
        port, engines = 0, []
        for engine, ip in zip(scene.engines, IPS, strict=True):
            proxy = in_front_of(engine.address.url.replace("https://", "tcp://"))
            await stack.enter_async_context(proxy.serve(ip, port))
            port = proxy.port
            engines.append(proxy)
        gateway = await stack.enter_async_context(_gateway(scene, company, people, port))
        network = await stack.enter_async_context(in_front_of(f"tcp://{gateway.ssh.host}:{gateway.port}").serve())
        yield Play(gateway, scene, people, engines, network)


@asynccontextmanager
async def _gateway(scene: Scene, company: Slapd, people: People, port: int) -> AsyncIterator[Planes]:
    address = scene.engines[0].address
    sections: dict[str, Any] = {**ldap(company), **behind(scene.cluster), "policy": RULES}
    sections["docker"] = {
        "url": f"https://{{ip}}:{port}",
        "tls_ca": address.tls_ca,
        "tls_cert": address.tls_cert,
        "tls_key": address.tls_key,
    }
    sections["ssh"] = {"workers": 2, "host_keys": str(people.host_keys), "max_unauthenticated_per_address": 100}
    secrets = {BIND_PASSWORD, *people.secrets}
    async with planes(sections, files={"ldap.secret": BIND_PASSWORD}, secrets=secrets) as running:
        for name in ("web_front", "web_back"):
            await running.serves(name, key=people.alice.key)
        await running.settled()
        yield running


def each(act: Callable[[Client], None]) -> End:
    """Return what does the same to every client."""

    def end(clients: Sequence[Client]) -> None:
        for client in clients:
            act(client)

    return end


async def test_of_sessions_ended_in_every_way_nothing_is_left(play: Play) -> None:
    """By the command, the client, its user, the network, the engine, the gateway or a worker's death: 0 processes, one end each."""

    exited = await play.end_all("exit", each(lambda client: None), stay="exit 3")
    assert {ended.status for ended in exited} == {3}
    await play.end_all("end of input", each(Client.end_of_input), stay="cat", ptys=[False])
    await play.end_all("^D", each(lambda client: client.type(b"\x04")), stay="cat", ptys=[True])
    await play.end_all("^C", each(lambda client: client.type(b"\x03")), stay="sleep 1000", ptys=[True])
    await play.end_all("~.", each(lambda client: client.type(b"\r~.")), ptys=[True])
    await play.end_all("client killed", each(lambda client: client.process.kill()))
    await play.end_all("client terminated", each(lambda client: client.process.terminate()))
    await play.end_all("connection reset", lambda _: play.network.cut(), port=play.network.port)
    await play.end_all("connection closed", lambda _: play.network.close(), port=play.network.port)

    alice = play.people.alice
    idle = [((f"heka~{1 + pty}", alice), f"{left} echo ready; cat", bool(pty)) for left in LEAVING.values() for pty in (0, 1)]
    for ended in await play.run("idle", each(lambda client: None), idle):
        assert (ended.status, b"idle for" in ended.stderr + ended.stdout) == (129, True)

    def cut(_: object) -> None:
        for engine in play.engines:
            engine.cut()

    for ended in await play.end_all("engine cut off", cut):
        assert (ended.status, (ended.stderr + ended.stdout).count(b"octopus: ")) == (69, 1)

    def lose(_: object) -> None:
        for pid in play.gateway.workers().values():
            os.kill(pid, signal.SIGKILL)

    await play.end_all("workers killed", lose)
    told = await play.end_all("gateway stopped", lambda _: play.gateway.supervisor.send_signal(signal.SIGINT), ptys=[False])
    assert {(ended.status, ended.stderr.count(b"octopus: ")) for ended in told} == {(129, 1)}
    print(f"in all {play.sessions} sessions, {len(ends(play.gateway.trail.events))} terminal events on the trail, 0 processes left")
    assert play.sessions >= 200


async def test_a_rule_may_keep_background_jobs(play: Play) -> None:
    """Where the rule says so, a job that ignores HUP outlives its session, also one whose client was killed."""
    ssh, task, since = play.gateway.ssh, play.scene.task("/logging/logstash"), len(play.gateway.trail.events)
    clients = [
        await Client.start(
            ssh,
            task.id,
            f"(trap '' HUP; exec sleep {seconds}) </dev/null >/dev/null 2>&1 & echo ready; {stay}",
            person=play.people.alice,
            pty=False,
        )
        for seconds, stay in ((4001, "exit 0"), (4002, STAYS))
    ]
    clients[1].process.kill()
    for client in clients:
        await client.ended()
    await play.gateway.trail.until(lambda events: True if len(ends(events)) >= 2 else None, since)
    container = play.scene.container(task)
    jobs = play.scene.engine(task).processes(container)
    assert [job for job in ("sleep 4001", "sleep 4002") if job in jobs] == ["sleep 4001", "sleep 4002"], jobs
    play.scene.engine(task).run(container, "sh", "-c", "killall sleep")
