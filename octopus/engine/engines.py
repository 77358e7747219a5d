"""The engines in use: one per address, each with its API and its connections, released when idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from octopus.core.types import EngineAddress
from octopus.engine.api import EngineApi
from octopus.engine.containers import expect, refuse
from octopus.engine.endpoint import Endpoint, open_endpoint
from octopus.engine.hijack import Hijacked, StartRefused, hijack, start_request
from octopus.engine.limits import EngineLimits, deadline, faults
from octopus.engine.transport import ByteStream
from octopus.engine.wire import NEWEST, Created, Exec, decode


class Engine:
    """One agent's engine."""

    def __init__(self, agent: str, address: EngineAddress, endpoint: Endpoint, limits: EngineLimits, newest: tuple[int, int]) -> None:
        self.agent = agent
        self.address = address
        self.limits = limits
        self._endpoint = endpoint
        self._streams = 0
        self.api = EngineApi(agent, address, endpoint, limits, newest, on_idle=self._release)

    @property
    def idle(self) -> bool:
        """Whether nothing is held for it."""
        return not self._streams and self.api.idle

    async def create(self, container: str, config: dict[str, Any]) -> str:
        """Create an exec and return its id. Raise ContainerUnavailable."""
        answer = await self.api.call("POST", f"/containers/{container}/exec", body=config, step="create")
        with faults(self.agent, "create"):
            return decode(expect(self.agent, "create", answer, 201).body, Created).id

    @asynccontextmanager
    async def started(
        self, exec_id: str, body: dict[str, Any], connecting: asyncio.Task[ByteStream] | None = None
    ) -> AsyncIterator[Hijacked]:
        """Start an exec, on a connection that is being made where there is one; it is dropped on leaving. Raise ContainerUnavailable."""
        version = await self.api.version()
        async with AsyncExitStack() as stack:
            stream = await (connecting if connecting is not None else await stack.enter_async_context(self.connecting()))
            # Closed here and not with the connection's own context: what is left is cleaned up in between, without its input.
            stack.callback(stream.close)
            try:
                async with deadline(self.agent, "start", self.limits.start):
                    hijacked = await hijack(stream, start_request(version, exec_id, body))
            except StartRefused as error:
                refuse(self.agent, "start", error.status, error.body)
            yield hijacked

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[ByteStream]:
        """Give a connection of our own, dropped on leaving. Raise ContainerUnavailable."""
        async with self.connecting() as connecting:
            yield await connecting

    @asynccontextmanager
    async def connecting(self) -> AsyncIterator[asyncio.Task[ByteStream]]:
        """Begin to make a connection of our own, while the caller does something else; dropped on leaving.

        Who awaits it gets ContainerUnavailable when it cannot be made.
        """
        task = asyncio.get_running_loop().create_task(self._connect(), name="connect to an engine")
        self._streams += 1
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and task.exception() is None:
                task.result().close()
            self._streams -= 1
            self._release()

    async def _connect(self) -> ByteStream:
        async with deadline(self.agent, "connect", self.limits.connect):
            return await self._endpoint.connect()

    async def inspect(self, exec_id: str) -> Exec:
        """Return an exec's state. Raise ContainerUnavailable, ContainerGone when the engine does not know it any more."""
        answer = await self.api.call("GET", f"/exec/{exec_id}/json", step="exec inspect")
        with faults(self.agent, "exec inspect"):
            return decode(expect(self.agent, "exec inspect", answer, 200).body, Exec)

    async def aclose(self) -> None:
        """Release everything."""
        self.api.release()
        await self._endpoint.aclose()

    def _release(self) -> None:
        if self.idle:
            self._endpoint.release()


class Engines:
    """One Engine for each agent at its address, for failures to name who it is; at most ``capacity`` that are idle are remembered."""

    def __init__(self, limits: EngineLimits, capacity: int = 1024, newest: tuple[int, int] = NEWEST) -> None:
        self._limits = limits
        self._capacity = capacity
        self._newest = newest
        self._engines: dict[tuple[str, EngineAddress], Engine] = {}

    async def get(self, agent: str, address: EngineAddress) -> Engine:
        """Return the engine at ``address``. Raise ContainerUnavailable when the address cannot be used."""
        engine = self._engines.pop((agent, address), None)
        if engine is None:
            with faults(agent, "address"):
                endpoint = open_endpoint(address, self._limits.connect)
            engine = Engine(agent, address, endpoint, self._limits, self._newest)
        self._engines[agent, address] = engine
        await self._make_room()
        return engine

    async def aclose(self) -> None:
        """Close all engines."""
        engines, self._engines = self._engines, {}
        for engine in engines.values():
            await engine.aclose()

    async def _make_room(self) -> None:
        if len(self._engines) <= self._capacity:
            return
        oldest = next((key for key, engine in self._engines.items() if engine.idle), None)
        if oldest is not None:
            await self._engines.pop(oldest).aclose()
