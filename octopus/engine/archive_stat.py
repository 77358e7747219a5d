"""Stat through the archive API: a HEAD tells all but the owner, whom the header of a GET tells at twenty times its price."""

from __future__ import annotations

import tarfile
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from octopus.core.files import FileAttributes, FileFailure, NoSuchFile
from octopus.engine.archive import Archive
from octopus.engine.archive_changes import attributes
from octopus.engine.tar_stream import TarEntry

_Key = tuple[bytes, int, int, int]


class ArchiveStat:
    """Remembers the owners of ``capacity`` files for ``seconds``, as long as nothing else of theirs changes."""

    def __init__(
        self, archive: Archive, clock: Callable[[], float] = time.monotonic, *, seconds: float = 5.0, capacity: int = 10_000
    ) -> None:
        self._archive = archive
        self._clock = clock
        self._seconds = seconds
        self._capacity = capacity
        self._owners: OrderedDict[_Key, tuple[float, int, int]] = OrderedDict()

    async def ownerless(self, path: bytes) -> TarEntry | None:
        """Return what is there, None for nothing; where a link leads, if nobody else can say it, by the link itself."""
        try:
            found = await self._archive.stat(path)
        except FileFailure:  # a loop of links
            found = await self._archive.first(path)
        if found is not None and found.kind == tarfile.SYMTYPE and not found.link:
            found = await self._archive.first(path)
        return found

    async def find(self, path: bytes) -> FileAttributes | None:
        """Return the attributes, None for nothing."""
        try:
            found = await self._archive.stat(path)
        except FileFailure:
            return attributes(await self._archive.first(path))
        if found is None:
            return None
        key = (path, found.mode, found.size, found.mtime)
        known = self._owners.get(key)
        if known is None or known[0] < self._clock():
            entry = await self._archive.first(path)
            self._remember(key, entry)
            return attributes(entry)
        return msgspec.structs.replace(attributes(found), uid=known[1], gid=known[2])

    async def get(self, path: bytes) -> FileAttributes:
        """Return the attributes. Raise NoSuchFile."""
        found = await self.find(path)
        if found is None:
            raise NoSuchFile
        return found

    def forget(self) -> None:
        """Something was changed."""
        self._owners.clear()

    def _remember(self, key: _Key, entry: TarEntry) -> None:
        self._owners[key] = (self._clock() + self._seconds, entry.uid, entry.gid)
        if len(self._owners) > self._capacity:
            self._owners.popitem(last=False)
