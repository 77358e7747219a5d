"""What 10,000 agents with 100,000 tasks cost, and how it grows from 100 agents: finding, capacity, UNIQUE apps, and sessions meanwhile."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import cache, partial
from pathlib import Path

import httpx
import pytest

from octopus.core.find import find
from octopus.core.types import TargetName
from octopus.demo.engines import free_port
from octopus.fleet.report import coverages, report
from octopus.fleet.seen import Seen
from octopus.fleet.simulation import Question, answer
from octopus.fleet.working import ReportQuestion, reported
from tests.benchmarks.figures import Figure, Table, high, median, memory, ms
from tests.benchmarks.large import HOST, TASKS_PER_AGENT, UNIQUE_APPS, Documents, documents, served, told
from tests.e2e.gateway import Sections
from tests.e2e.people import People
from tests.e2e.scene import APPS, app, cluster, gateway_for, own_socket
from tests.parts.engines import Engine
from tests.parts.ssh_client import Terminal

pytestmark = [pytest.mark.timeout(1200)]

SIZES = (100, 1000, 10_000)
ROUNDS = 5
KEYS = 300
AVOID = "/web/front"


@cache
def made(size: int) -> Documents:
    """Return the documents of so many agents."""
    return asyncio.run(documents(size))


@cache
def seen(size: int) -> Seen:
    """Return the cluster as capacity sees it."""
    return Seen(made(size).cluster())


def grown(table: Table, name: str, goal: str, measured: Sequence[float], how: str) -> None:
    """Add a figure of all sizes: the largest in front, then how it grew."""
    small, *_, large = measured
    row = ", ".join(f"{size}: {ms(each)}" for size, each in zip(SIZES, measured, strict=True))
    table.add(Figure(name=f"scale: {name}", ours=ms(large), theirs=f"{ms(small)} with {SIZES[0]} agents", goal=goal, how=f"{row}; {how}"))


def timed(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median processor seconds of a run: whatever else the machine does counts for nothing."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return statistics.median(found)


def test_pure_figures(table: Table) -> None:
    """Finding a task, headroom, a thousand instances, all UNIQUE apps: from a decoded cluster, in one process."""
    named = {size: next(iter(seen(size).cluster.marathon.tasks)) for size in SIZES}

    def found(size: int) -> object:
        body = named[size]
        return find(seen(size).cluster, TargetName(text=body[:-8], body=body[:-8]), lambda task: True)  # type: ignore[arg-type]

    apps = {size: next(app for app in seen(size).cluster.marathon.apps.values() if app.id not in UNIQUE_APPS) for size in SIZES}

    def headroom(size: int) -> object:
        return answer(seen(size), Question(id=apps[size].id, more=0))

    def thousand(size: int) -> object:
        return answer(seen(size), Question(id=apps[size].id, more=1000))

    def unique(size: int) -> object:
        return coverages(seen(size), 2e9)

    for name, goal, run, how in (
        ("find by the start of an id", "< 1 ms", found, "median of 5"),
        ("see the cluster as offers", "", lambda size: Seen(seen(size).cluster), "once for all questions"),
        ("headroom of one app, and why each agent refuses", "< 0.2 s", headroom, "median of 5"),
        ("simulate -n 1000", "< 2 s", thousand, "median of 5"),
        (f"judge all of {len(UNIQUE_APPS)} UNIQUE apps", "< 1 s", unique, "median of 5; no instance runs yet"),
        ("the whole report", "", lambda size: report(seen(size)), "once, in the child's place"),
    ):
        once = 1 if "once" in how else ROUNDS
        grown(table, name, goal, [timed(partial(run, size), once) for size in SIZES], how)


async def test_a_report_beside_the_loop(table: Table) -> None:
    """How long the event loop of the control plane is held at a time while a report on 10,000 agents is worked out."""
    state = (await documents(SIZES[-1])).cluster()
    waits: list[float] = []

    async def ticking() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            waits.append(time.perf_counter() - began - 0.001)

    ticker = asyncio.create_task(ticking())
    began = time.perf_counter()
    await reported(state, ReportQuestion(now=2e9))
    took = time.perf_counter() - began
    ticker.cancel()
    table.add(
        Figure(
            name="scale: longest wait of the control plane during a report",
            ours=ms(max(waits)),
            goal="a keystroke's round trip",
            how=f"10,000 agents; the report took {took:.1f} s in its process; 99 % of {len(waits)} waits below {ms(high(waits))}",
        )
    )


@pytest.mark.asyncio(loop_scope="session")
async def test_sessions_while_a_state_is_read(people: People, docker_engine: Engine, tmp_path: Path, table: Table) -> None:
    """A keystroke's round trip while the gateway reads 100,000 tasks again and again, beside the same with nothing to read."""
    async with AsyncExitStack() as stack:
        demo = await stack.enter_async_context(cluster([docker_engine], local=True))
        demo.put_app(AVOID, **app(**APPS[AVOID]))
        await demo.running(AVOID, 1)
        rates: dict[str, tuple[list[float], list[float]]] = {}
        pss: dict[str, int] = {}
        for name, size in (("rest", 0), ("large", SIZES[-1])):
            directory = tmp_path / name
            directory.mkdir()
            found = await documents(size, demo) if size else told(demo, 1)
            found.write(directory)
            url = await stack.enter_async_context(served(directory))
            async with AsyncExitStack() as one:
                port = free_port(HOST)
                gateway = await one.enter_async_context(gateway_for(people, sections(url, docker_engine, port)))
                await ready(f"http://{HOST}:{port}", size * TASKS_PER_AGENT)
                await gateway.serves("web_front", key=people.alice.key)
                terminal = await one.enter_async_context(gateway.ssh.terminal("web_front", key=people.alice.key))
                rates[name] = await typed(terminal, f"http://{HOST}:{port}/healthz")
                pss[name] = max(memory([pid]) for pid in gateway.processes)
    (rest, calm), (busy, held) = rates["rest"], rates["large"]
    table.add(
        Figure(
            name="scale: a keystroke while 100,000 tasks are read again and again",
            ours=f"{ms(median(busy))}, 99 %: {ms(high(busy))}",
            theirs=f"{ms(median(rest))}, 99 %: {ms(high(rest))} with one task",
            ratio=median(busy) / median(rest),
            goal="not held up",
            how=f"{KEYS} keys; the control plane's own answer {ms(median(held))}, 99 %: {ms(high(held))}, else {ms(median(calm))}",
        )
    )
    table.add(
        Figure(
            name="scale: memory of the supervisor with 100,000 tasks",
            ours=f"{pss['large'] >> 20} MiB",
            theirs=f"{pss['rest'] >> 20} MiB with one task",
            goal="< 400 MB for the Cluster",
            how="proportional set size of the largest process, after many readings",
        )
    )


def sections(url: str, engine: Engine, port: int) -> Sections:
    """Return a configuration that reads all the time."""
    return {
        "auth.users": {"file": "users.toml"},
        "mesos": {"masters": [url], "poll_interval": "1s"},
        "marathon": {"urls": [url], "poll_interval": "1s"},
        "docker": {"url": own_socket(engine).url},
        "admin": {"listen": f"{HOST}:{port}"},
        "policy": [{"groups": ["platform"], "apps": ["/**"], "allow": ["shell", "exec"]}],
    }


async def ready(url: str, tasks: int) -> None:
    """Wait until the state was read."""
    async with httpx.AsyncClient(timeout=60) as client, asyncio.timeout(600):
        while "octopus_state_complete 1.0" not in (await client.get(f"{url}/metrics")).text:  # noqa: ASYNC110  (another process)
            await asyncio.sleep(0.2)


async def typed(terminal: Terminal, url: str) -> tuple[list[float], list[float]]:
    """Return what each key took to be echoed, and what the control plane took to answer meanwhile."""
    await terminal.expect(rb"[#$] ")
    terminal.send(b"cat\r")
    keys: list[float] = []
    answers: list[float] = []

    async def ask() -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            while True:
                began = time.perf_counter()
                await client.get(url)
                answers.append(time.perf_counter() - began)
                await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    for number in range(KEYS):
        began = time.perf_counter()
        terminal.send(b"%04d" % number)
        await terminal.expect(b"%04d" % number, timeout=60)
        keys.append(time.perf_counter() - began)
        await asyncio.sleep(0.05)
    asking.cancel()
    terminal.send(b"\x03\x04exit\r")
    return keys, answers
