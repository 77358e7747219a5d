"""The pump between a client and a command: recorded, then delivered, both ways, until one of them is at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from octopus.core.errors import ContainerUnavailable, Disconnected, InvalidRequest, OctopusError, SessionEnded
from octopus.core.ports import ExecStream
from octopus.core.types import ClientEvent, Exit, Input, InputEof, Output, Resize, Signal
from octopus.session.durations import spoken
from octopus.session.recorder import SessionRecorder


class Client(Protocol):
    """What the pump needs of a client's channel."""

    gone: asyncio.Event

    async def next_event(self) -> ClientEvent:
        """Return what the client did next. Raise Disconnected."""
        ...

    async def write(self, data: bytes, *, stderr: bool = False) -> None:
        """Send output; waits for room. Raise Disconnected."""
        ...


class Traffic:
    """Bytes that went through: ``inward`` to the container, ``outward`` to the client."""

    def __init__(self) -> None:
        self.inward = 0
        self.outward = 0


class Relay:
    """One command's pump. ``idle_timeout`` in seconds without a byte either way, 0 for none; ``end`` ends it from outside."""

    def __init__(
        self,
        client: Client,
        stream: ExecStream,
        recorder: SessionRecorder,
        traffic: Traffic,
        *,
        record_input: bool = False,
        idle_timeout: float = 0.0,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._client = client
        self._stream = stream
        self._recorder = recorder
        self._traffic = traffic
        self._record_input = record_input
        self._idle_timeout = idle_timeout
        self._now = now or asyncio.get_running_loop().time
        self._last = self._now()

    async def run(self, ended: asyncio.Future[str], finish: Callable[[Exit], Awaitable[None]]) -> None:
        """Pump until the command has ended and all its output is delivered, then call ``finish`` with how it ended.

        Raise Disconnected; SessionEnded when idle or when ``ended`` holds a reason; RecordingUnavailable; ContainerUnavailable.
        """
        async with _together() as tasks:
            others = [tasks.create_task(self._inward()), tasks.create_task(self._watch(ended))]
            async for output in self._stream.output():
                await self._outward(output)
            await finish(await self._stream.wait())
            for task in others:
                task.cancel()

    async def _outward(self, output: Output) -> None:
        self._last = self._now()
        await self._recorder.write(output)
        await self._client.write(output.data, stderr=output.stderr)
        self._traffic.outward += len(output.data)

    async def _inward(self) -> None:
        while True:
            event = await self._client.next_event()
            try:
                await self._pass_on(event)
            except (ContainerUnavailable, InvalidRequest):
                # The command may take no more input and still have output; when the engine is gone, the output says so.
                continue

    async def _pass_on(self, event: ClientEvent) -> None:
        match event:
            case Input(data=data):
                self._last = self._now()
                if self._record_input:
                    await self._recorder.write(event)
                await self._stream.write(data)
                self._traffic.inward += len(data)
            case InputEof():
                await self._stream.write_eof()
            case Resize(size=size):
                await self._recorder.write(event)
                await self._stream.resize(size)
            case Signal(name=name):
                await self._stream.signal(name)

    async def _watch(self, ended: asyncio.Future[Any]) -> None:
        """Raise when the session is to end from this side, or the client is gone while nothing is written to it."""
        gone: asyncio.Future[Any] = asyncio.ensure_future(self._client.gone.wait())
        try:
            while not (ended.done() or gone.done()):
                await asyncio.wait([gone, ended], timeout=self._left(), return_when=asyncio.FIRST_COMPLETED)
                if self._left() == 0:
                    raise SessionEnded("idle", notice=f"idle for {spoken(self._idle_timeout)}, closed")
        finally:
            gone.cancel()
        if ended.done():
            raise SessionEnded(f"ended: {ended.result()}", notice=f"this session was ended: {ended.result()}")
        raise Disconnected("the client is gone")

    def _left(self) -> float | None:
        """Return the seconds until the session counts as idle, None when it never does."""
        return max(0.0, self._last + self._idle_timeout - self._now()) if self._idle_timeout else None


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks in a group that raises one error, a bug's before ours, instead of all of them."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        raise next((error for error in errors if not isinstance(error, OctopusError)), errors[0]) from group


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [leaf for error in group.exceptions for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])]
