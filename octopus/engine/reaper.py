"""Ends what a session left in its container: the engine itself has no way to end an exec (moby #9098).

A second exec, as the same user, finds the processes by the session's token in their environment and signals them. Sessions
that wait for the same container and user share one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar

import structlog

from octopus.core.docker_frames import FrameDecoder
from octopus.core.errors import BadUpstream, OctopusError
from octopus.engine.containers import ContainerGone
from octopus.engine.engines import Engine
from octopus.engine.hijack import Hijacked
from octopus.engine.limits import deadline
from octopus.engine.quiet import quiet

T = TypeVar("T")

log = structlog.get_logger()

SWEEP = files("octopus.engine").joinpath("sweep.sh").read_text()
STEPS = (("HUP", 0.05), ("TERM", 0.1), ("0", 0.3), ("0", 0.6), ("KILL", 0.0), ("KILL", 0.05), ("KILL", 0.2), ("KILL", 0.5), ("KILL", 0.0))
"""Signals in turn ("0" only counts), each with the seconds to wait before the next; done as soon as nothing is left."""

RETRIES = (2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Seconds between one failed sweep and the next: an engine that hangs mostly comes back."""

SIGNALS = frozenset({"ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2", "TSTP", "CONT"})
MAX_BATCH = 64
MAX_LINE = 64
_TOKEN = re.compile(r"[A-Za-z0-9_-]{8,64}")


@dataclass(frozen=True)
class Place:
    """Where sessions are swept: a container, seen as one user, through a shell that is there."""

    engine: Engine
    container: str
    user: str
    shell: str


class Sweep:
    """A running sweep: counts, and signals, the processes of some sessions."""

    def __init__(self, stream: Hijacked) -> None:
        self._stream = stream
        self._frames = FrameDecoder()
        self._said = b""

    async def send(self, signal: str) -> int:
        """Signal the processes and return how many there were."""
        await self._stream.write(signal.encode() + b"\n")
        while b"\n" not in self._said:
            data = await self._stream.read(MAX_LINE)
            if not data or len(self._said) > MAX_LINE:
                raise BadUpstream("sweep", "no count", self._said)
            self._said += b"".join(out.data for out in self._frames.feed(data) if not out.stderr)
        line, _, self._said = self._said.partition(b"\n")
        if not re.fullmatch(rb"[0-9]{1,9}", line):
            raise BadUpstream("sweep", "not a count", line)
        return int(line)

    async def leave(self) -> None:
        """End it without killing."""
        await self._stream.write(b"EXIT\n")
        while await self._stream.read(MAX_LINE):
            pass


@asynccontextmanager
async def sweeping(place: Place, tokens: list[str]) -> AsyncIterator[Sweep]:
    """Run a sweep for these sessions in the container."""
    config = {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "User": place.user,
        "Cmd": [place.shell, "-c", SWEEP, "octopus-sweep", *tokens],
    }
    exec_id = await place.engine.create(place.container, config)
    async with place.engine.started(exec_id, {"Detach": False, "Tty": False}) as stream:
        yield Sweep(stream)


class Reaper:
    """Ends sessions' processes in the background of whoever asked: a caller that is cancelled does not stop it.

    Where a sweep fails its caller is told so, and it is tried again after each of ``retries`` (seconds).
    """

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        capacity: int = 10_000,
        retries: Sequence[float] = RETRIES,
    ) -> None:
        self._sleep = sleep
        self._capacity = capacity
        self._retries = tuple(retries)
        self._missed: dict[asyncio.Task[None], int] = {}
        self._waiting: dict[Place, dict[str, asyncio.Future[bool]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def end(self, place: Place, token: str, age: float | None = None) -> bool:
        """End every process of the session; False when some may be left. Never raises for the engine's sake.

        ``age`` is how long ago, in seconds, a session began that ended by itself: often nothing is left of it, and ps can tell.
        """
        if not _TOKEN.fullmatch(token):
            raise ValueError("not a session's token")
        return await asyncio.shield(self._own(self._end(place, token, age)))

    async def signal(self, place: Place, token: str, name: str) -> None:
        """Send one signal to every process of the session. Raise ContainerUnavailable."""
        async with deadline(place.engine.agent, "signal", place.engine.limits.reap), sweeping(place, [token]) as sweep:
            await sweep.send(name)
            await sweep.leave()

    async def aclose(self) -> None:
        """Wait for the sweeps under way, each of which has its deadline; give up those that are yet to be tried again."""
        missed = set(self._missed)
        for task in missed:
            task.cancel()
        if missed:
            log.error("sweep.given_up", tokens=sum(self._missed.values()))
            await asyncio.wait(missed)
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name="sweep")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end(self, place: Place, token: str, age: float | None) -> bool:
        if age is not None and await quiet(place.engine.api, place.container, age):
            return True
        if sum(map(len, self._waiting.values())) >= self._capacity:
            log.warning("sweep.refused", container=place.container, token=token)
            return False
        if place not in self._waiting:
            self._waiting[place] = {}
            self._own(self._serve(place, self._waiting[place]))
        result = self._waiting[place].setdefault(token, asyncio.get_running_loop().create_future())
        return await result

    async def _serve(self, place: Place, waiting: dict[str, asyncio.Future[bool]]) -> None:
        while waiting:
            tokens = list(waiting)[:MAX_BATCH]
            done = await self._attempt(place, tokens)
            if not done:
                self._miss(place, tokens)
            for token in tokens:
                result = waiting.pop(token)
                if not result.done():
                    result.set_result(done)
        del self._waiting[place]

    def _miss(self, place: Place, tokens: list[str]) -> None:
        if sum(self._missed.values()) + len(tokens) > self._capacity:
            log.error("sweep.given_up", container=place.container, tokens=len(tokens))
            return
        task = asyncio.get_running_loop().create_task(self._retry(place, tokens), name="sweep again")
        self._missed[task] = len(tokens)
        task.add_done_callback(self._missed.pop)

    async def _retry(self, place: Place, tokens: list[str]) -> None:
        for pause in self._retries:
            await self._sleep(pause)
            if await self._attempt(place, tokens):
                log.info("sweep.done_late", container=place.container, tokens=len(tokens))
                return
        log.error("sweep.given_up", container=place.container, tokens=len(tokens))

    async def _attempt(self, place: Place, tokens: list[str]) -> bool:
        try:
            async with deadline(place.engine.agent, "sweep", place.engine.limits.reap), sweeping(place, tokens) as sweep:
                return await self._insist(sweep)
        except ContainerGone:
            return True
        except OctopusError as error:
            log.warning("sweep.failed", container=place.container, tokens=tokens, error=str(error))
            return False

    async def _insist(self, sweep: Sweep) -> bool:
        for signal, pause in STEPS:
            if not await sweep.send(signal):
                await sweep.leave()
                return True
            await self._sleep(pause)
        return False
