"""ContainerFiles where the image has a shell: every operation is done by the container's user (see files.sh)."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import msgspec

from octopus.core.errors import BadUpstream
from octopus.core.files import (
    AttributeChanges,
    FileAttributes,
    FileEntry,
    FileUnsupported,
    Place,
    Space,
    WriteMode,
)
from octopus.core.ports import FileReader, FileWriter
from octopus.engine.file_answers import MOST, attributes, entry, is_temporary, temporary
from octopus.engine.file_changes import DEFAULT_MODE, Opened, change_arguments, read_created
from octopus.engine.file_read_ahead import Found, ReadAhead
from octopus.engine.file_reader import ShellReader
from octopus.engine.file_shell import FileShell, new_mark
from octopus.engine.file_shells import FileShells
from octopus.engine.file_writer import ShellWriter
from octopus.engine.limits import FileLimits, faults
from octopus.engine.own_directories import OwnDirectories


class ShellFiles:
    """The files of ``container``. ``umask`` is that of the container's user."""

    has_shell = True

    def __init__(
        self, shells: FileShells, container: str, home: bytes, umask: int, agent: str, limits: FileLimits, clock: Callable[[], float]
    ) -> None:
        self.container = container
        self.home = home
        self._shells = shells
        self._umask = umask
        self._agent = agent
        self._limits = limits
        self._writers: dict[bytes, ShellWriter] = {}
        self._readers: set[ShellReader] = set()
        self._fetched: tuple[Place, asyncio.Future[bytes]] | None = None
        self._own = OwnDirectories()
        self._ahead = ReadAhead(self._look, clock, fresh=limits.fresh, most=limits.ahead, names=limits.listed)

    async def resolve(self, path: bytes, *, follow: bool = True, ahead: bool = False, new: bool = False) -> Place:
        """See ``ContainerFiles.resolve``."""
        whole = b"/" + posixpath.join(self.home, path).lstrip(b"/")  # some shells keep two
        self._fetched = None
        if new and (own := self._own.place(path, whole)):
            return own
        if ahead or new:
            self._ahead.drop()
        elif not self._writers and (found := await self._ahead.find(whole, follow=follow)):
            return Place(asked=path, path=found.path, attributes=found.attributes)
        mark = new_mark()
        if follow and ahead:
            said, rest = await self._shells.begin("FETCH", (b"%d" % self._limits.small,), whole, mark=mark)
            if said.startswith(b"/"):
                return self._begun(path, said.removesuffix(b"\n"), rest)
        else:
            said = await self._shells.quick("LOOK", (b"%d" % follow,), whole, mark=mark)
        line, _, real = said.partition(b"\n")
        there = None if line in (b"-", b"-w") else self._attributes(line)
        if there is None and real in self._writers:
            there = await self._writers[real].stat()
        return Place(asked=path, path=real, attributes=there, vacant=there is None and line == b"-w")

    async def entries(self, place: Place) -> AsyncIterator[tuple[FileEntry, ...]]:
        """See ``ContainerFiles.entries``; files that are not whole yet are not shown."""
        folder = posixpath.join(self.home, place.asked)
        self._ahead.listing(folder)
        mark = new_mark()
        records = (await self._shells.call("entries", place.path, mark, mark=mark)).split(mark + b"R")[1:]
        with faults(self._agent, "entries"):
            for at in range(0, len(records), self._limits.entries):
                found = (entry(record) for record in records[at : at + self._limits.entries])
                shown = tuple(one for one in found if not is_temporary(one.name))
                self._ahead.listed(folder, (one.name for one in shown))
                yield shown

    async def read_link(self, place: Place) -> bytes:
        """See ``ContainerFiles.read_link``."""
        return (await self._shells.call("read_link", place.path)).removesuffix(b"\n")

    async def open_read(self, place: Place) -> FileReader:
        """See ``ContainerFiles.open_read``."""
        self._ahead.drop()
        reader = ShellReader(self._shells, place, self._agent, self._limits, self._readers.discard)
        fetched, self._fetched = self._fetched, None
        if fetched and fetched[0] is place:
            reader.follow(fetched[1])
        else:
            await reader.open()
        self._readers.add(reader)
        return reader

    async def open_write(self, place: Place, mode: WriteMode) -> FileWriter:
        """See ``ContainerFiles.open_write``."""
        with self._ahead.changing():
            return await self._open_write(place, mode)

    async def _open_write(self, place: Place, mode: WriteMode) -> ShellWriter:
        permissions = (DEFAULT_MODE if mode.mode is None else mode.mode) & 0o7777 & ~self._umask
        found = place.attributes
        shell = await self._shells.get()
        if place.vacant and mode.create:
            folder, name = posixpath.split(place.path)
            meanwhile = posixpath.join(folder, temporary(new_mark()))
            opened = Opened(
                path=meanwhile, name=name, former=None, permissions=permissions, exclusive=mode.exclusive, append=mode.append, made=False
            )
            return self._writer(shell, opened, place.path)
        if found is None and not mode.create:
            await shell.call("check", place.path)
        if found is not None and not (mode.truncate or mode.exclusive):
            former = self._attributes((await shell.call("check", place.path)).rstrip(b"\n"))
            opened = Opened(path=place.path, name=b"", former=former, permissions=permissions, append=mode.append)
        else:
            opened = await self._create(shell, place.path, mode, permissions)
        return self._writer(shell, opened, place.path)

    async def change(self, place: Place, changes: AttributeChanges) -> None:
        """See ``ContainerFiles.change``."""
        if place.path in self._writers:
            self._own.forget()
            return await self._writers[place.path].change(changes)
        await self._alter("change", place.path, *change_arguments(changes))

    async def make_directory(self, place: Place, mode: int | None = None) -> None:
        """See ``ContainerFiles.make_directory``."""
        permissions = b"" if mode is None else b"%04o" % (mode & 0o7777 & ~self._umask)
        with self._ahead.changing():
            await self._shells.call("make_directory", place.path, permissions)
        if mode is None or mode & ~self._umask & 0o300 == 0o300:
            self._own.made(place.path)

    async def remove_directory(self, place: Place) -> None:
        """See ``ContainerFiles.remove_directory``."""
        await self._alter("remove_directory", place.path)

    async def remove(self, place: Place) -> None:
        """See ``ContainerFiles.remove``."""
        await self._alter("remove", place.path)

    async def rename(self, old: Place, new: Place, *, replace: bool) -> None:
        """See ``ContainerFiles.rename``."""
        await self._alter("rename", old.path, new.path, b"%d" % replace)

    async def symlink(self, text: bytes, place: Place) -> None:
        """See ``ContainerFiles.symlink``."""
        await self._alter("symlink", text, place.path)

    async def link(self, old: Place, new: Place) -> None:
        """See ``ContainerFiles.link``."""
        await self._alter("link", old.path, new.path)

    async def space(self, place: Place) -> Space:
        """See ``ContainerFiles.space``."""
        numbers = (await self._shells.call("space", place.path)).split()
        if len(numbers) != 6 or not all(number.isdigit() and len(number) <= 20 for number in numbers):
            raise FileUnsupported(notice="this image cannot tell how much space there is")
        block, blocks, free, available, inodes, inodes_free = (min(int(number), MOST) for number in numbers)
        return Space(block=block, blocks=blocks, free=free, available=available, inodes=inodes, inodes_free=inodes_free)

    async def aclose(self) -> None:
        """Abort what is open."""
        await self._ahead.aclose()
        for writer in list(self._writers.values()):
            await writer.abort()
        for reader in list(self._readers):
            await reader.close()

    async def _alter(self, op: str, *arguments: bytes) -> None:
        """Change something after which nothing that is remembered counts."""
        self._own.forget()
        with self._ahead.changing():
            await self._shells.call(op, *arguments)

    async def _look(self, folder: bytes, names: Sequence[bytes]) -> Mapping[bytes, Found]:
        """Return what has these names in a directory, as ``resolve`` finds it without following links; what is not told is not there."""
        mark = new_mark()
        said = await self._shells.call("look", folder, mark, *(b"./" + name for name in names), mark=mark)
        where, *records = said.split(mark + b"R")
        with faults(self._agent, "look"):
            return {one.name: Found(posixpath.join(where, one.name), one.attributes) for one in map(entry, records)}

    async def _create(self, shell: FileShell, path: bytes, mode: WriteMode, permissions: int) -> Opened:
        """Make a temporary file; where there can be none beside a file that may be written, empty that one."""
        folder, name = posixpath.split(path)
        meanwhile = posixpath.join(folder, temporary(new_mark()))
        said = await shell.call("create", meanwhile, name, b"%d" % mode.exclusive)
        with faults(self._agent, "create"):
            line, how = read_created(said)
        former = None if line == b"-" else self._attributes(line)
        if how == b"new" or former is None:
            return Opened(path=meanwhile, name=name, former=former, permissions=permissions, exclusive=mode.exclusive, append=mode.append)
        await shell.call("change", path, *change_arguments(AttributeChanges(size=0)))
        return Opened(path=path, name=b"", former=msgspec.structs.replace(former, size=0), permissions=permissions, append=mode.append)

    def _writer(self, shell: FileShell, opened: Opened, path: bytes) -> ShellWriter:
        self._own.taken(path)
        writer = ShellWriter(self._shells, shell, opened, self._agent, self._limits, self._ended)
        self._writers[path] = writer
        return writer

    def _begun(self, asked: bytes, path: bytes, rest: asyncio.Future[bytes]) -> Place:
        """Keep what is being fetched along, for the one who opens this place next."""
        place = Place(asked=asked, path=path, attributes=None, begun=True)
        self._fetched = (place, rest)
        return place

    def _attributes(self, line: bytes) -> FileAttributes:
        with faults(self._agent, "files"):
            return attributes(line)

    def _ended(self, writer: ShellWriter) -> None:
        self._writers = {path: other for path, other in self._writers.items() if other is not writer}


async def open_shell_files(
    shells: FileShells, container: str, agent: str, limits: FileLimits, clock: Callable[[], float] | None = None
) -> ShellFiles | str:
    """Ask the image what it has; ``clock`` counts seconds, the event loop's where none is given.

    Return why its shell is not enough where that is so. Raise ContainerUnavailable.
    """
    first, _, home = (await shells.call("hello")).partition(b"\n")
    umask, *missing = first.decode("ascii", "replace").split() or [""]
    if missing:
        return f"this image lacks {', '.join(missing)}"
    with faults(agent, "files"):
        if not home.startswith(b"/") or not re.fullmatch("[0-7]{1,5}", umask):
            raise BadUpstream("files helper", "no working directory", first + home)
        clock = asyncio.get_running_loop().time if clock is None else clock
        return ShellFiles(shells, container, home.removesuffix(b"\n"), int(umask, 8), agent, limits, clock)
