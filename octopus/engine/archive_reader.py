"""A file open for reading through the archive API: one stream of it, begun anew for who goes back further than is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from octopus.core.files import FileAttributes, FileFailure, Passed, PassedBytes, Place
from octopus.engine.archive import Archive
from octopus.engine.tar_stream import TarEntry


class ArchiveReader:
    """Keeps the last ``window`` bytes. The engine reads the file once, from its start, as it is at that time."""

    def __init__(self, archive: Archive, place: Place, attributes: FileAttributes, window: int = 4 * 1024 * 1024) -> None:
        self.attributes = attributes
        self._archive = archive
        self._path = place.path
        self._window = window
        self._stack = AsyncExitStack()
        self._pieces: AsyncIterator[TarEntry | bytes] | None = None
        self._kept = bytearray()
        self._start = 0
        self._ended = False
        self._whole = False
        self._turn = asyncio.Lock()
        self._passed = PassedBytes()

    async def read(self, offset: int, size: int) -> bytes:
        """See ``FileReader.read``."""
        async with self._turn:
            if self._pieces is None or offset < self._start:
                await self._begin()
            while not self._ended and self._start + len(self._kept) < offset + size:
                await self._more(offset)
            data = bytes(self._kept[offset - self._start :][:size]) if offset >= self._start else b""
            self._passed.add(offset, data)
            if self._ended and len(data) < size:
                self._whole = self._whole or (self._passed.ordered and self._passed.end >= self._start + len(self._kept))
            return data

    async def stat(self) -> FileAttributes:
        """See ``FileReader.stat``; as it was when it was opened: the engine cannot tell of an open file."""
        return self.attributes

    async def close(self) -> Passed:
        """See ``FileReader.close``."""
        await self._stack.aclose()
        self._pieces = None
        self._kept.clear()
        return self._passed.result(complete=self._whole)

    async def _begin(self) -> None:
        await self._stack.aclose()
        self._stack = AsyncExitStack()
        self._pieces = await self._stack.enter_async_context(self._archive.get(self._path))
        self._kept.clear()
        self._start, self._ended = 0, False
        header = await anext(self._pieces, None)
        if not isinstance(header, TarEntry) or header.kind not in (b"0", b"\0"):
            raise FileFailure(notice="not a regular file")

    async def _more(self, offset: int) -> None:
        piece = await anext(self._pieces, None) if self._pieces else None
        if not isinstance(piece, bytes):
            self._ended = True
            return
        self._kept += piece
        surplus = min(len(self._kept) - self._window, offset - self._start)
        if surplus > 0:
            del self._kept[:surplus]
            self._start += surplus
