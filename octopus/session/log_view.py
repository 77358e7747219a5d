"""A container's log in place of a command: it has output, and ends with the log, or when its reader has seen enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec

from octopus.core.container_log import ContainerLog
from octopus.core.short_way import Take
from octopus.core.types import Exit, Output, TermSize

LEAVING = (b"\x03", b"\x04")
"""Keys that leave it at a terminal: ^C and ^D."""
INTERRUPTED = 130


class LogView:
    """An ExecStream over ``log``. At a ``terminal``, of which no program in the container knows, each line begins at the left."""

    def __init__(self, log: ContainerLog, *, terminal: bool) -> None:
        self.container = log.container
        self._log = log
        self._terminal = terminal
        self._left = asyncio.Event()

    async def output(self) -> AsyncIterator[Output]:
        """Yield the log. Raise what ``ContainerLog.output`` does."""
        left = asyncio.create_task(self._left.wait(), name="leave a log")
        async with aclosing(self._log.output()) as outputs:
            try:
                while output := await self._next(outputs, left):
                    data = output.data.replace(b"\n", b"\r\n") if self._terminal else output.data
                    yield msgspec.structs.replace(output, data=data)
            finally:
                left.cancel()

    @staticmethod
    async def _next(outputs: AsyncIterator[Output], left: asyncio.Task[bool]) -> Output | None:
        """Return what comes next, None at the end or when the reader has left."""

        async def read() -> Output | None:
            return await anext(outputs, None)

        reading = asyncio.create_task(read(), name="read a log")
        try:
            await asyncio.wait({reading, left}, return_when=asyncio.FIRST_COMPLETED)
            return None if left.done() else reading.result()
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    def offer(self, take: Take) -> None:
        """Have nothing offered: what is logged goes the long way."""

    def write_now(self, data: bytes) -> bool:
        """Take no short way."""
        return False

    async def write(self, data: bytes) -> None:
        """Take keys that leave; there is nobody for any other input."""
        if self._terminal and any(key in data for key in LEAVING):
            self._left.set()

    async def write_eof(self) -> None:
        """Go on: a log has no input (``ssh -n``)."""

    async def resize(self, size: TermSize) -> None:
        """Change nothing: the lines are as they were written."""

    async def signal(self, name: str) -> None:
        """Leave, as a command would that was sent a signal."""
        self._left.set()

    async def wait(self) -> Exit:
        """Return how it ended."""
        return Exit(status=INTERRUPTED if self._left.is_set() else 0)
