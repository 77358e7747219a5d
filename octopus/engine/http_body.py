"""An engine's answer whose body is read as it comes, over a connection of our own."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from octopus.core.errors import BadUpstream
from octopus.engine.hijack import MAX_HEAD, Head, parse_head
from octopus.engine.transport import ByteStream

MAX_FAULT = 64 * 1024
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})(?:;.*)?")


_LENGTH = re.compile("[0-9]{1,18}")


class Chunked:
    """Takes the chunks of a body apart (RFC 9112 7.1): engines make one of each line of a log. Raise BadUpstream."""

    def __init__(self) -> None:
        self.ended = False
        self._held = b""
        self._left = 0
        self._at_seam = False

    def feed(self, data: bytes) -> bytes:
        """Return the content in what comes next."""
        data, self._held = self._held + data, b""
        parts: list[memoryview] = []
        view, at = memoryview(data), 0
        while at < len(data) and not self.ended:
            if self._left:
                piece = view[at : at + self._left]
                parts.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._at_seam = not self._left
                continue
            end = data.find(b"\r\n", at, at + MAX_HEAD)
            if end < 0 and len(data) - at < MAX_HEAD:
                self._held = data[at:]
                break
            self._line(data[at:end] if end >= 0 else data[at : at + MAX_HEAD])
            at = end + 2
        return b"".join(parts)

    def _line(self, line: bytes) -> None:
        size = _CHUNK_SIZE.fullmatch(line)
        if self._at_seam and not line:
            self._at_seam = False
        elif self._at_seam or not size:
            raise BadUpstream("engine", "not a chunk", line)
        else:
            self._left = int(size[1], 16)
            self.ended = not self._left


class Body:
    """The body of an answer: read as it comes, by its length, its chunks, or to the connection's end."""

    def __init__(self, stream: ByteStream, head: Head, early: bytes, size: int) -> None:
        self.head = head
        self._stream = stream
        self._early = early
        self._size = size

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield what comes. Raise BadUpstream where it ends too soon, OSError."""
        chunks = Chunked() if self.head.headers.get("transfer-encoding", "") == "chunked" else None
        length = self.head.headers.get("content-length", "")
        left = int(length) if _LENGTH.fullmatch(length) else None
        while not chunks.ended if chunks else left != 0:
            data = self._early or await self._stream.read(self._size)
            self._early = b""
            if not data and (chunks or left):
                raise BadUpstream("engine", "the connection ended inside an answer")
            if not data:
                return
            if chunks:
                data = chunks.feed(data)
            elif left is not None:
                data = data[:left]
                left -= len(data)
            if data:
                yield data

    async def fault(self) -> bytes:
        """Return what the engine says of a refusal, its beginning."""
        said = b""
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                said += piece
                if len(said) >= MAX_FAULT:
                    break
        return said[:MAX_FAULT]


async def answered(stream: ByteStream, size: int) -> Body:
    """Read the head of an answer; ``size`` bytes of its body are read at once. Raise BadUpstream, OSError."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = await stream.read(MAX_HEAD)
        if not data or len(received) > MAX_HEAD:
            raise BadUpstream("engine", "not an HTTP answer", received)
        received += data
    raw, _, rest = received.partition(b"\r\n\r\n")
    return Body(stream, parse_head(raw), rest, size)
