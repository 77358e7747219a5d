"""A command running in a container of a Docker engine, as an ExecStream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from octopus.core.docker_frames import FrameDecoder
from octopus.core.errors import ContainerUnavailable, InvalidRequest, OctopusError
from octopus.core.short_way import Take
from octopus.core.types import Exit, Output, TermSize
from octopus.engine.containers import ContainerGone, inspect
from octopus.engine.engines import Engine
from octopus.engine.hijack import Hijacked
from octopus.engine.limits import faults, unavailable
from octopus.engine.reaper import SIGNALS, Place, Reaper
from octopus.engine.wire import Container

VEOF = b"\x04"
LINE_END = b"\r\n\x04"
SIGNAL_CHARS = {"INT": b"\x03", "QUIT": b"\x1c", "TSTP": b"\x1a"}
_KILLED = 137
_SECOND_RESIZE = 0.1
_POLL = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_GONE_POLL = (0.0, 0.05, 0.1, 0.2)


class DockerExecStream:
    """One exec. ``place`` is where its processes can be signalled, None without a shell; ``size`` is set for a terminal."""

    def __init__(
        self,
        engine: Engine,
        container: Container,
        exec_id: str,
        stream: Hijacked,
        *,
        token: str,
        size: TermSize | None,
        place: Place | None,
        reaper: Reaper,
    ) -> None:
        self.container = container.id
        self.complete = False  # the output came to its end
        self.container_gone = False
        self._engine = engine
        self._inspected = container
        self._exec_id = exec_id
        self._stream = stream
        self._token = token
        self._tty = size is not None
        self._place = place
        self._reaper = reaper
        self._ended = asyncio.Event()
        self._failure: ContainerUnavailable | None = None
        self._last = b"\n"
        self._size = size
        self._resized = asyncio.Event()

    async def output(self) -> AsyncIterator[Output]:
        """Yield output as it comes; nothing is read from the engine while the caller is busy. Raise ContainerUnavailable."""
        frames = None if self._tty else FrameDecoder()
        try:
            with self._failing():
                while data := await self._stream.read(self._engine.limits.read):
                    for output in frames.feed(data) if frames else (Output(data=data),):
                        yield output
                if frames:
                    frames.finish()
                self.complete = True
        finally:
            self._ended.set()

    def offer(self, take: Take) -> None:
        """Offer a terminal's output first; what comes without one has frames to be taken off."""
        if self._tty:
            self._stream.offer(take)

    def write_now(self, data: bytes) -> bool:
        """Send input that need not wait."""
        try:
            sent = self._stream.write_now(data)
        except OSError:
            return False
        if sent:
            self._last = data[-1:]
        return sent

    async def write(self, data: bytes) -> None:
        """Send input; input for a command that has ended is dropped, as a pipe nobody reads from is not our fault."""
        if data:
            self._last = data[-1:]
            with contextlib.suppress(OSError):
                await self._stream.write(data)

    async def write_eof(self) -> None:
        """Half-close. With a terminal that would cut the output: there VEOF, twice when it only flushes a started line."""
        with contextlib.suppress(OSError):
            if self._tty:
                await self._stream.write(VEOF if self._last in LINE_END else VEOF * 2)
            else:
                await self._stream.write_eof()

    async def resize(self, size: TermSize) -> None:
        """Set the terminal's size, soon; the latest of a storm wins."""
        self._size = size
        self._resized.set()

    async def signal(self, name: str) -> None:
        """Deliver a signal: a terminal's own by its control character, all others to each process. Raise InvalidRequest."""
        if name not in SIGNALS:
            raise InvalidRequest(f"no signal {name!r}", notice="that signal is not known")
        if self._tty and name in SIGNAL_CHARS:
            await self.write(SIGNAL_CHARS[name])
        elif self._place is None:
            raise InvalidRequest(f"no shell in {self.container} to signal from", notice="this container has no shell to signal from")
        else:
            await self._reaper.signal(self._place, self._token, name)

    async def wait(self) -> Exit:
        """Return the exit status once the output is drained; 137 with ``container_gone`` when the container ended too."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure
        try:
            async with asyncio.timeout(self._engine.limits.exit):
                status = await self._status()
            self.container_gone = status == _KILLED and await self._gone()
        except TimeoutError as error:
            raise unavailable(self._engine.agent, "exit", "the output has ended, the command has not") from error
        except ContainerGone:
            status, self.container_gone = _KILLED, True
        return Exit(status=status, container_gone=self.container_gone)

    async def keep_size(self, *, again: bool) -> None:
        """Pass sizes on until cancelled; ``again`` repeats the first: an engine that knows no initial size may lose it."""
        if again:
            await self._resize()
            await asyncio.sleep(_SECOND_RESIZE)
            await self._resize()
        while True:
            await self._resized.wait()
            self._resized.clear()
            await self._resize()

    async def interrupt(self) -> None:
        """End what can be ended through the terminal alone, where there is no shell to do it."""
        if self._tty:
            with contextlib.suppress(OSError):
                await self._stream.write(b"\x03\x1c\x04")

    async def _resize(self) -> None:
        if self._size is None:
            return
        params = {"h": str(self._size.rows), "w": str(self._size.cols)}
        with contextlib.suppress(OctopusError):  # the output tells when the engine is gone
            await self._engine.api.call("POST", f"/exec/{self._exec_id}/resize", params=params, step="resize")

    async def _status(self) -> int:
        attempt = 0
        while True:
            state = await self._engine.inspect(self._exec_id)
            if not state.running and state.exit_code is not None:
                return state.exit_code
            if not state.running and attempt >= len(_POLL):
                raise unavailable(self._engine.agent, "exit", "the engine does not know the exit status")
            await asyncio.sleep(_POLL[min(attempt, len(_POLL) - 1)])
            attempt += 1

    async def _gone(self) -> bool:
        """Whether the container itself ended; the engine learns of it a moment after the command's end."""
        for pause in _GONE_POLL:
            await asyncio.sleep(pause)
            now = await inspect(self._engine.api, self.container)
            if now is None or not now.state.running or now.state.started_at != self._inspected.state.started_at:
                return True
        return False

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Remember why the output was cut: the exit status is then not to be had."""
        try:
            with faults(self._engine.agent, "output"):
                yield
        except ContainerUnavailable as error:
            self._failure = error
            raise
