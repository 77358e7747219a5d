"""The log of a container of a Docker engine (Engine API, "Get container logs"): taken as it comes, over a connection of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, nullcontext
from typing import NoReturn
from urllib.parse import urlencode

from octopus.core.container_log import LogQuery
from octopus.core.docker_frames import FrameDecoder
from octopus.core.errors import InvalidRequest
from octopus.core.types import Output
from octopus.engine.containers import refuse
from octopus.engine.engines import Engine
from octopus.engine.http_body import Body, answered
from octopus.engine.limits import deadline, faults
from octopus.engine.transport import ByteStream
from octopus.engine.wire import Container

READ = 32 * 1024
"""Bytes at once: each short line is a chunk and a frame, and who types in another session waits while so many are taken apart."""
NOT_KEPT = "this container's log goes elsewhere: its logging driver keeps nothing that could be read here"


class DockerLog:
    """One container's log, by ``stream``, which is of this alone. ``now`` in seconds since 1970, of the engine's clock as ours."""

    def __init__(self, engine: Engine, container: Container, query: LogQuery, stream: ByteStream, now: Callable[[], float]) -> None:
        self.container = container.id
        self._engine = engine
        self._tty = container.config.tty
        self._query = query
        self._stream = stream
        self._now = now

    async def output(self) -> AsyncGenerator[Output, None]:
        """See ``ContainerLog.output``. Nothing is read from the engine while the caller is busy."""
        version = await self._engine.api.version()
        path = f"/v{version[0]}.{version[1]}/containers/{self.container}/logs?{urlencode(self._parameters())}"
        with faults(self._engine.agent, "logs"):
            await self._stream.write(f"GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n".encode())
            # Some engines answer a follower only when there is a line.
            async with nullcontext() if self._query.follow else deadline(self._engine.agent, "logs", self._engine.limits.call):
                body = await answered(self._stream, READ)
            if body.head.status != 200:
                await self._refuse(body)
            frames = None if self._tty else FrameDecoder()
            async with aclosing(body.pieces()) as pieces:
                async for piece in pieces:
                    for output in frames.feed(piece) if frames else (Output(data=piece),):
                        yield output
            if frames:
                frames.finish()

    def _parameters(self) -> dict[str, str | int]:
        query = self._query
        asked: dict[str, str | int] = {
            "stdout": 1,
            "stderr": 1,
            "follow": int(query.follow),
            "timestamps": int(query.timestamps),
            "tail": "all" if query.lines is None else query.lines,
        }
        return asked | ({"since": int(self._now()) - query.since} if query.since else {})

    async def _refuse(self, body: Body) -> NoReturn:
        async with deadline(self._engine.agent, "logs", self._engine.limits.call):
            said = await body.fault()
        if body.head.status == 501 or b"does not support reading" in said:
            raise InvalidRequest(f"{self._engine.agent}: container {self.container}: logs cannot be read", notice=NOT_KEPT)
        refuse(self._engine.agent, "logs", body.head.status, said)
