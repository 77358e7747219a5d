"""Fakes of the ports, in memory: each passes the contract of its port, and can be asked what was done to it."""

from __future__ import annotations

import asyncio
import signal as signals
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from octopus.core.errors import ContainerUnavailable, InvalidRequest
from octopus.core.ports import ExecStream
from octopus.core.short_way import Take
from octopus.core.types import ExecSpec, Exit, Output, Target, TermSize


class FakeExecStream:
    """An exec whose command is a coroutine: it reads ``stdin``, says things, and returns its status.

    ``written``, ``sizes`` and ``signals`` tell what the caller did; ``eof`` that it half-closed.
    """

    def __init__(self, spec: ExecSpec, container: str, program: Program, capacity: int = 16) -> None:
        self.spec = spec
        self.container = container
        self.written = bytearray()
        self.sizes = [spec.pty.size] if spec.pty else []
        self.signals: list[str] = []
        self.eof = asyncio.Event()
        self.resized = asyncio.Event()
        self._input: asyncio.Queue[bytes] = asyncio.Queue(capacity)
        self._output: asyncio.Queue[Output | None] = asyncio.Queue()
        self._take: Take | None = None
        self._reading = False
        self._room = asyncio.Semaphore(capacity)
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._task = asyncio.get_running_loop().create_task(self._run(program))

    async def output(self) -> AsyncIterator[Output]:
        """Yield what the program says, to its end."""
        while output := await self._next():
            self._room.release()
            yield output

    def offer(self, take: Take) -> None:
        """Offer what the program says."""
        self._take = take

    def write_now(self, data: bytes) -> bool:
        """Give the program input, unless much is waiting."""
        if self._input.full():
            return False
        self.written += data
        self._input.put_nowait(data)
        return True

    async def write(self, data: bytes) -> None:
        """Give the program input."""
        self.written += data
        await self._input.put(data)

    async def write_eof(self) -> None:
        """End the program's input."""
        if not self.eof.is_set():
            self.eof.set()
            await self._input.put(b"")

    async def resize(self, size: TermSize) -> None:
        """Keep the size."""
        self.sizes.append(size)
        self.resized.set()

    async def signal(self, name: str) -> None:
        """End the program by that signal."""
        number = getattr(signals, f"SIG{name}", None)
        if not isinstance(number, signals.Signals):
            raise InvalidRequest(f"no signal {name!r}")
        self.signals.append(name)
        self.end(Exit(status=128 + number))

    async def wait(self) -> Exit:
        """Return how it ended."""
        return await asyncio.shield(self._exit)

    async def read(self) -> bytes:
        """For the program: the next input, b"" at its end."""
        return await self._input.get()

    async def say(self, data: bytes, *, stderr: bool = False) -> None:
        """For the program: write; waits while the caller is slow."""
        if self._take and not stderr and self._reading and self._output.empty() and self._take(data):
            return
        await self._room.acquire()
        self._output.put_nowait(Output(data=data, stderr=stderr))

    def end(self, exit: Exit) -> None:
        """End the program now, with this exit."""
        if not self._exit.done():
            self._exit.set_result(exit)
        self._task.cancel()

    async def aclose(self) -> None:
        """End the program as leaving the context does."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _next(self) -> Output | None:
        self._reading = True
        try:
            return await self._output.get()
        finally:
            self._reading = False

    async def _run(self, program: Program) -> None:
        try:
            exit = await program(self)
            if not self._exit.done():
                self._exit.set_result(exit)
        finally:
            self._output.put_nowait(None)


Program = Callable[[FakeExecStream], Awaitable[Exit]]


async def echo(stream: FakeExecStream) -> Exit:
    """A program like ``cat``."""
    while data := await stream.read():
        await stream.say(data)
    return Exit(status=0)


class FakeBackend:
    """An ExecBackend whose containers run ``programs`` by command (None is the login shell; default: ``echo``).

    ``streams`` holds every exec started, ``reaped`` the tokens of those left; ``failure`` is raised by the next starts.
    """

    def __init__(self, programs: Mapping[str | None, Program] | None = None, *, container: str = "c0ffee") -> None:
        self.programs = dict(programs or {})
        self.container = container
        self.streams: list[FakeExecStream] = []
        self.reaped: list[str] = []
        self.failure: Exception | None = None
        self.gone = False
        self.closed = False

    @asynccontextmanager
    async def start(self, target: Target, spec: ExecSpec) -> AsyncIterator[ExecStream]:
        """Run the program of the command."""
        if self.failure is not None:
            raise self.failure
        if self.gone:
            raise ContainerUnavailable(f"{target.agent}: gone", notice="the container is gone")
        stream = FakeExecStream(spec, self.container, self.programs.get(spec.command, echo))
        self.streams.append(stream)
        try:
            yield stream
        finally:
            await stream.aclose()
            self.reaped.append(spec.token)

    async def reap(self, target: Target, spec: ExecSpec) -> bool:
        """Remember the token."""
        self.reaped.append(spec.token)
        return True

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def end_container(self) -> None:
        """Let the container end, with all that runs in it; callable from any thread."""
        self.gone = True
        for stream in self.streams:
            stream._task.get_loop().call_soon_threadsafe(stream.end, Exit(status=137, container_gone=True))
