"""A client's channel as a stream of bytes, for protocols that are spoken over it; what passes is counted."""

from __future__ import annotations

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
        self._waiting = bytearray()
        self._at_end = False

    async def exactly(self, size: int) -> bytes | None:
        """Return so many bytes, None where the input ends before. Raise Disconnected."""
        while len(self._waiting) < size:
            if not await self._more():
                return None
        return self._take(size)

    async def some(self, size: int) -> bytes:
        """Return what is there, one to ``size`` bytes, b"" at the end of the input. Raise Disconnected."""
        while not self._waiting:
            if not await self._more():
                return b""
        return self._take(min(size, len(self._waiting)))

    async def line(self, limit: int) -> bytes | None:
        """Return a line without its newline, None where the input ends before. Raise InvalidRequest for a longer one, Disconnected."""
        while (end := self._waiting.find(b"\n")) < 0:
            if len(self._waiting) > limit:
                raise InvalidRequest(f"a line of more than {limit} bytes")
            if not await self._more():
                return None
        return self._take(end + 1)[:-1]

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
                    self._waiting += data
                    return True
                case InputEof():
                    self._at_end = True
        return False

    def _take(self, size: int) -> bytes:
        with memoryview(self._waiting) as whole, whole[:size] as part:
            taken = bytes(part)
        del self._waiting[:size]
        return taken
