"""ContainerFiles without a shell: by the archive API, which acts as root, within what owner and mode bits grant the user."""

from __future__ import annotations

import posixpath
import tarfile
import time
from collections.abc import AsyncIterator, Callable

from octopus.core.files import (
    AttributeChanges,
    FileAttributes,
    FileDenied,
    FileEntry,
    FileExists,
    FileFailure,
    FileUnsupported,
    IsADirectory,
    NoSuchFile,
    NotADirectory,
    Place,
    Space,
    WriteMode,
)
from octopus.core.ports import FileReader, FileWriter
from octopus.engine.archive import Archive
from octopus.engine.archive_changes import ArchiveChanges, attributes, header
from octopus.engine.archive_reader import ArchiveReader
from octopus.engine.archive_stat import ArchiveStat
from octopus.engine.archive_walk import walk
from octopus.engine.archive_writer import ArchiveWriter, Spool, changed
from octopus.engine.file_answers import is_temporary
from octopus.engine.file_rights import READ, WRITE, Rights
from octopus.engine.limits import FileLimits
from octopus.engine.tar_stream import TarEntry

UMASK = 0o022
BLIND = (b"/proc", b"/sys", b"/dev")
"""What every container has mounted and the archive API does not see."""


class ArchiveFiles:
    """The files of ``container`` for the user with these ``rights``; ``blind`` are mount points that the engine does not see."""

    has_shell = False

    def __init__(
        self,
        archive: Archive,
        container: str,
        home: bytes,
        rights: Rights,
        blind: tuple[bytes, ...],
        limits: FileLimits,
        why: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.container = container
        self.home = home
        self._archive = archive
        self._rights = rights
        self._blind = (*BLIND, *blind)
        self._limits = limits
        self._why = why
        self._now = now
        self._changes = ArchiveChanges(archive, why, now)
        self._stat = ArchiveStat(archive)
        self._writers: dict[bytes, ArchiveWriter] = {}
        self._readers: set[ArchiveReader] = set()

    async def resolve(self, path: bytes, *, follow: bool = True, ahead: bool = False, new: bool = False) -> Place:
        """See ``ContainerFiles.resolve``: each name in turn, as the kernel walks."""
        at, there = await walk(self._stat, self._rights, self._seen, posixpath.join(self.home, path), follow=follow)
        found = await self._stat.find(at) if there else None
        if found is None and at in self._writers:
            found = await self._writers[at].stat()
        return Place(asked=path, path=at, attributes=found)

    async def entries(self, place: Place) -> AsyncIterator[tuple[FileEntry, ...]]:
        """See ``ContainerFiles.entries``: the engine sends all below it, of which only the first level is kept."""
        listed = await self._list(self._seen(place.path))
        for at in range(0, len(listed), self._limits.entries):
            yield tuple([await self._entry(place.path, name, found) for name, found in listed[at : at + self._limits.entries]])

    async def _list(self, path: bytes) -> list[tuple[bytes, TarEntry]]:
        """Return the headers of what is in a directory, by name. While the engine sends it nothing else can be asked of it."""
        listed: list[tuple[bytes, TarEntry]] = []
        scanned = 0
        async with self._archive.get(path) as found:
            async for one in found:
                if isinstance(one, bytes):
                    scanned += len(one)
                else:
                    parts = [part for part in one.name.split(b"/") if part not in (b"", b".")]
                    depth = len(parts) - (path != b"/")
                    if depth < 1:
                        self._check_listed(attributes(one))
                    elif depth == 1 and not is_temporary(parts[-1]):
                        listed.append((parts[-1], one))
                if scanned > self._limits.scan or len(listed) > self._limits.names:
                    raise FileUnsupported(notice="that directory holds too much to be listed without a shell in the image")
        return listed

    async def _entry(self, directory: bytes, name: bytes, found: TarEntry) -> FileEntry:
        """Return the entry of a name; what is another name of a file sent before tells nothing of it."""
        linked = found.kind == tarfile.LNKTYPE
        return FileEntry(name=name, attributes=await self._attributes(posixpath.join(directory, name)) if linked else attributes(found))

    async def read_link(self, place: Place) -> bytes:
        """See ``ContainerFiles.read_link``."""
        entry = await self._archive.first(self._seen(place.path))
        if entry.kind != tarfile.SYMTYPE:
            raise FileFailure(notice="invalid argument")
        if not entry.link:
            raise FileUnsupported(notice="this link is not readable without a shell in the image")
        return entry.link

    async def open_read(self, place: Place) -> FileReader:
        """See ``ContainerFiles.open_read``."""
        found = self._plain(await self._attributes(place.path))
        self._rights.check(found, READ)
        reader = ArchiveReader(self._archive, place, found, self._spool(), self._readers.discard)
        self._readers.add(reader)
        try:
            await reader.open()
        except BaseException:
            await reader.close()
            raise
        return reader

    async def open_write(self, place: Place, mode: WriteMode) -> FileWriter:
        """See ``ContainerFiles.open_write``."""
        former = await self._stat.find(self._seen(place.path))
        if former is None:
            if not mode.create:
                raise NoSuchFile
            await self._check_entry(place.path, None)
        else:
            self._plain(former)
            if mode.exclusive:
                raise FileExists
            self._rights.check(former, WRITE)
        made = self._made(0o100000 | ((0o666 if mode.mode is None else mode.mode) & 0o7777 & ~UMASK))
        spool = self._spool()
        wanted = changed(former, AttributeChanges(size=0, atime=0, mtime=0)) if former else made
        try:
            if former and not mode.truncate:
                wanted = changed(wanted, AttributeChanges(size=await self._fill(spool, place.path)))
        except BaseException:
            spool.close()
            raise

        async def commit(fd: int, final: FileAttributes) -> None:
            await self._changes.send(place.path, fd, final, exclusive=mode.exclusive)

        writer = ArchiveWriter(spool, wanted, commit, self._ended, append=mode.append)
        self._writers[place.path] = writer
        return writer

    async def change(self, place: Place, changes: AttributeChanges) -> None:
        """See ``ContainerFiles.change``: a directory is sent again, a file is linked with its new attributes."""
        if place.path in self._writers:
            return await self._writers[place.path].change(changes)
        found = attributes(await self._archive.first(self._seen(place.path)))
        if changes.size is not None:
            await self._resize(place, changes.size)
        if changes.uid is not None and changes.gid is not None:
            self._rights.check_give(found, changes.uid, changes.gid)
        if changes.mode is not None or changes.mtime is not None:
            self._rights.check_owner(found)
        wanted = changed(found, changes)
        self._stat.forget()
        if found.directory:
            await self._changes.put(b"/", header(place.path, wanted, tarfile.DIRTYPE))
        elif found.regular:
            await self._changes.alter(place.path, wanted)
        else:
            raise FileUnsupported(notice=self._why)
        return None

    async def make_directory(self, place: Place, mode: int | None = None) -> None:
        """See ``ContainerFiles.make_directory``."""
        await self._new(place.path)
        made = self._made(0o040000 | ((0o777 if mode is None else mode) & 0o7777 & ~UMASK))
        await self._changes.put(posixpath.dirname(place.path), header(posixpath.basename(place.path), made, tarfile.DIRTYPE))

    async def remove_directory(self, place: Place) -> None:
        """See ``ContainerFiles.remove_directory``: not to be had, the engine would take along what was put there meanwhile."""
        raise FileUnsupported(notice=self._why)

    async def remove(self, place: Place) -> None:
        """See ``ContainerFiles.remove``."""
        found = await self._attributes(place.path)
        if found.directory:
            raise IsADirectory
        await self._check_entry(place.path, found)
        await self._changes.remove(place.path)

    async def rename(self, old: Place, new: Place, *, replace: bool) -> None:
        """See ``ContainerFiles.rename``: files and links only."""
        found = attributes(await self._archive.first(self._seen(old.path)))
        if found.directory:
            raise FileUnsupported(notice=self._why)
        await self._check_entry(old.path, found)
        taken = await self._stat.find(self._seen(new.path))
        if taken is not None and not replace:
            raise FileExists
        if taken is not None and taken.directory:
            raise IsADirectory
        await self._check_entry(new.path, taken)
        self._stat.forget()
        await self._changes.rename(old.path, new.path, found)

    async def symlink(self, text: bytes, place: Place) -> None:
        """See ``ContainerFiles.symlink``."""
        await self._new(place.path)
        entry = header(posixpath.basename(place.path), self._made(0o120777), tarfile.SYMTYPE, text)
        await self._changes.put(posixpath.dirname(place.path), entry)

    async def link(self, old: Place, new: Place) -> None:
        """See ``ContainerFiles.link``."""
        found = attributes(await self._archive.first(self._seen(old.path)))
        if found.directory:
            raise FileDenied
        self._rights.check_owner(found)
        await self._new(new.path)
        await self._changes.put(b"/", header(new.path, found, tarfile.LNKTYPE, old.path))

    async def space(self, place: Place) -> Space:
        """See ``ContainerFiles.space``."""
        raise FileUnsupported(notice=self._why)

    async def aclose(self) -> None:
        """Abort what is open."""
        for writer in list(self._writers.values()):
            await writer.abort()
        for reader in list(self._readers):
            await reader.close()

    def _spool(self) -> Spool:
        return Spool(self._limits.spool_directory, self._limits.spool)

    def _seen(self, path: bytes) -> bytes:
        """Return the path, unless it lies where the engine sees something else than the container does."""
        for mount in self._blind:
            if path == mount or path.startswith(mount + b"/"):
                shown = mount.decode("utf-8", "backslashreplace")
                raise FileUnsupported(notice=f"{shown} cannot be reached in an image without a shell")
        return path

    async def _attributes(self, path: bytes) -> FileAttributes:
        return await self._stat.get(self._seen(path))

    async def _check_entry(self, path: bytes, found: FileAttributes | None) -> None:
        self._rights.check_entry(await self._attributes(posixpath.dirname(path)), found)

    async def _new(self, path: bytes) -> None:
        """Raise unless a name may be made there and is free."""
        await self._changes.check_free(self._seen(path))
        await self._check_entry(path, None)

    def _check_listed(self, directory: FileAttributes) -> None:
        if not directory.directory:
            raise NotADirectory
        self._rights.check(directory, READ)

    def _made(self, mode: int) -> FileAttributes:
        now = int(self._now())
        return FileAttributes(mode=mode, size=0, uid=self._rights.uid, gid=self._rights.gid, atime=now, mtime=now)

    @staticmethod
    def _plain(found: FileAttributes) -> FileAttributes:
        if found.directory:
            raise IsADirectory
        if not found.regular:
            raise FileFailure(notice="not a regular file")
        return found

    async def _fill(self, spool: Spool, path: bytes) -> int:
        """Copy what is there into the spool, to be changed; return its size."""
        size = 0
        async with self._archive.get(path) as found:
            async for one in found:
                if isinstance(one, bytes):
                    await spool.write(size, one)
                    size += len(one)
        return size

    async def _resize(self, place: Place, size: int) -> None:
        writer = await self.open_write(place, WriteMode(create=False, truncate=False))
        try:
            await writer.change(AttributeChanges(size=size))
            await writer.close()
        finally:
            await writer.abort()

    def _ended(self, writer: ArchiveWriter) -> None:
        self._writers = {path: other for path, other in self._writers.items() if other is not writer}
