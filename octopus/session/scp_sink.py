"""scp's own protocol, receiving: ``scp -t`` (the words are those of OpenSSH's scp.c; there is no other specification)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from octopus.core.errors import Disconnected, InvalidRequest
from octopus.core.files import AttributeChanges, FileAttributes, FileFailure, NotADirectory, WriteMode
from octopus.session.file_access import FileAccess
from octopus.session.file_stream import FileStream
from octopus.session.open_files import OpenFile
from octopus.session.scp_command import ScpCommand
from octopus.session.scp_source import BLOCK, MAX_DEPTH, MAX_LINE, told

_ITEM = re.compile(rb"([CD])([0-7]{3,7}) ([0-9]{1,19}) (.+)", re.DOTALL)
_TIMES = re.compile(rb"T([0-9]{1,10}) [0-9]{1,6} ([0-9]{1,10}) [0-9]{1,6}")


@dataclass(frozen=True)
class _Item:
    """A file or directory as announced, and where it goes."""

    path: bytes
    directory: bool
    mode: int
    size: int
    times: tuple[int, int] | None

    def attributes(self) -> AttributeChanges:
        """Return what ``-p`` keeps."""
        atime, mtime = self.times or (None, None)
        return AttributeChanges(mode=self.mode, atime=atime, mtime=mtime)


class ScpSink:
    """Takes files to where the command says."""

    def __init__(self, stream: FileStream, access: FileAccess, command: ScpCommand) -> None:
        self._stream = stream
        self._access = access
        self._command = command
        self._status = 0

    async def run(self) -> int:
        """Take files; return the exit status, 1 where something was not taken. Raise InvalidRequest and what ``FileAccess`` raises."""
        target = self._command.paths[0]
        try:
            found = await self._look(target)
            if self._command.directory and not (found and found.directory):
                raise NotADirectory
        except FileFailure as error:
            await self._tell(target, error)
            return self._status
        await self._agree()
        await self._take_all(target, is_directory=bool(found and found.directory), depth=0)
        return self._status

    async def _take_all(self, target: bytes, *, is_directory: bool, depth: int) -> None:
        """Take what is announced, to the end of the directory or of the input."""
        times: tuple[int, int] | None = None
        while (line := await self._stream.line(MAX_LINE)) is not None:
            await asyncio.sleep(0)  # other sessions of this process have their turn
            if line == b"E":
                await self._agree()
                return
            if line[:1] in (b"\x01", b"\x02"):
                self._status = 1
                if line[:1] == b"\x02":
                    raise Disconnected("the client left off")
            elif match := _TIMES.fullmatch(line):
                times = (int(match[2]), int(match[1]))
                await self._agree()
            else:
                await self._take(_item(line, target, times, is_directory=is_directory), depth)
                times = None

    async def _take(self, item: _Item, depth: int) -> None:
        try:
            if item.directory:
                await self._take_directory(item, depth)
            else:
                await self._take_file(item)
        except FileFailure as error:
            await self._tell(item.path, error)

    async def _take_directory(self, item: _Item, depth: int) -> None:
        if not self._command.recursive:
            raise FileFailure("a directory", notice="is a directory, and -r was not given")
        if depth >= MAX_DEPTH:
            raise FileFailure("too deep", notice="too many directories within one another")
        found = await self._look(item.path)
        if found is None:
            await self._access.make_directory(item.path, item.mode | 0o700)
        elif not found.directory:
            raise NotADirectory
        await self._agree()
        await self._take_all(item.path, is_directory=True, depth=depth + 1)
        if self._command.preserve:
            await self._keep(item)
        elif found is None and item.mode | 0o700 != item.mode:
            await self._access.change(item.path, AttributeChanges(mode=item.mode))

    async def _keep(self, item: _Item) -> None:
        try:
            await self._access.change(item.path, item.attributes())
        except FileFailure:
            # The directory's end is agreed on already: only the status can tell.
            self._status = 1

    async def _take_file(self, item: _Item) -> None:
        file = await self._access.open_write(item.path, WriteMode(mode=item.mode))
        await self._agree()
        failure = await self._take_content(file, item.size)
        whole = await self._stream.exactly(1)
        if whole is None:
            raise Disconnected("the client left off")
        if whole != b"\0":
            await self._stream.line(MAX_LINE)
            self._status = 1
            failure = failure or FileFailure("not whole", notice="the file was not sent whole")
        try:
            if failure:
                raise failure
            if self._command.preserve:
                await file.change(item.attributes())
        except FileFailure:
            await self._access.cancel(file)
            raise
        await self._access.close(file)
        await self._agree()

    async def _take_content(self, file: OpenFile, size: int) -> FileFailure | None:
        """Take ``size`` bytes, whatever becomes of them; return why they were not written."""
        failure = None
        taken = 0
        while taken < size:
            content = await self._stream.exactly(min(BLOCK, size - taken))
            if content is None:
                raise Disconnected("the client left off")
            if failure is None:
                try:
                    await file.write(taken, content)
                except FileFailure as error:
                    failure = error
            taken += len(content)
            await asyncio.sleep(0)  # other sessions of this process have their turn
        return failure

    async def _look(self, path: bytes) -> FileAttributes | None:
        return await self._access.look(path)

    async def _agree(self) -> None:
        await self._stream.write(b"\0")

    async def _tell(self, path: bytes, error: FileFailure) -> None:
        self._status = 1
        await self._stream.write(told(path, error))


def _item(line: bytes, target: bytes, times: tuple[int, int] | None, *, is_directory: bool) -> _Item:
    match = _ITEM.fullmatch(line)
    if match is None or b"/" in match[4] or match[4] in (b".", b".."):
        raise InvalidRequest("a line that is not scp's")
    path = target.rstrip(b"/") + b"/" + match[4] if is_directory else target
    return _Item(path=path, directory=match[1] == b"D", mode=int(match[2], 8) & 0o7777, size=int(match[3]), times=times)
