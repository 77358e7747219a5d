"""ContainerFiles over the directories of this machine: the fake for who needs the port, and the oracle for who implements it."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import re
import secrets
import stat as modes
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from octopus.core.files import (
    AttributeChanges,
    DirectoryNotEmpty,
    FileAttributes,
    FileDenied,
    FileEntry,
    FileExists,
    FileFailure,
    IsADirectory,
    NoSpace,
    NoSuchFile,
    NotADirectory,
    Passed,
    PassedBytes,
    Place,
    Space,
    TooManyLinks,
    WriteMode,
)
from octopus.core.ports import ContainerFiles, FileReader, FileWriter
from octopus.core.types import Target

_KINDS = {
    errno.ENOENT: NoSuchFile,
    errno.EACCES: FileDenied,
    errno.EPERM: FileDenied,
    errno.EEXIST: FileExists,
    errno.ENOTDIR: NotADirectory,
    errno.EISDIR: IsADirectory,
    errno.ENOTEMPTY: DirectoryNotEmpty,
    errno.ELOOP: TooManyLinks,
    errno.ENOSPC: NoSpace,
}


@contextmanager
def told() -> Iterator[None]:
    """Tell an OSError as a FileFailure."""
    try:
        yield
    except OSError as error:
        raise _KINDS.get(error.errno or 0, FileFailure)(str(error)) from error


def attributes(found: os.stat_result) -> FileAttributes:
    """Return a stat as ours."""
    return FileAttributes(
        mode=found.st_mode,
        size=found.st_size,
        uid=found.st_uid,
        gid=found.st_gid,
        atime=int(found.st_atime),
        mtime=int(found.st_mtime),
        links=found.st_nlink,
    )


def alter(path: bytes | int, changes: AttributeChanges) -> None:
    """Set attributes."""
    if changes.size is not None:
        os.truncate(path, changes.size)
    if changes.uid is not None and changes.gid is not None:
        os.chown(path, changes.uid, changes.gid)
    if changes.mode is not None:
        os.chmod(path, changes.mode)
    if changes.atime is not None and changes.mtime is not None:
        os.utime(path, (changes.atime, changes.mtime))


class LocalReader:
    """An open file."""

    def __init__(self, path: bytes) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.size = os.fstat(self._fd).st_size
        self._passed = PassedBytes()
        self._whole = False
        self._result: Passed | None = None

    async def read(self, offset: int, size: int) -> bytes:
        """See ``FileReader.read``."""
        with told():
            data = os.pread(self._fd, size, offset) if offset < 2**63 else b""
        self._passed.add(offset, data)
        if len(data) < size:
            self._whole = self._whole or (self._passed.ordered and self._passed.end >= offset + len(data))
        return data

    async def stat(self) -> FileAttributes:
        """See ``FileReader.stat``."""
        return attributes(os.fstat(self._fd))

    async def close(self) -> Passed:
        """See ``FileReader.close``."""
        if self._result is None:
            os.close(self._fd)
            self._result = self._passed.result(complete=self._whole)
        return self._result


class LocalWriter:
    """An open file; ``place`` is b"" for one that is changed where it is."""

    def __init__(self, path: bytes, place: bytes, mode: int, files: LocalFiles, *, exclusive: bool, append: bool) -> None:
        self._path = path
        self._place = place
        self._mode = mode
        self._files = files
        self._exclusive = exclusive
        self._append = append
        self._fd = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if place else 0), 0o600)
        self._passed: PassedBytes | None = None
        self._changes: list[AttributeChanges] = []
        self._result: Passed | None = None

    async def write(self, offset: int, data: bytes) -> None:
        """See ``FileWriter.write``."""
        self._check()
        with told():
            offset = os.fstat(self._fd).st_size if self._append else offset
            os.pwrite(self._fd, data, offset)
        self._passed = self._passed or PassedBytes(0 if self._place else offset)
        self._passed.add(offset, data)

    async def read(self, offset: int, size: int) -> bytes:
        """See ``FileWriter.read``."""
        self._check()
        with told():
            return os.pread(self._fd, size, offset)

    async def stat(self) -> FileAttributes:
        """See ``FileWriter.stat``."""
        return attributes(os.fstat(self._fd))

    async def change(self, changes: AttributeChanges) -> None:
        """See ``FileWriter.change``."""
        self._check()
        if changes.size is not None:
            with told():
                os.truncate(self._fd, changes.size)
        self._changes.append(
            AttributeChanges(mode=changes.mode, uid=changes.uid, gid=changes.gid, atime=changes.atime, mtime=changes.mtime)
        )

    async def close(self) -> Passed:
        """See ``FileWriter.close``."""
        if self._result is None:
            with told():
                if self._place:
                    os.fchmod(self._fd, self._mode)
                for changes in self._changes:
                    alter(self._fd, changes)
                if self._place and self._exclusive:
                    os.link(self._path, self._place)
                    os.unlink(self._path)
                elif self._place:
                    os.replace(self._path, self._place)
            self._end(complete=True)
        return self._so_far()

    async def abort(self) -> Passed:
        """See ``FileWriter.abort``."""
        if self._result is None:
            if self._place:
                os.unlink(self._path)
            self._end(complete=False)
        return self._so_far()

    def _check(self) -> None:
        if self._result is not None:
            raise FileFailure(notice="the file is closed")

    def _end(self, *, complete: bool) -> None:
        os.close(self._fd)
        self._files.writers = {path: one for path, one in self._files.writers.items() if one is not self}
        self._result = (self._passed or PassedBytes()).result(complete=complete)

    def _so_far(self) -> Passed:
        return self._result or PassedBytes().result(complete=False)


class LocalFiles:
    """The files of this machine as the user who runs the tests; relative paths start at ``home``."""

    has_shell = True

    def __init__(self, home: bytes, container: str = "c0ffee") -> None:
        self.home = home
        self.container = container
        self.writers: dict[bytes, LocalWriter] = {}

    async def resolve(self, path: bytes, *, follow: bool = True, ahead: bool = False, new: bool = False) -> Place:
        """See ``ContainerFiles.resolve``."""
        whole = posixpath.join(self.home, path)
        with told():
            with contextlib.suppress(FileNotFoundError):
                os.lstat(whole)  # realpath takes file/.. for the directory; the kernel does not
            real = await self._real(whole, follow=follow)
            try:
                found: FileAttributes | None = attributes(os.lstat(real))
            except FileNotFoundError:
                found = await self.writers[real].stat() if real in self.writers else None
        return Place(asked=path, path=real, attributes=found)

    async def entries(self, place: Place) -> AsyncIterator[tuple[FileEntry, ...]]:
        """See ``ContainerFiles.entries``."""
        with told(), os.scandir(place.path) as found:
            shown = [one for one in found if not re.fullmatch(rb"\.octopus-[0-9a-f]{24}", one.name)]
            yield tuple(FileEntry(name=one.name, attributes=attributes(one.stat(follow_symlinks=False))) for one in shown)

    async def read_link(self, place: Place) -> bytes:
        """See ``ContainerFiles.read_link``."""
        with told():
            return os.readlink(place.path)

    async def open_read(self, place: Place) -> FileReader:
        """See ``ContainerFiles.open_read``."""
        with told():
            self._plain(place.path)
            return LocalReader(place.path)

    async def open_write(self, place: Place, mode: WriteMode) -> FileWriter:
        """See ``ContainerFiles.open_write``."""
        with told():
            there = os.path.lexists(place.path)
            permissions = (0o666 if mode.mode is None else mode.mode) & ~0o022
            if there:
                if mode.exclusive:
                    raise FileExists
                self._plain(place.path)
                permissions = os.stat(place.path).st_mode & 0o7777
            elif not mode.create:
                raise NoSuchFile
            new = not there or mode.truncate
            folder = posixpath.dirname(place.path)
            path = posixpath.join(folder, b".octopus-" + secrets.token_hex(12).encode()) if new else place.path
            writer = LocalWriter(path, place.path if new else b"", permissions, self, exclusive=mode.exclusive, append=mode.append)
        self.writers[place.path] = writer
        return writer

    async def change(self, place: Place, changes: AttributeChanges) -> None:
        """See ``ContainerFiles.change``."""
        if place.path in self.writers:
            return await self.writers[place.path].change(changes)
        with told():
            alter(place.path, changes)
        return None

    async def make_directory(self, place: Place, mode: int | None = None) -> None:
        """See ``ContainerFiles.make_directory``."""
        with told():
            os.mkdir(place.path)
            os.chmod(place.path, (0o777 if mode is None else mode) & ~0o022)

    async def remove_directory(self, place: Place) -> None:
        """See ``ContainerFiles.remove_directory``."""
        with told():
            os.rmdir(place.path)

    async def remove(self, place: Place) -> None:
        """See ``ContainerFiles.remove``."""
        with told():
            os.unlink(place.path)

    async def rename(self, old: Place, new: Place, *, replace: bool) -> None:
        """See ``ContainerFiles.rename``."""
        with told():
            if os.path.lexists(new.path) and not replace:
                raise FileExists
            os.replace(old.path, new.path)

    async def symlink(self, text: bytes, place: Place) -> None:
        """See ``ContainerFiles.symlink``."""
        with told():
            os.symlink(text, place.path)

    async def link(self, old: Place, new: Place) -> None:
        """See ``ContainerFiles.link``."""
        with told():
            os.link(old.path, new.path, follow_symlinks=False)

    async def space(self, place: Place) -> Space:
        """See ``ContainerFiles.space``."""
        with told():
            found = os.statvfs(place.path)
        return Space(
            block=found.f_frsize,
            blocks=found.f_blocks,
            free=found.f_bfree,
            available=found.f_bavail,
            inodes=found.f_files,
            inodes_free=found.f_ffree,
        )

    async def aclose(self) -> None:
        """Abort what is open."""
        for writer in list(self.writers.values()):
            await writer.abort()

    async def _real(self, path: bytes, *, follow: bool) -> bytes:
        for _ in range(40):
            folder, name = posixpath.split(path.rstrip(b"/") or b"/")
            if name in (b"", b".", b".."):
                return os.path.realpath(path, strict=True)
            real = os.path.realpath(folder, strict=True)
            if not os.path.isdir(real):
                raise NotADirectory
            here = posixpath.join(real, name)
            if not ((follow or path.endswith(b"/")) and os.path.islink(here)):
                return here
            path = posixpath.join(real, os.readlink(here))
        raise TooManyLinks

    @staticmethod
    def _plain(path: bytes) -> None:
        mode = os.lstat(path).st_mode
        if modes.S_ISDIR(mode):
            raise IsADirectory
        if not modes.S_ISREG(mode):
            raise FileFailure(notice="not a regular file")


class LocalFilesBackend:
    """Gives the files below ``home`` for every target; ``failure`` is raised instead when set."""

    def __init__(self, home: bytes) -> None:
        self.home = home
        self.failure: Exception | None = None
        self.opened: list[LocalFiles] = []

    @asynccontextmanager
    async def files(self, target: Target, user: str, token: str) -> AsyncIterator[ContainerFiles]:
        """See ``FilesBackend.files``."""
        if self.failure is not None:
            raise self.failure
        files = LocalFiles(self.home, target.clue.engine_id or "c0ffee")
        self.opened.append(files)
        try:
            yield files
        finally:
            await files.aclose()
