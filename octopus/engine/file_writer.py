"""A file of a container open for writing through a helper shell: under a name of its own until it is whole."""

from __future__ import annotations

import asyncio
import stat
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import msgspec

from octopus.core.errors import OctopusError
from octopus.core.files import AttributeChanges, FileAttributes, FileFailure, Passed, PassedBytes
from octopus.engine.file_answers import attributes
from octopus.engine.file_changes import WHOLE, Opened, change_arguments
from octopus.engine.file_flow import Inflow, give_back
from octopus.engine.file_reader import read_block
from octopus.engine.file_shell import FileShell
from octopus.engine.file_shells import FileShells
from octopus.engine.limits import FileLimits, faults
from octopus.engine.small_file import SmallFile

UNDER_WAY = 2
"""Blocks that are sent before the first of them has arrived."""


class ShellWriter:
    """Gathers writes that follow one another into blocks; two are under way while the next is gathered.

    Once there are many in a row, what follows is sent as it comes.
    """

    def __init__(
        self, shells: FileShells, shell: FileShell, opened: Opened, agent: str, limits: FileLimits, on_end: Callable[[ShellWriter], None]
    ) -> None:
        self._shells = shells
        self._shell = shell
        self._agent = agent
        self._opened = opened
        self._made = opened.made
        self._small = SmallFile(shell, opened)
        self._limits = limits
        self._on_end = on_end
        self._size = 0 if opened.name or opened.former is None else opened.former.size
        self._passed: PassedBytes | None = None
        self._gathered: list[bytes] = []
        self._length = 0
        self._start = 0
        self._sent = 0
        self._sending: deque[asyncio.Task[bytes]] = deque()
        self._row = 0
        self._row_end = 0
        self._opening: asyncio.Task[FileShell | None] | None = None
        self._flow: Inflow | None = None
        self._turn = asyncio.Lock()
        self._changes = AttributeChanges()
        self._result: Passed | None = None
        self._failure: OctopusError | None = None

    async def write(self, offset: int, data: bytes) -> None:
        """See ``FileWriter.write``."""
        async with self._turn:
            self._check()
            if not data:
                return
            if self._opened.append:
                offset = self._size
            if offset != self._row_end:
                await self._break_off()
            self._row_end = offset + len(data)
            self._size = max(self._size, self._row_end)
            self._count(offset, data)
            if self._flow:
                return await self._pass_on(self._flow, data)
            if not self._gathered:
                self._start = offset
            self._gathered.append(data)
            self._length += len(data)
            if self._length >= min(self._limits.block, max(self._limits.small, self._sent)):
                await self._flush()
                await self._change_over()
            elif self._length == len(data) and self._start == 0 and not self._made:
                self._small.store(data, self._mode())

    async def read(self, offset: int, size: int) -> bytes:
        """See ``FileWriter.read``."""
        async with self._turn:
            self._check()
            await self._make()
            await self._flush()
            await self._sent_all()
            said = await self._shell.call("read", self._opened.path, b"%d" % offset, b"%d" % size)
        with faults(self._agent, "read"):
            return bytes(read_block(offset, size, said).data)

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
        self._raise()
        if self._result is not None:
            raise FileFailure(notice="the file is closed")

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

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
        self._row += len(data)
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
        """Wait until no more blocks than so many are under way, and nothing else is. Raise the first failure, when all are over."""
        if not but:
            await self._stop()
        while len(self._sending) > but:
            try:
                await asyncio.shield(self._sending.popleft())
            except OctopusError as error:
                self._failure = self._failure or error
                but = 0
        self._raise()

    async def _break_off(self) -> None:
        """End the row of writes that followed one another. Raise what failed of it."""
        if self._gathered:
            await self._flush()
        await self._stop()
        self._raise()
        self._row = 0

    async def _pass_on(self, flow: Inflow, data: bytes) -> None:
        try:
            await flow.write(data)
        except OctopusError as error:
            self._failure = self._failure or error
            raise

    async def _change_over(self) -> None:
        """Where the row is long have a helper started, and send by it what follows once it is there. Raise ContainerUnavailable."""
        if self._opening is None:
            if self._row >= self._limits.bulk and not self._opened.append:
                self._opening = asyncio.get_running_loop().create_task(self._shells.give(), name="helper for an upload")
        elif self._opening.done() and (shell := self._opening.result()):
            self._flow = await Inflow.begin(self._shells, shell, self._opened.path, self._row_end, self._agent, self._limits)

    async def _stop(self) -> None:
        """Wait until what was sent as it came is there, and take note where it is not."""
        (opening, self._opening), (flow, self._flow) = (self._opening, None), (self._flow, None)
        try:
            await (flow.finish() if flow else give_back(self._shells, opening))
        except OctopusError as error:
            self._failure = self._failure or error

    async def _finish(self) -> None:
        await self._flush()
        await self._sent_all()
        if self._changes.mtime is not None:
            times = AttributeChanges(atime=self._changes.atime, mtime=self._changes.mtime)
            await self._shell.call("change", self._opened.path, *change_arguments(times))

    async def _make(self) -> None:
        if not self._made:
            await self._small.drop()
            await self._shell.call("create", self._opened.path, self._opened.name, b"%d" % self._opened.exclusive)
            self._made = True

    async def _commit(self) -> None:
        if not self._made and self._start == 0:
            return await self._small.put(self._gathered, self._mode(), self._changes)
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
            await self._small.drop()
            if self._opened.name and self._made:  # a helper that was killed tidies up nothing: another one does
                await (self._shells if self._shell.gone else self._shell).call("discard", self._opened.path)
        self._result = self._so_far(complete=False)
        self._on_end(self)
