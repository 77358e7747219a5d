"""Ports of this machine in place of a task's: real connections, without an engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from octopus.core.errors import AccessDenied, OctopusError
from octopus.core.forwarding import Side
from octopus.core.ports import ForwardStream
from octopus.core.types import Allow, Target
from octopus.engine.forward import connect_agent

HERE = "127.0.0.1"


class LocalForwards:
    """A ForwardBackend to ``ports`` of loopback; ``open`` counts connections of now; ``refusal`` is raised instead of connecting."""

    def __init__(self) -> None:
        self.ports: set[int] = set()
        self.open = 0
        self.refusal: OctopusError | Exception | None = None

    @asynccontextmanager
    async def connect(self, target: Target, allow: Allow, asked: Side, port: int, number: int) -> AsyncIterator[ForwardStream]:
        """See ``ForwardBackend.connect``."""
        if self.refusal:
            raise self.refusal
        if port not in self.ports:
            raise AccessDenied(f"port {port} is not the task's", notice=f"port {port} is not the task's own")
        stream = await connect_agent("local", HERE, port, 5.0)
        self.open += 1
        try:
            yield stream
        finally:
            self.open -= 1
            stream.close()
