"""What a helper shell says, cut at the marks that end its answers."""

from __future__ import annotations

import asyncio
import re

from octopus.core.docker_frames import FrameDecoder
from octopus.core.errors import BadUpstream
from octopus.engine.file_answers import mark_found
from octopus.engine.hijack import Hijacked
from octopus.engine.limits import FileLimits

MAX_ERRORS = 16 * 1024


def give(future: asyncio.Future[bytes] | None, said: bytes) -> None:
    """Give it to whoever waits, if anybody does."""
    if future and not future.done():
        future.set_result(said)


class Replies:
    """Reads answers from ``stream``, in frames of the engine, one after another."""

    def __init__(self, stream: Hijacked, limits: FileLimits) -> None:
        self._stream = stream
        self._limits = limits
        self._frames = FrameDecoder()
        self._received = b""
        self._stray = b""

    async def chunk(self) -> bytes:
        """Return what is said next, as it comes. Raise BadUpstream, OSError."""
        chunk, self._received = self._received, b""
        while not chunk:
            chunk = await self._receive(b"")
        return chunk

    def unread(self, chunk: bytes) -> None:
        """Have the end of the last chunk come again."""
        self._received = chunk

    async def answer(self, mark: bytes, begun: asyncio.Future[bytes] | None) -> tuple[bytes, int, bytes]:
        """Return what an operation says, its status and its errors; what comes before a B is for ``begun``. Raise BadUpstream, OSError."""
        if begun is None:
            said = await self._until(mark + b"E", self._limits.answer)
        else:
            said = await self._until(mark, self._limits.answer)
            while not self._received:
                self._received = await self._receive(said)
            last, self._received = self._received.startswith(b"E"), self._received[1:]
            if not last:
                give(begun, said)
                said = await self._until(mark + b"E", self._limits.answer)
        status, space, errors = (await self._until(mark + b"\n", MAX_ERRORS)).partition(b" ")
        if not space or not re.fullmatch(rb"[0-9]{1,3}", status):
            raise BadUpstream("files helper", "no status", status)
        return said, int(status), errors

    async def _until(self, mark: bytes, limit: int) -> bytes:
        """Return what comes before a mark, put together once."""
        parts: list[bytes] = []
        size, tail, chunk, self._received = 0, b"", self._received, b""
        while (at := mark_found(mark, tail, chunk)) is None:
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise BadUpstream("files helper", f"an answer of more than {limit} bytes")
            tail = (tail + chunk[1 - len(mark) :])[1 - len(mark) :]
            chunk = await self._receive(tail)
        if at < 0:  # it began in what came before
            parts, chunk, at = [], b"".join([*parts, chunk]), at + size
        self._received = chunk[at + len(mark) :]
        return b"".join([*parts, chunk[:at]])

    async def _receive(self, tail: bytes) -> bytes:
        data = await self._stream.read(self._limits.read)
        if not data:
            raise BadUpstream("files helper", "it ended", self._stray or tail)
        received = []
        for output in self._frames.feed(data):
            if output.stderr:
                self._stray = (self._stray + output.data)[-200:]
            else:
                received.append(output.data)
        return received[0] if len(received) == 1 else b"".join(received)
