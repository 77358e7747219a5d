"""A client's channel as a stream of bytes, for protocols that are spoken over it; what passes is counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from octopus.core.errors import InvalidRequest
from octopus.core.types import Input, InputEof
from octopus.session.relay import Client, Traffic


class FileStream:
    """Reads and writes bytes; ``moved`` is called when some pass. Signals and window changes mean nothing here.

    What is not asked for waits in the channel, within its window.
    """

    def __init__(self, client: Client, traffic: Traffic, moved: Callable[[], None]) -> None:
        self._client = client
        self._traffic = traffic
        self._moved = moved
        self._parts: deque[bytes] = deque()
        self._begun = 0
        self._size = 0
        self._at_end = False

    async def exactly(self, size: int) -> bytes | None:
        """Return so many bytes, None where the input ends before. Raise Disconnected."""
        while self._size < size:
            if not await self._more():
                return None
        return self._take(size)

    async def some(self, size: int) -> bytes:
        """Return what is there, one to ``size`` bytes, b"" at the end of the input. Raise Disconnected."""
        while not self._size:
            if not await self._more():
                return b""
        return self._take(min(size, len(self._parts[0]) - self._begun))

    async def line(self, limit: int) -> bytes | None:
        """Return a line without its newline, None where the input ends before. Raise InvalidRequest for a longer one, Disconnected."""
        while (end := self._first_line()) < 0:
            if self._size > limit:
                raise InvalidRequest(f"a line of more than {limit} bytes")
            if not await self._more():
                return None
        return self._take(end)[:-1]

    async def write(self, data: bytes) -> None:
        """Send. Raise Disconnected."""
        await self._client.write(data)
        self._traffic.outward += len(data)
        self._moved()

    async def _more(self) -> bool:
        while not self._at_end:
            match await self._client.next_event():
                case Input(data=data):
                    self._moved()
                    self._traffic.inward += len(data)
                    if data:
                        self._parts.append(data)
                        self._size += len(data)
                    return True
                case InputEof():
                    self._at_end = True
        return False

    def _first_line(self) -> int:
        """Return how long the first line of what waits is, less than 0 where its end has not come; copy only what came in parts."""
        if self._size and (at := self._parts[0].find(b"\n", self._begun)) >= 0:
            return at + 1 - self._begun
        if len(self._parts) > 1:
            self._parts.appendleft(self._take(self._size))
            self._size = len(self._parts[0])
            return self._parts[0].find(b"\n") + 1 or -1
        return -1

    def _take(self, size: int) -> bytes:
        """Return the first ``size`` bytes of what waits: copied once, and not at all where they came as one."""
        self._size -= size
        taken: list[bytes | memoryview] = []
        while size:
            part, begun = self._parts[0], self._begun
            piece = part if not begun and len(part) <= size else memoryview(part)[begun : begun + size]
            taken.append(piece)
            size -= len(piece)
            self._begun += len(piece)
            if self._begun == len(part):
                self._parts.popleft()
                self._begun = 0
        return taken[0] if len(taken) == 1 and isinstance(taken[0], bytes) else b"".join(taken)
