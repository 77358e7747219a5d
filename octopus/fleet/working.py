"""Figures worked out in a process of their own, so that a large cluster holds up nobody.

In the event loop a report on 10,000 agents would stop every answer of the control plane for seconds, and in a thread it would take
turns with it. The state goes to the child in parts of PART entries, about 1 ms each; the child runs at a lower priority than
sessions, and is ended when it takes too long.
"""

from __future__ import annotations

import asyncio
import contextlib
import os.path
import sys
from collections.abc import AsyncIterator
from itertools import islice
from typing import TypeVar

import msgspec

import octopus
from octopus.core.errors import InvalidDocument, NoSuchTarget, OrchestratorUnavailable
from octopus.core.groups import ours
from octopus.core.inventory import Agent, MarathonTask, Task
from octopus.core.placement_app import App
from octopus.fleet.report import Report
from octopus.fleet.seen import Moment, State
from octopus.fleet.simulation import Question, Simulation

PART = 1000
"""Entries in a part."""

MAX_ANSWER = 256 * 1024 * 1024
"""Bytes of an answer."""

TIMEOUT = 120.0
"""Seconds for one question."""

NICENESS = 10
STALE = "incomplete: Mesos or Marathon does not answer now; this is of when it did"


class ReportQuestion(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """Ask for a Report at a moment (seconds since 1970); ``named`` are globs over the apps whose own headroom is wanted."""

    now: float
    named: tuple[str, ...] = ()


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a moment on its way to the child; the first is the head, the last holds the question."""

    head: Moment | None = None
    agents: list[Agent] = []
    tasks: list[Task] = []
    apps: list[App] = []
    told: dict[str, MarathonTask] = {}
    question: Question | ReportQuestion | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the child found, or what is wrong with the question: faults of a document, or a notice that there is no such app."""

    report: Report | None = None
    simulation: Simulation | None = None
    faults: tuple[tuple[str, str], ...] = ()
    missing: str = ""


async def reported(state: State, question: ReportQuestion, *, patience: float = TIMEOUT) -> Report:
    """Return how full the cluster is. Raise OrchestratorUnavailable when it cannot be worked out."""
    answer = await _ask(state, question, patience)
    return _had(answer.report)


async def simulated(state: State, question: Question, *, sound: bool = True, patience: float = TIMEOUT) -> Simulation:
    """Return what becomes of what is asked; unless the state is ``sound`` the answer says that it is not complete.

    Raise InvalidDocument, NoSuchTarget, OrchestratorUnavailable.
    """
    answer = await _ask(state, question, patience)
    if answer.faults:
        raise InvalidDocument(answer.faults)
    if answer.missing:
        raise NoSuchTarget(notice=answer.missing)
    found = _had(answer.simulation)
    if sound or not found.complete:
        return found
    return msgspec.structs.replace(found, complete=False, notes=(STALE, *found.notes))


Found = TypeVar("Found")


def _had(found: Found | None) -> Found:
    if found is None:
        raise OrchestratorUnavailable("the process that works out figures gave none")
    return found


async def _ask(state: State, question: Question | ReportQuestion, patience: float) -> Answer:
    try:
        async with asyncio.timeout(patience), _child() as child:
            return await _exchange(child, state, question)
    except TimeoutError as error:
        raise OrchestratorUnavailable(f"figures could not be worked out within {patience:g} s") from error
    except OSError as error:
        raise OrchestratorUnavailable(f"figures cannot be worked out: {error}") from error


async def _exchange(child: asyncio.subprocess.Process, state: State, question: Question | ReportQuestion) -> Answer:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_tell(child, state, question))
            answer = group.create_task(_hear(child))
        return answer.result()
    except ExceptionGroup as group:
        raise ours(group) from None


@contextlib.asynccontextmanager
async def _child() -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "octopus.fleet.working_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": os.path.dirname(os.path.dirname(octopus.__file__))},
        cwd="/",
    )
    try:
        yield child
        await child.wait()  # it has said all: a kill that meets its end would have asyncio warn of an unknown process
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


async def _tell(child: asyncio.subprocess.Process, state: State, question: Question | ReportQuestion) -> None:
    if child.stdin is None:
        raise OrchestratorUnavailable("the process that works out figures has no input")
    encoder = msgspec.msgpack.Encoder()
    try:
        async for part in _parts(state, question):
            data = encoder.encode(part)
            child.stdin.write(len(data).to_bytes(4, "big") + data)
            await child.stdin.drain()
            await asyncio.sleep(0)
        child.stdin.close()
        await child.stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError) as error:
        raise OrchestratorUnavailable("the process that works out figures died") from error


async def _parts(state: State, question: Question | ReportQuestion) -> AsyncIterator[Part]:
    """Yield the state in parts. It may change meanwhile: each entry is true of the moment at which it is taken."""
    marathon, awaited = state.marathon, set(state.awaited)
    agents, tasks = iter(list(state.agents.values())), iter(state.tasks)
    apps, told = iter(marathon.apps.values()), iter(marathon.tasks.items())
    while some := list(islice(agents, PART)):
        yield Part(agents=some)
    while some_tasks := list(islice(tasks, PART)):
        yield Part(tasks=some_tasks)
    while some_apps := list(islice(apps, PART)):
        yield Part(apps=some_apps)
    while some_told := dict(islice(told, PART)):
        yield Part(told=some_told)
    # Last, so that a failover that began meanwhile is seen.
    awaited |= set(state.awaited)
    head = Moment(
        marathon=msgspec.structs.replace(marathon, tasks={}, apps={}, labels={}),
        awaited=tuple(sorted(awaited)),
        unattributed=state.unattributed,
        region=state.region,
    )
    yield Part(head=head, question=question)


async def _hear(child: asyncio.subprocess.Process) -> Answer:
    if child.stdout is None:
        raise OrchestratorUnavailable("the process that works out figures has no output")
    pieces: list[bytes] = []
    size = 0
    while piece := await child.stdout.read(1 << 20):
        size += len(piece)
        if size > MAX_ANSWER:
            raise OrchestratorUnavailable(f"figures of more than {MAX_ANSWER} bytes")
        pieces.append(piece)
    try:
        return await asyncio.to_thread(msgspec.msgpack.decode, b"".join(pieces), type=Answer)
    except msgspec.DecodeError as error:
        raise OrchestratorUnavailable("the process that works out figures died") from error
