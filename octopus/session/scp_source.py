"""scp's own protocol, sending: ``scp -f`` (the words are those of OpenSSH's scp.c; there is no other specification)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from fnmatch import fnmatchcase

from octopus.core.errors import Disconnected
from octopus.core.files import FileAttributes, FileFailure, NoSuchFile
from octopus.core.paths import escaped
from octopus.session.file_access import FileAccess
from octopus.session.file_stream import FileStream
from octopus.session.open_files import OpenFile
from octopus.session.scp_command import ScpCommand
from octopus.session.watch import together

BLOCK = 256 << 10
MAX_LINE = 8192
MAX_DEPTH = 200
"""Directories within directories: links may lead in a circle."""
MAX_MATCHES = 100_000
_SIGNS = frozenset(b"*?[")


class ScpSource:
    """Sends what the command names. Like ``scp`` itself it follows links. A pattern may fit up to ``max_matches`` names on each level."""

    def __init__(self, stream: FileStream, access: FileAccess, command: ScpCommand, *, max_matches: int = MAX_MATCHES) -> None:
        self._stream = stream
        self._access = access
        self._command = command
        self._max_matches = max_matches
        self._status = 0

    async def run(self) -> int:
        """Send; return the exit status, 1 where something could not be sent. Raise Disconnected and what ``FileAccess`` raises."""
        await self._agreed()
        for asked in self._command.paths:
            try:
                async for path in self._matching(asked):
                    await self._send(path, 0)
            except FileFailure as error:
                await self._tell(asked, error)
        return self._status

    async def _matching(self, asked: bytes) -> AsyncIterator[bytes]:
        """Yield the paths a pattern fits, as a shell in the container would; the pattern itself where it is a name, or fits none."""
        if not _SIGNS & set(asked) or await self._is_there(asked):
            yield asked
            return
        too_many = FileFailure(f"pattern {escaped(asked[:100])}", notice="the pattern fits too many files")
        if asked.count(b"/") > MAX_DEPTH:
            raise too_many
        found: list[bytes] = []
        async for path in self._expanded(asked):
            found.append(path)
            if len(found) > self._max_matches:
                raise too_many
        for path in sorted(found) or [asked]:
            yield path

    async def _expanded(self, pattern: bytes) -> AsyncIterator[bytes]:
        above, _, last = pattern.rstrip(b"/").rpartition(b"/")
        root = b"/" if pattern.startswith(b"/") and not above else above
        async for directory in self._matching(root) if root else _one(b""):
            if not _SIGNS & set(last):
                if await self._is_there(_joined(directory, last)):
                    yield _joined(directory, last)
                continue
            for name in await self._names(directory):
                if fnmatchcase(name, last) and (last.startswith(b".") or not name.startswith(b".")):
                    yield _joined(directory, name)

    async def _is_there(self, path: bytes) -> bool:
        try:
            await self._access.stat(path)
        except FileFailure:
            return False
        return True

    async def _names(self, directory: bytes) -> list[bytes]:
        try:
            return [name async for name in self._listed(directory)]
        except FileFailure:
            return []

    async def _listed(self, path: bytes) -> AsyncIterator[bytes]:
        listing = await self._access.open_directory(path)
        try:
            while entries := await listing.next(100):
                for entry in entries:
                    yield entry.name
        finally:
            await self._access.close(listing)

    async def _send(self, path: bytes, depth: int) -> None:
        try:
            found = await self._access.stat(path)
            if found.directory:
                await self._send_directory(path, found, depth)
            elif found.regular:
                await self._send_file(path)
            else:
                raise FileFailure("not a file", notice="not a regular file")  # noqa: TRY301 (one place tells the client)
        except FileFailure as error:
            await self._tell(path, error)

    async def _send_directory(self, path: bytes, found: FileAttributes, depth: int) -> None:
        if not self._command.recursive:
            raise FileFailure("a directory", notice="not a regular file")
        if depth >= MAX_DEPTH:
            raise FileFailure("too deep", notice="too many directories within one another")
        names = [name async for name in self._listed(path)]
        if not await self._begin(b"D", path, found, 0):
            return
        for name in names:
            await self._send(_joined(path, name), depth + 1)
        await self._stream.write(b"E\n")
        await self._agreed()

    async def _send_file(self, path: bytes) -> None:
        file = await self._access.open_read(path)
        try:
            found = await file.stat()
            if await self._begin(b"C", path, found, found.size):
                await self._send_announced(file, path, found.size)
        finally:
            await self._access.close(file)

    async def _send_announced(self, file: OpenFile, path: bytes, size: int) -> None:
        async with together() as tasks:
            # When a client dies its ssh ends the input, and may take nothing more: sending is cancelled then.
            answer = tasks.create_task(self._answer())
            failure = await self._send_content(file, size)
            await (self._tell(path, failure) if failure else self._stream.write(b"\0"))
            await self._agreed(await answer)

    async def _send_content(self, file: OpenFile, size: int) -> FileFailure | None:
        """Send ``size`` bytes, as was said; return why they are not all the file's: zeros take the place of what is missing."""
        sent, failure = 0, None
        while sent < size:
            length = min(BLOCK, size - sent)
            content = b""
            if failure is None:
                try:
                    content = await file.read(sent, length)
                except FileFailure as error:
                    failure = error
                else:
                    failure = None if content else FileFailure("shrunk", notice="the file became shorter meanwhile")
            content = content or bytes(length)
            await self._stream.write(content)
            sent += len(content)
            await asyncio.sleep(0)  # other sessions of this process have their turn
        return failure

    async def _begin(self, kind: bytes, path: bytes, found: FileAttributes, size: int) -> bool:
        """Announce a file or directory; False where the client does not want it."""
        if self._command.preserve:
            await self._stream.write(b"T%d 0 %d 0\n" % (max(found.mtime, 0), max(found.atime, 0)))
            if not await self._agreed():
                return False
        name = path.rstrip(b"/").rpartition(b"/")[2] or b"."
        await self._stream.write(b"%s%04o %d %s\n" % (kind, found.mode & 0o7777, size, name.replace(b"\n", b"\\^J")))
        return await self._agreed()

    async def _agreed(self, answer: bytes = b"") -> bool:
        """Read the client's answer, unless given; False where it tells an error. Raise Disconnected for a fatal one."""
        answer = answer or await self._answer()
        if answer == b"\0":
            return True
        if await self._stream.line(MAX_LINE) is None or answer != b"\x01":
            raise Disconnected("the client left off")
        self._status = 1
        return False

    async def _answer(self) -> bytes:
        answer = await self._stream.exactly(1)
        if answer is None:
            raise Disconnected("the client left off")
        return answer

    async def _tell(self, path: bytes, error: FileFailure) -> None:
        self._status = 1
        await self._stream.write(told(path, error))


def told(path: bytes, error: FileFailure) -> bytes:
    """Return the line by which an error is told to an scp client."""
    name = error.notice if isinstance(error, NoSuchFile) and not path else f"{escaped(path)}: {error.notice}"
    return b"\x01scp: " + name.encode() + b"\n"


def _joined(directory: bytes, name: bytes) -> bytes:
    return directory.rstrip(b"/") + b"/" + name if directory else name


async def _one(path: bytes) -> AsyncIterator[bytes]:
    yield path
