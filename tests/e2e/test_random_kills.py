"""Whatever dies, and whenever: exactly one end for every session, whole recordings, a trail that verifies, nothing left running."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tests.e2e.people import People
from tests.e2e.planes import Planes, becomes, ends, planes
from tests.e2e.scene import AGENTS, IPS, Scene, behind, launch, ldap
from tests.parts.directory import BIND_PASSWORD, Slapd
from tests.parts.proxy import Proxy, in_front_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(3600)]

APPS = ("/crash/one", "/crash/two")
CLIENTS = 6
"""People who come again and again meanwhile."""
COMMANDS = (
    "echo short",
    "seq 1 20000",
    "sleep 0.3; exit 5",
    "while :; do echo tick; sleep 0.05; done",
    "trap '' HUP TERM; (sleep 4245 &); cat",
    "head -c 3000000 /dev/zero",
)
LONGEST = 3.0
"""Seconds after which a client is killed, if nothing else was."""
MOST = 0.5
"""Seconds that a session lives, at most, before something dies."""


class Turmoil:
    """Clients that come and go through a gateway of which something dies all the time."""

    def __init__(self, gateway: Planes, scene: Scene, people: People, engines: list[Proxy], network: Proxy, chance: random.Random) -> None:
        self.killed: Counter[str] = Counter()
        self._gateway = gateway
        self._scene = scene
        self._key = people.alice.key
        self._engines = engines
        self._network = network
        self._chance = chance
        self._clients: set[asyncio.subprocess.Process] = set()
        self._kinds: dict[str, Callable[[], object]] = {
            "worker": self._kill_worker,
            "supervisor": self._kill_supervisor,
            "supervisor and worker": self._kill_both,
            "client": self._kill_client,
            "container": self._kill_container,
            "engine": lambda: self._chance.choice(self._engines).cut(),
            "network": self._network.cut,
        }

    async def rage(self, deaths: int) -> None:
        """Have so many of each kind in turn, at times nobody chose."""
        async with asyncio.TaskGroup() as tasks:
            coming = [tasks.create_task(self._come_and_go()) for _ in range(CLIENTS)]
            for number in range(deaths):
                if number % 4:  # else also while all begins anew
                    await self._under_way()
                await asyncio.sleep(self._chance.uniform(0.0, MOST))
                kind = list(self._kinds)[number % len(self._kinds)]
                await asyncio.to_thread(self._kinds[kind]) if kind == "container" else self._kinds[kind]()
                self.killed[kind] += 1
            for task in coming:
                task.cancel()

    async def _under_way(self) -> None:
        """Wait until one more session has begun; where the gateway has too much to do it dies all the same."""
        since = len(self._gateway.trail.events)
        with contextlib.suppress(AssertionError, TimeoutError):
            async with asyncio.timeout(8):
                await self._gateway.trail.until(lambda events: any(one["event"] == "session.started" for one in events) or None, since)

    async def _come_and_go(self) -> None:
        while True:
            name = self._chance.choice(APPS)[1:].replace("/", "_")
            tty = self._chance.choice(["-tt", "-T"])
            port = self._chance.choice([self._gateway.port, self._network.port])
            argv = self._gateway.ssh.command(name, self._chance.choice(COMMANDS), key=self._key, options=[tty, "-p", str(port)])
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=self._gateway.ssh.environment(),
                start_new_session=True,
            )
            self._clients.add(process)
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._chance.uniform(0.2, LONGEST)):
                        await process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                self._clients.discard(process)

    def _kill_worker(self) -> None:
        workers = list(self._gateway.workers().values())
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._chance.choice(workers or [0x7FFFFFFF]), signal.SIGKILL)

    def _kill_supervisor(self) -> None:
        self._gateway.supervisor.kill()
        self._start_again()

    def _kill_both(self) -> None:
        self._gateway.supervisor.kill()
        self._kill_worker()
        self._start_again()

    def _start_again(self) -> None:
        self._gateway.supervisor.wait()
        self._gateway.start()

    def _kill_client(self) -> None:
        for process in list(self._clients)[:1]:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def _kill_container(self) -> None:
        running = [task for app in APPS for task in self._scene.cluster.tasks(app) if task.state == "TASK_RUNNING"]
        if running:
            task = self._chance.choice(running)
            with contextlib.suppress(Exception), self._scene.engine(task).api() as api:
                api.kill(self._scene.container(task))


@asynccontextmanager
async def turmoil(scene: Scene, company: Slapd, people: People, chance: random.Random) -> AsyncIterator[tuple[Planes, Turmoil]]:
    """Give a gateway of two workers, with its engines and its network behind proxies."""
    address = scene.engines[0].address
    async with AsyncExitStack() as stack:
        port, engines = 0, []
        for engine, ip in zip(scene.engines, IPS, strict=True):
            proxy = await stack.enter_async_context(in_front_of(engine.address.url.replace("https://", "tcp://")).serve(ip, port))
            port = proxy.port
            engines.append(proxy)
        sections: dict[str, Any] = {**ldap(company), **behind(scene.cluster)}
        files = {"tls_ca": address.tls_ca, "tls_cert": address.tls_cert, "tls_key": address.tls_key}
        sections["docker"] = {"url": f"https://{{ip}}:{port}", **files}
        sections["ssh"] = {"workers": 2, "host_keys": str(people.host_keys), "max_unauthenticated_per_address": 200}
        secrets = {BIND_PASSWORD, *people.secrets}
        gateway = await stack.enter_async_context(planes(sections, files={"ldap.secret": BIND_PASSWORD}, secrets=secrets))
        network = await stack.enter_async_context(in_front_of(f"tcp://{gateway.ssh.host}:{gateway.port}").serve())
        yield gateway, Turmoil(gateway, scene, people, engines, network, chance)


async def test_one_end_whatever_dies(scene: Scene, company: Slapd, people: People, request: pytest.FixtureRequest) -> None:
    """Workers, supervisors, clients, containers, engines and networks die at random; ``--kills`` says how many."""
    deaths = int(request.config.getoption("--kills"))
    for number, app in enumerate(APPS, 1):
        await launch(scene.cluster, app, constraints=[["hostname", "CLUSTER", AGENTS[number - 1]]])
    async with turmoil(scene, company, people, random.Random()) as (gateway, around):
        for app in APPS:
            await gateway.serves(app[1:].replace("/", "_"), key=people.alice.key)
        await around.rage(deaths)
        for app in APPS:
            await gateway.serves(app[1:].replace("/", "_"), key=people.alice.key)
        await becomes(gateway.misdeeds, [], within=90)
        await becomes(gateway.half_recordings, [], within=60)
        for app in APPS:
            await becomes(partial(scene.processes, app), [], within=60)
        await gateway.settled()
        outcomes = Counter(event["event"] for event in ends(gateway.trail.events))
        requested = sum(event["event"] == "session.requested" for event in gateway.trail.events)
        print(f"\nkilled {dict(around.killed)}; {requested} sessions, ends {dict(outcomes)}")
        assert outcomes["session.ended"] + outcomes["session.failed"] >= requested
        assert requested > deaths // 4
    for app in APPS:
        scene.cluster.scale(app, 0)
