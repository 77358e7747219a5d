"""Changes through the archive API: files appear whole, and removing works by an entry of a type that no engine knows.

A file is sent under a name of its own, hard-linked to its place, and the first name removed. The engine removes what has an
entry's name before it looks at the entry's type, and then refuses it; where an engine does otherwise, that is seen and told.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from octopus.core.errors import OctopusError
from octopus.core.files import FileAttributes, FileExists, FileFailure, FileUnsupported, IsADirectory
from octopus.engine.archive import Archive
from octopus.engine.file_answers import temporary
from octopus.engine.file_shell import new_mark
from octopus.engine.tar_stream import END, REMOVAL, TarEntry, padding

_TYPES = {
    tarfile.DIRTYPE: 0o040000,
    tarfile.SYMTYPE: 0o120000,
    tarfile.CHRTYPE: 0o020000,
    tarfile.BLKTYPE: 0o060000,
    tarfile.FIFOTYPE: 0o010000,
}
_REFUSED = "unhandled tar header"
_PIECE = 256 * 1024


def attributes(entry: TarEntry) -> FileAttributes:
    """Return what a header says; a tar holds one time and no count of links."""
    kind = _TYPES.get(entry.kind, 0o100000)
    size = len(entry.link) if entry.kind == tarfile.SYMTYPE else entry.size
    return FileAttributes(mode=kind | entry.mode, size=size, uid=entry.uid, gid=entry.gid, atime=entry.mtime, mtime=entry.mtime)


def header(path: bytes, wanted: FileAttributes, kind: bytes = tarfile.REGTYPE, link: bytes = b"") -> TarEntry:
    """Return the header that gives ``path`` these attributes; names are relative to where it is unpacked."""
    size = wanted.size if kind == tarfile.REGTYPE else 0
    return TarEntry(
        name=path.lstrip(b"/"),
        kind=kind,
        mode=wanted.mode & 0o7777,
        uid=wanted.uid,
        gid=wanted.gid,
        size=size,
        mtime=wanted.mtime,
        link=link.lstrip(b"/") if kind == tarfile.LNKTYPE else link,
    )


class ArchiveChanges:
    """Changes one container as root; whoever calls has checked what the user may. ``why`` says what cannot be done without a shell."""

    def __init__(self, archive: Archive, why: str, now: Callable[[], float] = time.time) -> None:
        self._archive = archive
        self._why = why
        self._now = now

    async def check_free(self, path: bytes) -> None:
        """Raise FileExists when something is there."""
        if await self._archive.stat(path) is not None:
            raise FileExists

    async def put(self, directory: bytes, *entries: TarEntry, content: Iterable[bytes] = ()) -> None:
        """Unpack entries, of which only the first may have content. Raise FileFailure."""
        heads = [entry.encode() for entry in entries]
        pad = padding(entries[0].size)

        def parts() -> Iterator[bytes]:
            yield heads[0]
            yield from content
            yield b"".join([pad, *heads[1:], END])

        size = sum(map(len, heads)) + entries[0].size + len(pad) + len(END)
        await self._archive.put(directory, parts(), size)

    async def move(self, directory: bytes, *entries: TarEntry, gone: bytes, content: Iterable[bytes] = ()) -> None:
        """Unpack entries and then remove ``gone``, all by one call: what is below it must be a file or a link. Raise FileFailure."""
        removal = TarEntry(name=posixpath.relpath(gone, directory), kind=REMOVAL)
        try:
            await self.put(directory, *entries, removal, content=content)
        except FileFailure as error:
            if isinstance(error, IsADirectory) or _REFUSED not in str(error).lower():
                raise
        if await self._archive.stat(gone) is not None:
            raise FileUnsupported(f"{gone!r} is still there", notice=self._why)

    async def remove(self, path: bytes) -> None:
        """Remove a file or a link, never a directory. Raise FileFailure."""
        await self.move(posixpath.dirname(path), gone=path)

    async def rename(self, old: bytes, new: bytes, found: FileAttributes) -> None:
        """Give a file or link another name; ``found`` are its attributes. Raise FileFailure."""
        await self.move(b"/", header(new, found, tarfile.LNKTYPE, old), gone=old)

    async def send(self, path: bytes, fd: int, wanted: FileAttributes, *, exclusive: bool) -> None:
        """Put the ``wanted.size`` bytes of the descriptor in a file's place. Raise FileFailure: then nothing is left of it."""
        directory, name = posixpath.split(path)
        meanwhile = temporary(new_mark())
        gone = posixpath.join(directory, meanwhile)
        wanted = wanted if wanted.mtime else _at(wanted, int(self._now()))
        if exclusive:
            await self.check_free(path)
        link = header(name, wanted, tarfile.LNKTYPE, meanwhile)
        try:
            await self.move(directory, header(meanwhile, wanted), link, gone=gone, content=_content(fd, wanted.size))
        except BaseException:
            with suppress(OctopusError):
                await self.remove(gone)
            raise

    async def alter(self, path: bytes, wanted: FileAttributes) -> None:
        """Set a file's attributes: the engine sets them on a hard link that is made, which is the same file. Raise FileFailure."""
        gone = posixpath.join(posixpath.dirname(path), temporary(new_mark()))
        await self.move(b"/", header(gone, wanted, tarfile.LNKTYPE, path), gone=gone)
        found = await self._archive.first(path)
        if (found.mode, found.uid, found.gid) != (wanted.mode & 0o7777, wanted.uid, wanted.gid):
            raise FileUnsupported(notice=self._why)


def _content(fd: int, size: int) -> Iterator[bytes]:
    """Yield what a descriptor holds; zeros where it should have become shorter."""
    at = 0
    while at < size:
        piece = os.pread(fd, min(_PIECE, size - at), at) or bytes(min(_PIECE, size - at))
        at += len(piece)
        yield piece


def _at(wanted: FileAttributes, now: int) -> FileAttributes:
    return FileAttributes(mode=wanted.mode, size=wanted.size, uid=wanted.uid, gid=wanted.gid, atime=now, mtime=now)
