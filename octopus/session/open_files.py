"""What a client has open in a container: a file or a directory, and what of it the audit trail is told in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from octopus.core.errors import OctopusError
from octopus.core.files import AttributeChanges, FileAttributes, FileDenied, FileEntry, FileFailure, Passed, PassedBytes, Place
from octopus.core.paths import escaped
from octopus.core.ports import FileReader, FileWriter
from octopus.session.file_copies import FileCopy
from octopus.session.file_trail import FileTrail


class Written:
    """A file open for both, as its reader: it reads what ``writer`` has written."""

    def __init__(self, writer: FileWriter) -> None:
        self.size = -1  # it may become any
        self._writer = writer
        self._passed = PassedBytes()
        self._whole = False

    async def read(self, offset: int, size: int) -> bytes:
        """See ``FileReader.read``."""
        data = await self._writer.read(offset, size)
        self._passed.add(offset, data)
        if len(data) < size:
            self._whole = self._whole or (self._passed.ordered and self._passed.end >= offset + len(data))
        return data

    async def stat(self) -> FileAttributes:
        """See ``FileReader.stat``."""
        return await self._writer.stat()

    async def close(self) -> Passed:
        """See ``FileReader.close``."""
        return self._passed.result(complete=self._whole)


class OpenFile:
    """A file that is read, written or both: given ``reader``, ``writer``, or a writer and how to read what it wrote (``Written``).

    ``sent`` and ``received`` are the copies of what is read and what is written, where such are kept. Every call may raise
    RecordingUnavailable then.
    """

    def __init__(
        self,
        place: Place,
        trail: FileTrail,
        *,
        reader: FileReader | None,
        writer: FileWriter | None,
        sent: FileCopy | None = None,
        received: FileCopy | None = None,
    ) -> None:
        self._place = place
        self._trail = trail
        self._sent = sent
        self._received = received
        self._reader = reader
        self._writer = writer
        self._changed: dict[str, int] = {}
        self._lost: OctopusError | None = None
        self._closed = False

    @property
    def path(self) -> bytes:
        """Where it is, resolved."""
        return self._place.path

    async def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes, b"" at the end. Raise FileFailure."""
        if self._reader is None:
            raise FileDenied("not open for reading")
        data = await self._reader.read(offset, size)
        if self._sent:
            await self._sent.put(offset, data)
        return data

    async def write(self, offset: int, data: bytes) -> None:
        """Write. Raise FileFailure: the file is lost then, also to a client that closes it in spite of that."""
        writer = self._writable()
        if self._received:
            await self._received.put(offset, data)
        try:
            await writer.write(offset, data)
        except FileFailure as error:
            self._lost = self._lost or error
            raise

    async def stat(self) -> FileAttributes:
        """Return the attributes as they are now. Raise FileFailure."""
        if self._reader and not self._writer:
            return await self._reader.stat()
        return await self._writable().stat()

    async def change(self, changes: AttributeChanges) -> None:
        """Set attributes. Raise FileFailure."""
        await self._writable().change(changes)
        self._changed |= changed(changes)
        if self._received and changes.size is not None:
            await self._received.cut(changes.size)

    async def close(self) -> None:
        """Close it; returns once an upload is in its place and on its way to the trail. Raise FileFailure."""
        self._closed = True
        await self._trail.finish(self._finish)

    async def abort(self) -> None:
        """Close it without its end: nothing is left of a new file. Nothing happens after ``close``."""
        if self._closed:
            return
        self._closed = True
        await self._close_reader()
        if self._writer:
            data = self._data(await self._writer.abort()) | {"reason": "cut off"}
            await self._trail.note("file.uploaded", data | await _kept(self._received))

    async def _close_reader(self) -> None:
        if self._reader:
            passed = await self._reader.close()
            # Many clients stop at the size they were told, before they meet the end.
            complete = passed.complete or (passed.ordered and passed.size == self._reader.size)
            if passed.size or complete:
                data = self._data(msgspec.structs.replace(passed, complete=complete))
                await self._trail.note("file.downloaded", data | await _kept(self._sent))

    async def _finish(self) -> None:
        try:
            await self._close_reader()
            if self._sent:
                await self._sent.finish()
        except OctopusError as error:
            self._lost = self._lost or error
            if not self._writer:
                raise
        if self._writer:
            await self._finish_upload()

    async def _finish_upload(self) -> None:
        writer = self._writable()
        try:
            if self._lost:
                raise self._lost
            if self._received:
                await self._received.finish()
            passed = await writer.close()
        except OctopusError as error:
            lost = msgspec.structs.replace(await writer.abort(), complete=False)
            await self._trail.note("file.uploaded", self._data(lost) | {"reason": error.notice} | await _kept(self._received))
            raise
        await self._trail.note("file.uploaded", self._data(passed) | self._changed | await _kept(self._received))

    def _writable(self) -> FileWriter:
        if self._writer is None:
            raise FileDenied("not open for writing")
        return self._writer

    def _data(self, passed: Passed) -> dict[str, Any]:
        return named(self._place) | msgspec.to_builtins(passed)  # type: ignore[no-any-return]


class OpenDirectory:
    """A directory that is being listed: its entries a few at a time."""

    def __init__(self, batches: AsyncIterator[tuple[FileEntry, ...]]) -> None:
        self._batches = batches
        self._waiting: list[FileEntry] = []
        self._at_end = False

    async def fill(self) -> None:
        """Fetch entries where none are at hand. Raise FileFailure."""
        while not (self._waiting or self._at_end):
            batch = await anext(self._batches, None)
            self._at_end = batch is None
            self._waiting = list(batch or ())

    async def next(self, limit: int) -> list[FileEntry]:
        """Return up to ``limit`` entries, none at the end. Raise FileFailure."""
        await self.fill()
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return taken

    async def close(self) -> None:
        """Fetch no more."""
        self._at_end = True
        close = getattr(self._batches, "aclose", None)
        if close:
            await close()


async def _kept(copy: FileCopy | None) -> dict[str, Any]:
    """Return what the trail is told of a copy, complete from now on."""
    return await copy.settle() if copy else {}


def named(place: Place) -> dict[str, Any]:
    """Return a place as the trail names it: the path as it was asked for, and where it led."""
    return {"asked": escaped(place.asked), "path": escaped(place.path)}


def changed(changes: AttributeChanges) -> dict[str, int]:
    """Return what changes, by its name."""
    return {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not None}
