"""A container's files as one person may use them: each path resolved, each operation decided on, each change on the trail.

Whatever protocol the client speaks, it is served through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from octopus.core.errors import ContainerUnavailable, OctopusError
from octopus.core.files import (
    AttributeChanges,
    FileAttributes,
    FileDenied,
    FileEntry,
    FileFailure,
    FileUnsupported,
    NoSuchFile,
    NotADirectory,
    Place,
    Space,
    WriteMode,
)
from octopus.core.paths import MAX_PATH, PathRule, absolute, escaped, parent
from octopus.core.ports import ContainerFiles, FileReader, FileWriter
from octopus.core.types import FileRights, RequestKind
from octopus.session.file_copies import FileCopies
from octopus.session.file_trail import FileTrail
from octopus.session.open_files import OpenDirectory, OpenFile, Written, changed, named

DOWNLOAD = frozenset({RequestKind.DOWNLOAD})
UPLOAD = frozenset({RequestKind.UPLOAD})
EITHER = DOWNLOAD | UPLOAD
"""What looking at attributes takes: who may only upload has to find the directory."""

_Opened = TypeVar("_Opened", OpenFile, OpenDirectory)


class FileForbidden(FileDenied):
    """The rule does not allow it; the notice says what. The container was not asked to do it."""


def _found(place: Place) -> FileAttributes:
    if place.attributes is None:
        raise NoSuchFile
    return place.attributes


def _below(place: Place, name: bytes) -> bytes:
    return place.path.rstrip(b"/") + b"/" + name


class FileAccess:
    """The files of one session. Every operation may raise FileFailure (FileForbidden where the rule says no),
    ContainerUnavailable, AuditUnavailable and RecordingUnavailable; ``max_open`` files and directories may be open at a time.

    A rule's ``paths`` hold for what a path leads to. Directories above them may be looked at and listed, for their names that
    lead there.
    """

    def __init__(self, files: ContainerFiles, rights: FileRights, trail: FileTrail, copies: FileCopies, *, max_open: int = 256) -> None:
        self._files = files
        self._trail = trail
        self._copies = copies
        self._max_open = max_open
        self._rule = PathRule(rights.paths)
        self._narrow = bool(rights.paths)
        self._granted = frozenset(
            kind for kind, has in ((RequestKind.DOWNLOAD, rights.download), (RequestKind.UPLOAD, rights.upload)) if has
        )
        self._open: set[OpenFile | OpenDirectory] = set()

    @property
    def in_use(self) -> bool:
        """Whether a file is open: to leave now is to leave off in the middle."""
        return any(isinstance(opened, OpenFile) for opened in self._open)

    def absolute(self, path: bytes) -> bytes:
        """Return the path from the root, by its names alone: this tells nothing of what is there."""
        return absolute(path, self._files.home)

    async def stat(self, path: bytes, *, follow: bool = True) -> FileAttributes:
        """Return the attributes of what is there, a link's own unless ``follow``."""
        place = await self._place("stat", path, EITHER, follow=follow, on_the_way=True)
        return _found(place)

    async def look(self, path: bytes) -> FileAttributes | None:
        """Return the attributes of what is there, None where nothing is."""
        try:
            return await self.stat(path)
        except NoSuchFile:
            return None

    async def read_link(self, path: bytes) -> bytes:
        """Return what a link holds."""
        return await self._files.read_link(await self._place("readlink", path, DOWNLOAD, follow=False))

    async def space(self, path: bytes) -> Space:
        """Return the size of the file system there."""
        return await self._files.space(await self._place("statvfs", path, EITHER, on_the_way=True))

    async def open_directory(self, path: bytes) -> OpenDirectory:
        """Open a directory for listing; it has to be closed by ``close``."""
        place = await self._place("list", path, DOWNLOAD, on_the_way=True)
        if not _found(place).directory:
            raise NotADirectory
        directory = self._kept(OpenDirectory(self._entries(place)))
        try:
            await directory.fill()
            await self._trail.note("file.listed", named(place))
        except BaseException:
            await self.close(directory)
            raise
        return directory

    async def open_read(self, path: bytes) -> OpenFile:
        """Open a file for reading."""
        place = await self._place("read", path, DOWNLOAD, ahead=not self._narrow)
        return await self._opened(place, reader=partial(self._files.open_read, place))

    async def open_write(self, path: bytes, mode: WriteMode, *, read: bool = False) -> OpenFile:
        """Open a file for writing, and for reading too with ``read``. A link is not followed with ``exclusive``."""
        if read:
            await self._place("read", path, DOWNLOAD, follow=not mode.exclusive)
        new = mode.create and mode.truncate and not mode.exclusive
        place = await self._place("write", path, UPLOAD, follow=not mode.exclusive, new=new)
        return await self._opened(place, writer=partial(self._files.open_write, place, mode), read=read, append=mode.append)

    async def change(self, path: bytes, changes: AttributeChanges, *, follow: bool = True) -> None:
        """Set attributes; those of a link itself cannot be set."""
        place = await self._place("change", path, UPLOAD, follow=follow)
        if _found(place).symlink:
            raise FileUnsupported(notice="the attributes of a link itself cannot be set")
        await self._carry_out(partial(self._files.change, place, changes), "file.changed", named(place) | changed(changes))

    async def make_directory(self, path: bytes, mode: int | None = None) -> None:
        """Make a directory."""
        place = await self._place("mkdir", path, UPLOAD, follow=False)
        await self._carry_out(partial(self._files.make_directory, place, mode), "directory.created", named(place))

    async def remove_directory(self, path: bytes) -> None:
        """Remove an empty directory."""
        place = await self._place("rmdir", path, UPLOAD, follow=False)
        await self._carry_out(partial(self._files.remove_directory, place), "directory.removed", named(place))

    async def remove(self, path: bytes) -> None:
        """Remove a file or a link."""
        place = await self._place("remove", path, UPLOAD, follow=False)
        size = {"size": place.attributes.size} if place.attributes else {}
        await self._carry_out(partial(self._files.remove, place), "file.removed", named(place) | size)

    async def rename(self, old: bytes, new: bytes, *, replace: bool) -> None:
        """Rename what is at ``old``, itself where it is a link."""
        source = await self._place("rename", old, UPLOAD, follow=False)
        place = await self._place("rename", new, UPLOAD, follow=False)
        await self._check_moved("rename", source, place)
        data = {**named(source), "new_asked": escaped(place.asked), "new_path": escaped(place.path)}
        await self._carry_out(partial(self._files.rename, source, place, replace=replace), "file.renamed", data)

    async def symlink(self, text: bytes, path: bytes) -> None:
        """Make a symbolic link. What it will lead to has to be allowed as well: programs in the container follow it."""
        place = await self._place("symlink", path, UPLOAD, follow=False)
        await self._check_link("symlink", text, place)
        data = named(place) | {"link": "symbolic", "to": escaped(text)}
        await self._carry_out(partial(self._files.symlink, text, place), "file.linked", data)

    async def link(self, old: bytes, new: bytes) -> None:
        """Give a file another name. Both have to be allowed: the content would be within reach under the other."""
        source = await self._place("link", old, UPLOAD, follow=False)
        place = await self._place("link", new, UPLOAD, follow=False)
        await self._check_moved("link", source, place)
        data = named(place) | {"link": "hard", "to": escaped(source.path)}
        await self._carry_out(partial(self._files.link, source, place), "file.linked", data)

    async def close(self, opened: OpenFile | OpenDirectory) -> None:
        """Close what was opened here."""
        self._open.discard(opened)
        await opened.close()

    async def cancel(self, opened: OpenFile) -> None:
        """Close a file without its end: nothing is left of it where it was written anew."""
        self._open.discard(opened)
        await opened.abort()

    async def abort(self) -> None:
        """Close everything that is open; nothing is left of files that were written anew."""
        failure: OctopusError | None = None
        while self._open:
            opened = self._open.pop()
            try:
                await (opened.abort() if isinstance(opened, OpenFile) else opened.close())
            except OctopusError as error:  # the others have their end on the trail all the same
                failure = failure or error
        if failure:
            raise failure

    async def _place(
        self,
        operation: str,
        path: bytes,
        needs: frozenset[RequestKind],
        *,
        follow: bool = True,
        on_the_way: bool = False,
        ahead: bool = False,
        new: bool = False,
    ) -> Place:
        """Resolve a path and decide on where it leads. ``on_the_way``: directories that lead to what is allowed will do."""
        if b"\0" in path or len(path) > MAX_PATH:
            raise FileFailure("not a path", notice="that is no path a file can have")
        if needs.isdisjoint(self._granted):
            await self._refuse(operation, path, self.absolute(path))
        try:
            place = await self._files.resolve(path or b".", follow=follow, ahead=ahead, new=new)
        except FileFailure:
            if not self._allows(self.absolute(path), on_the_way=on_the_way):
                await self._refuse(operation, path, self.absolute(path))
            raise
        if not self._allows(place.path, on_the_way=on_the_way):
            await self._refuse(operation, path, place.path)
        return place

    def _allows(self, path: bytes, *, on_the_way: bool) -> bool:
        return self._rule.covers(path) or (on_the_way and self._rule.leads_to(path))

    async def _check_link(self, operation: str, text: bytes, place: Place) -> None:
        """Refuse a symbolic link that leads elsewhere, or may: where ``..`` leads is decided by other links, and by moving it."""
        target = absolute(text, parent(place.path))
        if self._narrow and b".." in text.split(b"/"):
            await self._refuse(operation, text, target)
        with suppress(NoSuchFile):  # a link may dangle
            await self._place(operation, target, UPLOAD)

    async def _check_moved(self, operation: str, source: Place, place: Place) -> None:
        """Refuse to give another name to what takes paths along that are not allowed: a link's, or those below a directory."""
        found = source.attributes
        if self._narrow and found and found.symlink:
            await self._check_link(operation, await self._files.read_link(source), place)
        for moved in (source, place) if found and found.directory else ():
            if not self._rule.covers_below(moved.path):
                await self._refuse(operation, moved.asked, moved.path)

    async def _refuse(self, operation: str, asked: bytes, path: bytes) -> None:
        data = {"operation": operation, "asked": escaped(asked), "path": escaped(path)}
        await self._trail.record("file.denied", data)
        raise FileForbidden(f"{operation} {data['path']}", notice=f"not allowed: {operation} {data['path']}")

    async def _carry_out(self, act: Callable[[], Coroutine[Any, Any, None]], event: str, data: dict[str, Any]) -> None:
        """Do it and write it down, both or, where it is known to fail, neither; the caller learns of it when it is durable."""

        async def both() -> None:
            try:
                await act()
            except ContainerUnavailable as error:  # nobody knows whether it was done
                await self._trail.record(event, data | {"complete": False, "reason": error.notice})
                raise
            await self._trail.record(event, data)

        await self._trail.finish(both)

    async def _opened(
        self,
        place: Place,
        *,
        reader: Callable[[], Coroutine[Any, Any, FileReader]] | None = None,
        writer: Callable[[], Coroutine[Any, Any, FileWriter]] | None = None,
        read: bool = False,
        append: bool = False,
    ) -> OpenFile:
        self._check_room()
        written = await writer() if writer else None
        opened = OpenFile(
            place,
            self._trail,
            reader=await reader() if reader else Written(written) if written and read else None,
            writer=written,
            sent=self._copies.open(),
            received=self._copies.open(append=append) if writer else None,
        )
        return self._kept(opened)

    async def _entries(self, place: Place) -> AsyncIterator[tuple[FileEntry, ...]]:
        async for batch in self._files.entries(place):
            await asyncio.sleep(0)  # other sessions of this process have their turn
            yield tuple(entry for entry in batch if self._allows(_below(place, entry.name), on_the_way=True))

    def _check_room(self) -> None:
        if len(self._open) >= self._max_open:
            raise FileFailure(f"{self._max_open} open", notice="too many files are open")

    def _kept(self, opened: _Opened) -> _Opened:
        self._check_room()
        self._open.add(opened)
        return opened
