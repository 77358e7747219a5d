"""A started exec: our own upgrade request, because the SDK's hijacked socket loses early output (docker-py #425, #3332)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from octopus.core.errors import BadUpstream
from octopus.engine.transport import ByteStream

MAX_HEAD = 16 * 1024
MAX_FAULT = 64 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: .*)?")
_STREAM_TYPES = ("application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream")


@dataclass(frozen=True)
class Head:
    """The head of an HTTP/1.1 answer; header names in lower case."""

    status: int
    headers: dict[str, str]

    @property
    def hijacked(self) -> bool:
        """Whether the connection is a raw stream from here on: 101, or 200 by engines that do not name the upgrade."""
        if "transfer-encoding" in self.headers:
            return False
        return self.status == 101 or (self.status == 200 and self.headers.get("content-type", "") in _STREAM_TYPES)


class Hijacked:
    """The stream of a started exec; ``early`` is what came together with the answer's head."""

    def __init__(self, stream: ByteStream, early: bytes) -> None:
        self._stream = stream
        self._early = early
        self.write = stream.write
        self.write_now = stream.write_now
        self.offer = stream.offer
        self.write_eof = stream.write_eof
        self.close = stream.close

    async def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; b"" at the end of the stream."""
        if not self._early:
            return await self._stream.read(size)
        data, self._early = self._early[:size], self._early[size:]
        return data


class StartRefused(Exception):
    """The engine answered the start with an error: ``status`` and ``body``."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def start_request(version: tuple[int, int], exec_id: str, body: dict[str, Any]) -> bytes:
    """Return POST /exec/ID/start, asking for the connection to become the exec's stream."""
    content = json.dumps(body).encode()
    head = (
        f"POST /v{version[0]}.{version[1]}/exec/{exec_id}/start HTTP/1.1\r\n"
        "Host: docker\r\nContent-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def parse_head(head: bytes) -> Head:
    """Read status line and headers. Raise BadUpstream."""
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if not status:
        raise BadUpstream("engine", "not an HTTP answer", first)
    headers = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise BadUpstream("engine", "not a header", line)
        headers[name.strip().lower()] = value.strip()
    return Head(int(status[1]), headers)


async def hijack(stream: ByteStream, request: bytes) -> Hijacked:
    """Send the start request and return the stream. Raise StartRefused, BadUpstream, OSError."""
    await stream.write(request)
    received = b""
    while b"\r\n\r\n" not in received:
        received += await _more(stream, len(received), MAX_HEAD)
    raw, _, rest = received.partition(b"\r\n\r\n")
    head = parse_head(raw)
    if head.hijacked:
        return Hijacked(stream, rest)
    raise StartRefused(head.status, await _fault(stream, head, rest))


async def _fault(stream: ByteStream, head: Head, body: bytes) -> bytes:
    length = head.headers.get("content-length", "")
    expected = min(int(length), MAX_FAULT) if re.fullmatch("[0-9]{1,9}", length) else 0
    while len(body) < expected:
        body += await _more(stream, len(body), MAX_FAULT)
    return body


async def _more(stream: ByteStream, have: int, limit: int) -> bytes:
    data = await stream.read(limit - have) if have < limit else b""
    if not data:
        raise BadUpstream("engine", "the connection ended inside an answer" if have < limit else f"an answer of more than {limit} bytes")
    return data
