"""A file open for reading through the archive API: taken as fast as the engine gives it, into a spool file here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from octopus.core.errors import OctopusError
from octopus.core.files import FileAttributes, FileFailure, Passed, PassedBytes, Place
from octopus.engine.archive import Archive
from octopus.engine.archive_writer import Spool
from octopus.engine.tar_stream import TarEntry

_BLOCK = 1 << 20


class ArchiveReader:
    """The file as it was when it was opened, in ``spool``.

    While an engine sends an archive it holds its container's lock: nobody could enter that, look at it or stop it for as long
    as a slow client reads, this session no more than others.
    """

    def __init__(
        self, archive: Archive, place: Place, attributes: FileAttributes, spool: Spool, on_end: Callable[[ArchiveReader], None]
    ) -> None:
        self.size = attributes.size
        self._attributes = attributes
        self._archive = archive
        self._path = place.path
        self._spool = spool
        self._on_end = on_end
        self._size = 0
        self._begun = self._ended = False
        self._failure: OctopusError | None = None
        self._grown = asyncio.Event()
        self._fetching: asyncio.Task[None] | None = None
        self._block = (0, b"")
        self._turn = asyncio.Lock()
        self._passed = PassedBytes()
        self._whole = False

    async def open(self) -> None:
        """Begin to fetch it. Raise FileFailure, ContainerUnavailable."""
        self._fetching = asyncio.get_running_loop().create_task(self._fetch(), name="fetch a file")
        while not (self._begun or self._ended):
            await self._more()
        if self._failure:
            raise self._failure

    async def read(self, offset: int, size: int) -> bytes:
        """See ``FileReader.read``."""
        async with self._turn:
            while self._size < offset + size and not self._ended:
                await self._more()
            if self._failure and self._size < offset + size:
                raise self._failure
            data = await self._at(offset, size)
            self._passed.add(offset, data)
            if len(data) < size:
                self._whole = self._whole or (self._passed.ordered and self._passed.end >= self._size)
            return data

    async def stat(self) -> FileAttributes:
        """See ``FileReader.stat``; as it was when it was opened: the engine cannot tell of an open file."""
        return self._attributes

    async def close(self) -> Passed:
        """See ``FileReader.close``."""
        if self._fetching:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})
            self._fetching = None
            with suppress(OSError):
                self._spool.close()
        self._on_end(self)
        return self._passed.result(complete=self._whole)

    async def _fetch(self) -> None:
        try:
            async with self._archive.get(self._path) as found:
                async for piece in found:
                    if isinstance(piece, TarEntry):
                        if self._begun or piece.kind not in (b"0", b"\0"):
                            raise FileFailure(notice="not a regular file")
                        self._begun = True
                    else:
                        await self._spool.write(self._size, piece)
                        self._size += len(piece)
                    self._grown.set()
        except OctopusError as error:
            self._failure = error
        finally:
            self._ended = True
            self._grown.set()

    async def _more(self) -> None:
        self._grown.clear()
        await self._grown.wait()

    async def _at(self, offset: int, size: int) -> bytes:
        start, block = self._block
        if not start <= offset <= offset + size <= start + len(block):
            start, block = self._block = offset, await self._spool.read(offset, min(max(size, _BLOCK), max(self._size - offset, 0)))
        return block[offset - start : offset - start + size]
