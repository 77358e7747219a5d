"""The pump between a client and a command: recorded, then delivered, both ways, until one of them is at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from octopus.core.echo import OpenInput
from octopus.core.errors import ContainerUnavailable, InvalidRequest
from octopus.core.ports import ExecStream
from octopus.core.short_way import Take
from octopus.core.types import ClientEvent, Exit, Input, InputEof, Mark, Output, Resize, Signal
from octopus.session.courtesy import BULK
from octopus.session.recorder import SessionRecorder
from octopus.session.watch import Watch, together


class Client(Protocol):
    """What the pump needs of a client's channel."""

    gone: asyncio.Event

    async def next_event(self) -> ClientEvent:
        """Return what the client did next. Raise Disconnected."""
        ...

    async def write(self, data: bytes, *, stderr: bool = False) -> None:
        """Send output; waits for room. Raise Disconnected."""
        ...


class Terminal(Client, Protocol):
    """What it needs besides for the short way."""

    @property
    def ready(self) -> bool:
        """Whether what is sent goes out without waiting."""
        ...

    def send(self, data: bytes) -> None:
        """Send output at once, while ``ready``."""
        ...

    def offer(self, take: Take) -> None:
        """Have what is typed offered to ``take`` first while ``next_event`` waits; what is not taken (False) is an event."""
        ...


class Traffic:
    """Bytes that went through: ``inward`` to the container, ``outward`` to the client."""

    def __init__(self) -> None:
        self.inward = 0
        self.outward = 0


class Relay:
    """One command's pump. ``idle_timeout`` in seconds without a byte either way, 0 for none; ``end`` ends it from outside.

    ``record_input`` is of a terminal, and only of what it echoed.
    """

    def __init__(
        self,
        client: Terminal,
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
        self._open_input = OpenInput() if record_input else None
        self._left_out = 0
        self._watch = Watch(idle_timeout=idle_timeout, now=now)

    async def run(self, ended: asyncio.Future[str], finish: Callable[[Exit], Awaitable[None]]) -> None:
        """Pump until the command has ended and all its output is delivered, then call ``finish`` with how it ended.

        Raise Disconnected; SessionEnded when idle or when ``ended`` holds a reason; RecordingUnavailable; ContainerUnavailable.
        """
        if not self._open_input:
            self._stream.offer(self._straight_out)
            self._client.offer(self._straight_in)
        async with together() as tasks:
            others = [tasks.create_task(self._inward()), tasks.create_task(self._watch.run(ended, self._client.gone))]
            async for output in self._stream.output():
                await self._outward(output)
            if self._open_input:
                await self._keep(self._open_input, self._open_input.finish())
            await finish(await self._stream.wait())
            for task in others:
                task.cancel()

    def _straight_out(self, data: bytes) -> bool:
        """Record and deliver at once what is short and need not wait, in the callback that brought it: no task is woken for a keystroke."""
        if len(data) >= BULK or not self._client.ready or not self._recorder.write_now(Output(data=data)):
            return False
        self._client.send(data)
        self._watch.moved()
        self._traffic.outward += len(data)
        return True

    def _straight_in(self, data: bytes) -> bool:
        if not self._stream.write_now(data):
            return False
        self._watch.moved()
        self._traffic.inward += len(data)
        return True

    async def _outward(self, output: Output) -> None:
        self._watch.moved()
        await self._recorder.write(output)
        if self._open_input:
            await self._keep(self._open_input, self._open_input.shown(output.data))
        await self._client.write(output.data, stderr=output.stderr)
        self._traffic.outward += len(output.data)

    async def _keep(self, typed: OpenInput, data: bytes) -> None:
        if data:
            await self._recorder.write(Input(data=data))
        if typed.left_out > self._left_out:
            self._left_out = typed.left_out
            await self._recorder.write(Mark(text="what was typed is left out: it was not echoed"))

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
                self._watch.moved()
                if self._open_input:
                    await self._keep(self._open_input, self._open_input.typed(data))
                await self._stream.write(data)
                self._traffic.inward += len(data)
            case InputEof():
                await self._stream.write_eof()
            case Resize(size=size):
                await self._recorder.write(event)
                await self._stream.resize(size)
            case Signal(name=name):
                await self._stream.signal(name)
