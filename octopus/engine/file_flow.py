"""One large file on its way, in or out: by a helper that is there for nothing else, without a break between its blocks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from octopus.core.errors import BadUpstream
from octopus.core.files import FileAttributes, FileFailure, PathChanged
from octopus.engine.file_answers import attributes
from octopus.engine.file_shell import FileShell
from octopus.engine.file_shells import FileShells
from octopus.engine.limits import FileLimits, deadline, faults

MAX_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes of a file from ``start`` on, of which ``asked`` were asked for: where fewer came, the file ended.

    ``identity`` is the file's device and inode, ``attributes`` are its own at that time.
    """

    start: int
    data: memoryview
    asked: int = 0
    identity: bytes = b""
    attributes: FileAttributes | None = None

    @property
    def short(self) -> bool:
        """Whether the file ended with it."""
        return len(self.data) < self.asked

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.start + len(self.data)


class Outflow:
    """What is in a file from ``start`` on, as it comes: nothing is read from the engine while nobody asks.

    A stretch is asked for while the one before is under way. Each time it has to be the same file: ``identity`` is its device
    and inode.
    """

    def __init__(self, shells: FileShells, path: bytes, start: int, identity: bytes, agent: str, limits: FileLimits) -> None:
        self.end = start
        """Up to here it was taken."""
        self._shells = shells
        self._path = path
        self._identity = identity
        self._agent = agent
        self._limits = limits
        self._opening = asyncio.get_running_loop().create_task(shells.give(), name="helper for a download")
        self._blocks = self._all()

    async def next(self) -> Block | None:
        """Return what is next; at the end of the file a short block without bytes, and None where there is nothing to be had.

        Raise FileFailure, ContainerUnavailable.
        """
        block = await anext(self._blocks, None)
        if block is not None:
            self.end = block.end
        return block

    async def close(self) -> None:
        """Take no more."""
        await self._blocks.aclose()
        await give_back(self._shells, self._opening)

    async def _all(self) -> AsyncGenerator[Block, None]:
        shell = await asyncio.shield(self._opening)
        if shell is None:
            return
        at = ahead = self.end
        stretches: deque[bytes] = deque()
        while True:
            while len(stretches) < 2:
                stretches.append(await shell.ask("read", self._path, b"%d" % ahead, b"%d" % self._limits.stretch))
                ahead += self._limits.stretch
            begun = at
            async for piece in self._stretch(shell, stretches.popleft()):
                yield Block(at, memoryview(piece))
                at += len(piece)
            if at < begun + self._limits.stretch:
                yield Block(at, memoryview(b""), 1)
                return

    async def _stretch(self, shell: FileShell, mark: bytes) -> AsyncIterator[bytes]:
        head: bytes | None = b""
        async for piece in shell.pieces(mark):
            if head is None:
                yield piece
                continue
            head += piece
            line, newline, rest = head.partition(b"\n")
            if newline:
                head = None
                self._check(line)
                if rest:
                    yield rest
            elif len(head) > MAX_HEAD:
                self._check(head)

    def _check(self, line: bytes) -> None:
        with faults(self._agent, "read"):
            identity, _ = read_head(line)
        if identity != self._identity:
            raise PathChanged(f"{self._path!r} is another file by now")


class Inflow:
    """What is to be in a file from ``start`` on, taken as it comes: by a helper that was given for it, ``path`` is where it is."""

    def __init__(
        self, shells: FileShells, shell: FileShell, answer: asyncio.Task[bytes], start: int, agent: str, limits: FileLimits
    ) -> None:
        self.end = start
        """Up to here it was sent."""
        self._shells = shells
        self._shell = shell
        self._answer = answer
        self._agent = agent
        self._limits = limits

    @classmethod
    async def begin(cls, shells: FileShells, shell: FileShell, path: bytes, start: int, agent: str, limits: FileLimits) -> Inflow:
        """Begin it. Raise ContainerUnavailable."""
        return cls(shells, shell, await shell.pour("pour", path, b"%d" % start), start, agent, limits)

    async def write(self, data: bytes) -> None:
        """Send more. Raise FileFailure as soon as it is known, ContainerUnavailable."""
        if self._answer.done():
            await self._answer
            raise FileFailure("the helper ended before the file", notice="bytes are missing")
        await self._shell.feed(data)
        self.end += len(data)

    async def finish(self) -> None:
        """Return once all of it is in the file. Raise FileFailure, ContainerUnavailable."""
        try:
            await self._shell.end()
            async with deadline(self._agent, "files", self._limits.call):
                await self._answer
        finally:
            self._shells.take_back(self._shell)


async def give_back(shells: FileShells, opening: asyncio.Task[FileShell | None] | None) -> None:
    """See to it that a helper ends, whether it has begun or not."""
    if opening is None:
        return
    opening.cancel()
    await asyncio.wait({opening})
    if not opening.cancelled() and opening.exception() is None and (shell := opening.result()):
        shells.take_back(shell)


def read_head(line: bytes) -> tuple[bytes, FileAttributes]:
    """Read what the helper says of an open file: its identity and attributes. Raise BadUpstream."""
    identity, space, numbers = line.partition(b" ")
    if not space:
        raise BadUpstream("files helper", "not an open file", line)
    return identity, attributes(numbers)
