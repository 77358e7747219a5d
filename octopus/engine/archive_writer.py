"""A file open for writing through the archive API: gathered in a spool file here, because its size must be known first."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

from octopus.core.errors import OctopusError
from octopus.core.files import AttributeChanges, FileAttributes, FileFailure, NoSpace, Passed, PassedBytes

_T = TypeVar("_T")

Commit = Callable[[int, FileAttributes], Awaitable[None]]


class Spool:
    """A nameless file of up to ``limit`` bytes in ``directory`` ("": the usual one); it vanishes with the process."""

    def __init__(self, directory: str, limit: int) -> None:
        self._limit = limit
        try:
            self._file = tempfile.TemporaryFile(dir=directory or None, buffering=0)  # noqa: SIM115  closed by close()
        except OSError as error:
            raise NoSpace(f"spool: {error}", notice="the gateway's spool cannot be used") from error
        self.fd = self._file.fileno()

    async def write(self, offset: int, data: bytes) -> None:
        """Write all of it. Raise NoSpace."""
        if offset + len(data) > self._limit:
            raise self._too_large()
        await self._do(self._write, offset, data)

    async def read(self, offset: int, size: int) -> bytes:
        """Return what is there. Raise NoSpace."""
        return await self._do(os.pread, self.fd, size, offset) if size else b""

    async def truncate(self, size: int) -> None:
        """Set the size. Raise NoSpace."""
        if size > self._limit:
            raise self._too_large()
        await self._do(os.ftruncate, self.fd, size)

    def close(self) -> None:
        """Let go of it."""
        self._file.close()

    def _write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            done = os.pwrite(self.fd, view, offset)
            view, offset = view[done:], offset + done

    def _too_large(self) -> NoSpace:
        return NoSpace(notice=f"files of more than {self._limit} bytes cannot be sent to or from an image without a shell")

    @staticmethod
    async def _do(work: Callable[..., _T], *arguments: object) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            notice = "the gateway's spool is full" if full else "the gateway's spool cannot be used"
            raise NoSpace(f"spool: {error}", notice=notice) from error


class ArchiveWriter:
    """Writes to the spool; ``commit`` sends it, given the spool's descriptor and the attributes the file is to have."""

    def __init__(
        self, spool: Spool, attributes: FileAttributes, commit: Commit, on_end: Callable[[ArchiveWriter], None], *, append: bool
    ) -> None:
        self._spool = spool
        self._attributes = attributes
        self._commit = commit
        self._on_end = on_end
        self._append = append
        self._turn = asyncio.Lock()
        self._passed: PassedBytes | None = None
        self._result: Passed | None = None
        self._failure: OctopusError | None = None

    async def write(self, offset: int, data: bytes) -> None:
        """See ``FileWriter.write``."""
        async with self._turn:
            self._check()
            if not data:
                return
            offset = self._attributes.size if self._append else offset
            try:
                await self._spool.write(offset, data)
            except NoSpace as error:
                self._failure = error
                raise
            self._passed = self._passed or PassedBytes(offset if self._attributes.size else 0)
            self._passed.add(offset, data)
            self._resize(max(self._attributes.size, offset + len(data)))

    async def read(self, offset: int, size: int) -> bytes:
        """See ``FileWriter.read``."""
        async with self._turn:
            self._check()
            return await self._spool.read(offset, min(size, max(self._attributes.size - offset, 0)))

    async def stat(self) -> FileAttributes:
        """See ``FileWriter.stat``."""
        return self._attributes

    async def change(self, changes: AttributeChanges) -> None:
        """See ``FileWriter.change``."""
        async with self._turn:
            self._check()
            if changes.size is not None:
                await self._spool.truncate(changes.size)
            self._attributes = changed(self._attributes, changes)

    async def close(self) -> Passed:
        """See ``FileWriter.close``."""
        async with self._turn:
            if self._result is None:
                try:
                    self._check()
                    await self._commit(self._spool.fd, self._attributes)
                except BaseException:
                    self._end(complete=False)
                    raise
                self._end(complete=True)
            return self._so_far(complete=True) if self._result is None else self._result

    async def abort(self) -> Passed:
        """See ``FileWriter.abort``."""
        async with self._turn:
            if self._result is None:
                self._end(complete=False)
            return self._so_far(complete=False) if self._result is None else self._result

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._result is not None:
            raise FileFailure(notice="the file is closed")

    def _end(self, *, complete: bool) -> None:
        self._result = self._so_far(complete=complete)
        with suppress(OSError):
            self._spool.close()
        self._on_end(self)

    def _so_far(self, *, complete: bool) -> Passed:
        return (self._passed or PassedBytes()).result(complete=complete)

    def _resize(self, size: int) -> None:
        self._attributes = msgspec.structs.replace(self._attributes, size=size)


def changed(attributes: FileAttributes, changes: AttributeChanges) -> FileAttributes:
    """Return the attributes as they are after the changes."""
    given = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not None}
    if changes.mode is not None:
        given["mode"] = stat.S_IFMT(attributes.mode) | changes.mode
    return msgspec.structs.replace(attributes, **given)
