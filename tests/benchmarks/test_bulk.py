"""Bulk through commands: output and input, beside OpenSSH with ``docker exec``, ``docker exec`` alone and the bare engine API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.benchmarks.figures import Figure, Spent, Table, in_turn, median
from tests.benchmarks.rivals import Container
from tests.e2e.gateway import Gateway
from tests.e2e.people import People
from tests.e2e.scene import APPS, Scene, app, behind, cluster, gateway_for, ldap, own_socket
from tests.parts.directory import Slapd
from tests.parts.engines import Engine
from tests.parts.ssh_client import SshClient

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1200)]

ROUNDS = 5
MIB = 256
APP = "/web/front"
NAME = "web_front"
OUTPUT = f"dd if=/dev/zero bs=1M count={MIB} 2>/dev/null"
INPUT = "cat >/dev/null"


@dataclass(frozen=True)
class Local:
    """A gateway whose engine is on its own machine, as the rivals' is: no TLS on the way to it."""

    gateway: Gateway
    container: Container
    key: Path

    def ssh(self, command: str) -> list[str]:
        """Return the line that runs a command through the gateway."""
        return self.gateway.ssh.command(NAME, command, key=self.key)


@asynccontextmanager
async def local(people: People, company: Slapd, engine: Engine, workers: int) -> AsyncIterator[Local]:
    """Run such a gateway with so many workers."""
    async with cluster([engine], local=True) as demo:
        demo.put_app(APP, **app(**APPS[APP]))
        task = (await demo.running(APP, 1))[0]
        scene = Scene(demo, (engine,), people, gateway=None)  # type: ignore[arg-type]
        url = {"docker": {"url": own_socket(engine).url}}
        async with gateway_for(people, ldap(company), behind(demo), url, {"ssh": {"workers": workers}}) as gateway:
            await gateway.serves(NAME, key=people.alice.key)
            yield Local(gateway, Container(engine, scene.container(task)), people.alice.key)


async def test_exec(people: People, company: Slapd, docker_engine: Engine, tmp_path: Path, table: Table) -> None:
    """What ``ssh task cmd`` moves in a second, each way."""
    async with local(people, company, docker_engine, workers=1) as octopus:
        for way, command in (("output", OUTPUT), ("input", INPUT)):
            with octopus.container.openssh(command) as server:
                openssh = SshClient(server.host, server.port, tmp_path)
                bare = [*octopus.container.docker("-i"), "/bin/sh", "-c", command]
                runs = [octopus.ssh(command), openssh.command(server.user, "x", key=server.key), bare]
                own, *others = (partial(moved, argv, given=way == "input") for argv in runs)
                spent = Spent(octopus.gateway.processes)
                ours, theirs, alone = await in_turn(ROUNDS, partial(spent.during, own), *others)
            how = (
                f"{MIB} MiB, median of {ROUNDS}; {spent.each / MIB * 1024:.2f} s of processor a GiB in all the gateway's processes; "
                f"client and engine alone keep all cores busy for {MIB / spent.rest:.0f} MiB/s"
            )
            for rival, values, goal in (("OpenSSH + docker exec", theirs, "≥ 1.3"), ("docker exec -i", alone, "≥ 0.9")):
                table.add(
                    Figure(
                        name=f"bulk: exec {way}, beside {rival}",
                        ours=speed(ours),
                        theirs=speed(values),
                        ratio=median(values) / median(ours),
                        goal=goal,
                        how=how,
                    )
                )


async def test_two_workers(people: People, company: Slapd, docker_engine: Engine, table: Table) -> None:
    """What four downloads at once take from one worker and from two."""

    async def four(octopus: Local) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(moved(octopus.ssh(OUTPUT), given=False) for _ in range(4)))
        return time.perf_counter() - began

    async with local(people, company, docker_engine, 1) as one, local(people, company, docker_engine, 2) as two:
        single, double = await in_turn(ROUNDS, lambda: four(one), lambda: four(two))
    table.add(
        Figure(
            name="bulk: two workers beside one",
            ours=speed(double, 4),
            theirs=speed(single, 4),
            ratio=median(single) / median(double),
            goal="≥ 1.7 where cores allow: clients and engine need theirs too",
            how=f"4 downloads of {MIB} MiB at once, median of {ROUNDS}",
        )
    )


async def moved(argv: Sequence[str], *, given: bool) -> float:
    """Return the seconds a command takes that is ``given`` MIB, or gives them."""
    pipe = asyncio.subprocess.PIPE if given else asyncio.subprocess.DEVNULL
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=asyncio.subprocess.DEVNULL)
    if process.stdin:
        chunk = bytes(1 << 20)
        for _ in range(MIB):
            process.stdin.write(chunk)
            await process.stdin.drain()
        process.stdin.close()
    assert await process.wait() == 0
    return time.perf_counter() - began


def speed(seconds: Sequence[float], times: int = 1) -> str:
    """Return MiB per second to read."""
    return f"{times * MIB / median(seconds):.0f} MiB/s"
