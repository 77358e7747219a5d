"""A file of a container open for reading through a helper shell: in blocks that grow while it is read in order, then as it comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from octopus.core.errors import BadUpstream, OctopusError
from octopus.core.files import FileAttributes, FileFailure, Passed, PassedBytes, PathChanged, Place
from octopus.engine.file_flow import Block, Outflow, read_head
from octopus.engine.file_shell import FileShell
from octopus.engine.file_shells import FileShells
from octopus.engine.limits import FileLimits, faults

AHEAD = 2
"""Blocks fetched before they are asked for."""

UNKNOWN = -1
"""The size of a file before its beginning has come."""

_NOTHING = Block(0, memoryview(b""))


class ShellReader:
    """Reads by path, and each time looks that it is still the same file: ``identity`` is its device and inode. A small file that
    came whole along with being resolved has none yet; should more be asked for, it is known again by what it holds.

    The last blocks are kept, for requests that overtook one another; the next two are fetched ahead. Of a large file what
    follows those comes in one go.
    """

    def __init__(self, shells: FileShells, place: Place, agent: str, limits: FileLimits, on_end: Callable[[ShellReader], None]) -> None:
        self.size = UNKNOWN
        self._shells = shells
        self._shell: FileShell | None = None
        self._path = place.path
        self._agent = agent
        self._limits = limits
        self._on_end = on_end
        self._identity = b""
        self._beginning: asyncio.Future[bytes] | None = None
        self._blocks: deque[Block] = deque([_NOTHING])
        self._kept = 0
        self._flow: Outflow | None = None
        self._flows = True
        self._next: deque[asyncio.Task[Block]] = deque()
        self._following = 0, 0
        self._turn = asyncio.Lock()
        self._passed = PassedBytes()
        self._end_told = -1
        self._whole = False

    async def open(self) -> None:
        """Open it, and read its beginning. Raise FileFailure, ContainerUnavailable."""
        self._take(await self._fetch(0, self._limits.small))

    def follow(self, beginning: asyncio.Future[bytes]) -> None:
        """Open it with its beginning, which is on its way."""
        self._beginning = beginning

    async def _begin(self) -> None:
        """Take the beginning that was on its way; where it came to nothing, reading it again says why."""
        if (task := self._beginning) is None:
            return
        self._beginning = None
        try:
            said = await asyncio.shield(task)
        except FileFailure:
            return await self.open()
        with faults(self._agent, "read"):
            self._take(read_beginning(self._limits.small, said))

    def _take(self, block: Block) -> None:
        self.size = block.attributes.size if block.attributes else len(block.data)
        self._identity = block.identity
        self._keep(block)

    async def _know(self) -> Block | None:
        """Learn which file it is whose beginning came without that, and read that again for it; None where it is known.

        Raise PathChanged where what passed is not in it any more.
        """
        if self._identity:
            return None
        block = await self._fetch(0, self._limits.small)
        if self._passed.size and block.data[: self.size] != self._blocks[-1].data:
            raise PathChanged(f"{self._path!r} is another file by now, or holds something else")
        self._blocks, self._kept = deque([_NOTHING]), 0
        self._take(block)
        return block

    async def read(self, offset: int, size: int) -> bytes:
        """See ``FileReader.read``."""
        parts: list[memoryview] = []
        left = min(size, self._limits.block)
        while left > 0:
            block = await self._block(offset)
            piece = block.data[offset - block.start : offset - block.start + left]
            if not piece:
                break
            parts.append(piece)
            offset += len(piece)
            left -= len(piece)
            if block.short and offset == block.end:
                break  # the end, as far as it is known: who asks for more is told so, and then looked for
        data = b"".join(parts)
        self._passed.add(offset - len(data), data)
        if left > 0:
            self._whole = self._whole or (self._passed.ordered and self._passed.end >= offset)
        return data

    async def stat(self) -> FileAttributes:
        """See ``FileReader.stat``."""
        async with self._turn:
            await self._begin()
            block = await self._know()
        return _attributes(block or await self._fetch(0, 0))

    async def close(self) -> Passed:
        """See ``FileReader.close``."""
        await self._forget()
        async with self._turn:
            await self._stop()
            with suppress(OctopusError):
                await self._begin()
            self._blocks, self._kept = deque([_NOTHING]), 0
        self._on_end(self)
        return self._passed.result(complete=self._whole)

    async def _block(self, offset: int) -> Block:
        """Return a block that holds ``offset``, or an empty one at the end of the file."""
        async with self._turn:
            await self._begin()
            last = self._blocks[-1]
            if offset != last.end and (found := self._held(offset)):
                return found
            if offset == last.end and last.short and self._end_told != offset:
                self._end_told = offset  # known already; who asks again learns whether the file has grown
                return _NOTHING
            if not self._identity:
                await self._know()
                return self._held(offset) or (_NOTHING if self._blocks[-1].short else await self._next_block(offset))
            return await self._next_block(offset)

    async def _next_block(self, offset: int) -> Block:
        if block := await self._ahead(offset) or await self._flowing(offset):
            return block
        block = await self._fetch(offset, self._size(offset))
        if block.data:
            self._take_up(block)
        return block

    def _held(self, offset: int) -> Block | None:
        return next((block for block in reversed(self._blocks) if block.start <= offset < block.end), None)

    def _keep(self, block: Block) -> None:
        """Keep a block, and no more than two large ones of those before."""
        self._blocks.append(block)
        self._kept += len(block.data)
        while len(self._blocks) > 2 and self._kept - len(self._blocks[0].data) >= self._limits.block:
            self._kept -= len(self._blocks.popleft().data)

    def _take_up(self, block: Block) -> None:
        """Keep a block that was fetched; where it follows the last one, fetch on."""
        last = self._blocks[-1]
        self._keep(block)
        if block.start == last.end and not block.short:
            self._fetch_more(block)

    async def _ahead(self, offset: int) -> Block | None:
        """Return what was fetched ahead, if that is what is wanted now."""
        if not self._next:
            return None
        block = await asyncio.shield(self._next.popleft())
        if block.start <= offset < block.end:
            self._take_up(block)
            return block
        if block.start == offset and not block.data:
            return block
        await self._forget()
        return None

    async def _flowing(self, offset: int) -> Block | None:
        """Return what comes in one go, if that is what is wanted now; a little of it may have to pass first."""
        while self._flow and not self._next and 0 <= offset - self._flow.end <= self._limits.block:
            block = await self._flow.next()
            if block is None:
                self._flows = False
                break
            self._keep(block)
            if block.short:
                self._end_told = offset
                await self._stop()
                return block
            if offset < block.end:
                return block
        if not self._next:
            await self._stop()
        return None

    async def _stop(self) -> None:
        flow, self._flow = self._flow, None
        if flow:
            await flow.close()

    async def _forget(self) -> None:
        """Fetch nothing ahead any more."""
        tasks = set(self._next)
        self._next.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    def _size(self, offset: int) -> int:
        last = self._blocks[-1]
        return self._more(last.asked) if offset == last.end else self._limits.small

    def _more(self, asked: int) -> int:
        return min(max(asked * 2, self._limits.small), self._limits.block)

    def _fetch_more(self, last: Block) -> None:
        """See to it that what follows a block is being fetched, each block on the assumption that those before it are whole."""
        if self._flow:
            return
        start, size = self._following if self._next else (last.end, last.asked)
        if self._flows and size >= self._limits.block and self.size - start >= self._limits.bulk:
            self._flow = Outflow(self._shells, self._path, start, self._identity, self._agent, self._limits)
            return
        while len(self._next) < AHEAD:
            size = self._more(size)
            self._next.append(asyncio.get_running_loop().create_task(self._fetch(start, size), name="read ahead"))
            start += size
        self._following = start, size

    async def _fetch(self, offset: int, size: int) -> Block:
        # One helper for all blocks: they come in their order, and others are free for what is asked meanwhile.
        if self._shell is None or self._shell.gone:
            self._shell = await self._shells.get()
        said = await self._shell.call("read", self._path, b"%d" % offset, b"%d" % size)
        with faults(self._agent, "read"):
            block = read_block(offset, size, said)
        if block.identity != (self._identity or block.identity):
            raise PathChanged(f"{self._path!r} is another file by now")
        return block


def _attributes(block: Block) -> FileAttributes:
    if block.attributes is None:
        raise BadUpstream("files helper", "no attributes", block.identity)
    return block.attributes


def read_beginning(size: int, said: bytes) -> Block:
    """Read what the helper says of the first bytes of a file that was resolved: which one it is follows only if there are more."""
    if len(said) < size:
        return Block(0, memoryview(said), size)
    return Block(0, memoryview(said)[:size], size, *read_head(said[size:].removesuffix(b"\n")))


def read_block(offset: int, size: int, said: bytes) -> Block:
    """Read what the helper says of a file and its bytes. Raise BadUpstream."""
    end = said.find(b"\n")
    line, data = (said[:end], memoryview(said)[end + 1 :]) if end >= 0 else (said, memoryview(b""))
    if len(data) > size:
        raise BadUpstream("files helper", "more than was asked for", line)
    return Block(offset, data, size, *read_head(line))
