"""A file of a container open for writing through a helper shell: under a name of its own until it is whole."""

from __future__ import annotations

import asyncio
import posixpath
import stat
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from octopus.core.errors import OctopusError
from octopus.core.files import AttributeChanges, FileAttributes, FileFailure, Passed, PassedBytes
from octopus.engine.file_answers import attributes, mark_of
from octopus.engine.file_shell import FileLimits, FileShell

DEFAULT_MODE = 0o666
UNDER_WAY = 2
"""Blocks that are sent before the first of them has arrived."""
WHOLE = b"whole\n"
"""What follows the last byte of a file."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """How a file was opened: ``path`` is what is written to; ``name`` what it is to become, b"" when it is changed where it is.

    ``former`` are the attributes of what it replaces or changes, ``permissions`` a new file's. What is not ``made`` yet is made
    when it has to be: a small file all at once, when it is closed.
    """

    path: bytes
    name: bytes
    former: FileAttributes | None
    permissions: int
    exclusive: bool = False
    append: bool = False
    made: bool = True


class ShellWriter:
    """Gathers writes that follow one another into blocks; two are under way while the next is gathered."""

    def __init__(self, shell: FileShell, opened: Opened, limits: FileLimits, on_end: Callable[[ShellWriter], None]) -> None:
        self._shell = shell
        self._opened = opened
        self._made = opened.made
        self._begun = b""
        self._limits = limits
        self._on_end = on_end
        self._size = 0 if opened.name or opened.former is None else opened.former.size
        self._passed: PassedBytes | None = None
        self._gathered: list[bytes] = []
        self._length = 0
        self._start = 0
        self._sent = 0
        self._sending: deque[asyncio.Task[bytes]] = deque()
        self._turn = asyncio.Lock()
        self._changes = AttributeChanges()
        self._result: Passed | None = None
        self._failure: OctopusError | None = None

    async def begin(self) -> None:
        """Have a new file made while the client sends what is to be in it. Raise ContainerUnavailable."""
        if not (self._made or self._opened.exclusive):
            self._begun, _ = _masked(self._mode())
            path, mark = self._place()
            await self._shell.say("MAKE", (self._begun,), path, mark=mark)

    async def write(self, offset: int, data: bytes) -> None:
        """See ``FileWriter.write``."""
        async with self._turn:
            self._check()
            if not data:
                return
            if self._opened.append:
                offset = self._size
            if self._gathered and offset != self._start + self._length:
                await self._flush()
            if not self._gathered:
                self._start = offset
            self._gathered.append(data)
            self._length += len(data)
            self._size = max(self._size, offset + len(data))
            self._count(offset, data)
            if self._length >= min(self._limits.block, max(self._limits.small, self._sent)):
                await self._flush()

    async def stat(self) -> FileAttributes:
        """See ``FileWriter.stat``."""
        async with self._turn:
            self._check()
            await self._make()
            found = attributes((await self._shell.call("check", self._opened.path)).rstrip(b"\n"))
            mode = stat.S_IFREG | (found.mode & 0o7777 if not self._opened.name else self._mode())
            return msgspec.structs.replace(found, size=self._size, mode=mode)

    async def change(self, changes: AttributeChanges) -> None:
        """See ``FileWriter.change``."""
        async with self._turn:
            self._check()
            if changes.size is not None:
                await self._make()
                await self._flush()
                await self._sent_all()
                await self._shell.call("change", self._opened.path, b"%d" % changes.size, b"", b"", b"", b"")
                self._size = changes.size
            if not self._opened.name and (changes.uid is not None or changes.mode is not None):
                now = AttributeChanges(uid=changes.uid, gid=changes.gid, mode=changes.mode)
                await self._shell.call("change", self._opened.path, *change_arguments(now))
            given = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not None and name != "size"}
            self._changes = msgspec.structs.replace(self._changes, **given)

    async def close(self) -> Passed:
        """See ``FileWriter.close``."""
        async with self._turn:
            if self._result is None:
                try:
                    self._check()
                    await (self._commit() if self._opened.name else self._finish())
                except BaseException:
                    await self._drop()
                    raise
                self._result = self._so_far(complete=True)
                self._on_end(self)
            return self._result

    async def abort(self) -> Passed:
        """See ``FileWriter.abort``."""
        async with self._turn:
            if self._result is None:
                await self._drop()
            return self._result or self._so_far(complete=False)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._result is not None:
            raise FileFailure(notice="the file is closed")

    def _count(self, offset: int, data: bytes) -> None:
        self._passed = self._passed or PassedBytes(0 if self._opened.name else offset)
        self._passed.add(offset, data)

    def _so_far(self, *, complete: bool) -> Passed:
        return (self._passed or PassedBytes()).result(complete=complete)

    async def _flush(self) -> None:
        """Send what was gathered, once what was sent before the last has arrived. Raise its failure."""
        await self._sent_all(but=UNDER_WAY - 1)
        if not self._gathered:
            return
        await self._make()
        data = self._take()
        self._sent += len(data)
        if self._opened.append and not self._opened.name:
            work = self._shell.call("append", self._opened.path, b"%d" % len(data), data=data)
        else:
            work = self._shell.call("write", self._opened.path, b"%d" % self._start, b"%d" % len(data), data=data)
        self._sending.append(asyncio.get_running_loop().create_task(work, name="write behind"))

    def _take(self) -> bytes:
        """Return what was gathered, and gather anew."""
        data = b"".join(self._gathered)
        self._gathered, self._length = [], 0
        return data

    async def _sent_all(self, but: int = 0) -> None:
        """Wait until no more blocks than so many are under way. Raise the first one's failure, when all are over."""
        while len(self._sending) > but:
            try:
                await asyncio.shield(self._sending.popleft())
            except OctopusError as error:
                self._failure = self._failure or error
                but = 0
        if self._failure is not None:
            raise self._failure

    async def _finish(self) -> None:
        await self._flush()
        await self._sent_all()
        if self._changes.mtime is not None:
            times = AttributeChanges(atime=self._changes.atime, mtime=self._changes.mtime)
            await self._shell.call("change", self._opened.path, *change_arguments(times))

    async def _make(self) -> None:
        if not self._made:
            await self._unmake()
            await self._shell.call("create", self._opened.path, self._opened.name, b"%d" % self._opened.exclusive)
            self._made = True

    async def _put(self) -> None:
        """Make a small file at once, with the mode it is to have where no more than a umask is needed for that."""
        mode = self._mode()
        umask, rest = _masked(mode)
        _, owner, _, atime, mtime = change_arguments(self._changes)
        if self._gathered and not self._opened.exclusive:
            as_made = b"" if self._begun in (b"", umask) else b"%04o" % mode
            if await self._put_quickly((umask, rest or as_made, owner, atime, mtime)):
                return
        await self._unmake()
        await self._shell.call(
            "put",
            *(self._opened.path, b"%d" % self._length, self._opened.name, b"%d" % self._opened.exclusive),
            *(umask, rest, owner, atime, mtime),
            data=b"".join([*self._gathered, WHOLE]),
        )

    async def _put_quickly(self, words: tuple[bytes, ...]) -> bool:
        path, mark = self._place()
        self._begun = b""
        try:
            data = b"".join([*self._gathered, WHOLE])
            await self._shell.quick("PUT", (b"%d" % self._length, *words), path, data=data, mark=mark)
        except FileFailure:
            return False
        return True

    async def _unmake(self) -> None:
        if self._begun:
            self._begun = b""
            path, mark = self._place()
            await self._shell.quick("DROP", (), path, mark=mark)

    def _place(self) -> tuple[bytes, bytes]:
        """Return where the file is to be, and the mark by which it is made."""
        folder, name = posixpath.split(self._opened.path)
        return posixpath.join(folder, self._opened.name), mark_of(name)

    async def _commit(self) -> None:
        if not self._made and self._start == 0:
            return await self._put()
        await self._make()
        await self._sent_all()
        data = self._take()
        former = self._opened.former
        _, owner, _, atime, mtime = change_arguments(self._changes)
        await self._shell.call(
            "commit",
            *(self._opened.path, b"%d" % self._start, b"%d" % len(data), self._opened.name, b"%d" % self._size),
            *(b"%d" % self._opened.exclusive, b"%04o" % self._mode(), owner, atime, mtime),
            b"%d:%d" % (former.uid, former.gid) if former else b"",
            data=data + WHOLE,
        )
        return None

    def _mode(self) -> int:
        if self._changes.mode is not None:
            return self._changes.mode
        return self._opened.former.mode & 0o7777 if self._opened.former else self._opened.permissions

    async def _drop(self) -> None:
        """Give up: nothing is left of a new file."""
        self._take()
        with suppress(OctopusError):
            await self._sent_all()
        with suppress(OctopusError):
            await self._unmake()
            if self._opened.name and self._made:
                await self._shell.call("discard", self._opened.path)
        self._result = self._so_far(complete=False)
        self._on_end(self)


def _masked(mode: int) -> tuple[bytes, bytes]:
    """Return the umask a file is made with, and the mode that it still lacks then, b"" where it lacks nothing."""
    return (b"%04o" % (0o666 & ~mode), b"") if mode & ~0o666 == 0 else (b"0077", b"%04o" % mode)


def change_arguments(changes: AttributeChanges) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Return changes as the helper takes them: size, owner, mode, both times; b"" leaves it."""
    owner = b"" if changes.uid is None or changes.gid is None else b"%d:%d" % (changes.uid, changes.gid)
    mode = b"" if changes.mode is None else b"%04o" % changes.mode
    size, atime, mtime = (b"" if number is None else b"%d" % number for number in (changes.size, changes.atime, changes.mtime))
    return size, owner, mode, atime, mtime
