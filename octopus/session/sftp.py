"""SFTP version 3 over a container's files, one request after another in their order.

asyncssh has a server too, but it puts a file in its place also where the client is cut off in the middle of it, collects answers
for a client that does not read, and opens directories only when they are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from asyncssh.packet import PacketDecodeError, SSHPacket, String, UInt32

from octopus.core.errors import InvalidRequest
from octopus.core.files import FileFailure, FileUnsupported, NoSpace
from octopus.session import sftp_wire as wire
from octopus.session.file_access import FileAccess, FileForbidden
from octopus.session.file_stream import FileStream
from octopus.session.open_files import OpenDirectory, OpenFile
from octopus.session.sftp_wire import Answer, Open, Request, Status

Explain = Callable[[str], Awaitable[None]]
"""Shows a sentence to the person: many clients show of a status its number's text alone."""

DRAFT_SYMLINKS = ("AsyncSSH", "WinSCP")
"""Clients that send SYMLINK's paths in the order of the draft, unless the server is OpenSSH; all others do as OpenSSH does."""

_Reply = tuple[Answer, *tuple[bytes, ...]]
_OK = (Answer.STATUS, wire.status(Status.OK))
_END = (Answer.STATUS, wire.status(Status.EOF, "end of file"))
_Opened = TypeVar("_Opened", OpenFile, OpenDirectory)


class SftpServer:
    """Serves one channel to the end of its input. ``max_handles`` are open at a time, ``max_explained`` sentences shown.

    ``clock`` gives seconds since 1970.
    """

    def __init__(
        self,
        stream: FileStream,
        access: FileAccess,
        explain: Explain,
        *,
        client_version: str,
        clock: Callable[[], float],
        max_handles: int = 200,
        max_explained: int = 20,
    ) -> None:
        self._stream = stream
        self._access = access
        self._explain = explain
        self._draft_symlinks = any(name in client_version for name in DRAFT_SYMLINKS)
        self._clock = clock
        self._max_handles = max_handles
        self._max_explained = max_explained
        self._explained: set[str] = set()
        self._handles: dict[bytes, OpenFile | OpenDirectory] = {}
        self._last_handle = 0
        self._serving: dict[int, Callable[[SSHPacket], Awaitable[_Reply]]] = {
            Request.OPEN: self._open,
            Request.CLOSE: self._close,
            Request.READ: self._read,
            Request.WRITE: self._write,
            Request.LSTAT: self._lstat,
            Request.FSTAT: self._fstat,
            Request.SETSTAT: self._setstat,
            Request.FSETSTAT: self._fsetstat,
            Request.OPENDIR: self._opendir,
            Request.READDIR: self._readdir,
            Request.REMOVE: self._remove,
            Request.MKDIR: self._mkdir,
            Request.RMDIR: self._rmdir,
            Request.REALPATH: self._realpath,
            Request.STAT: self._stat,
            Request.RENAME: self._rename,
            Request.READLINK: self._readlink,
            Request.SYMLINK: self._symlink,
            Request.EXTENDED: self._extended,
        }
        self._extensions: dict[bytes, Callable[[SSHPacket], Awaitable[_Reply]]] = {
            b"posix-rename@openssh.com": self._posix_rename,
            b"statvfs@openssh.com": self._statvfs,
            b"fstatvfs@openssh.com": self._fstatvfs,
            b"hardlink@openssh.com": self._hardlink,
            b"lsetstat@openssh.com": self._lsetstat,
            b"limits@openssh.com": self._limits,
        }

    async def run(self) -> int:
        """Serve; return the exit status. Raise InvalidRequest for what is no SFTP, Disconnected, ContainerUnavailable, AuditUnavailable."""
        greeting = await self._packet()
        if greeting is None:
            return 0
        if greeting.get_byte() != Request.INIT:
            raise InvalidRequest("SFTP begins with INIT")
        await self._stream.write(wire.framed(Answer.VERSION, wire.version()))
        while packet := await self._packet():
            await self._stream.write(await self._answer(packet))
            await asyncio.sleep(0)  # other sessions of this process have their turn
        return 0

    async def _packet(self) -> SSHPacket | None:
        length = await self._stream.exactly(4)
        if length is None:
            return None
        size = int.from_bytes(length, "big")
        if not 5 <= size <= wire.MAX_PACKET:
            raise InvalidRequest(f"an SFTP packet of {size} bytes")
        body = await self._stream.exactly(size)
        return None if body is None else SSHPacket(body)

    async def _answer(self, packet: SSHPacket) -> bytes:
        kind, number = packet.get_byte(), packet.get_uint32()
        answer, *payload = await self._reply(kind, packet)
        return wire.framed(answer, UInt32(number), *payload)

    async def _reply(self, kind: int, packet: SSHPacket) -> _Reply:
        serve = self._serving.get(kind, self._unsupported)
        try:
            return await serve(packet)
        except FileFailure as error:
            if isinstance(error, FileForbidden | FileUnsupported | NoSpace):
                await self._say(error.notice)
            return Answer.STATUS, wire.status(error.sftp_status, error.notice)
        except PacketDecodeError:
            return Answer.STATUS, wire.status(Status.BAD_MESSAGE, "not a request")

    async def _say(self, notice: str) -> None:
        if notice not in self._explained and len(self._explained) < self._max_explained:
            self._explained.add(notice)
            await self._explain(notice)

    async def _open(self, packet: SSHPacket) -> _Reply:
        path, flags = packet.get_string(), Open(packet.get_uint32() & 0x3F)
        wanted = wire.changes(packet)
        self._check_room()
        if Open.WRITE not in flags:
            return self._handle(await self._access.open_read(path))
        mode = wire.write_mode(flags, wanted)
        return self._handle(await self._access.open_write(path, mode, read=Open.READ in flags))

    async def _close(self, packet: SSHPacket) -> _Reply:
        opened = self._handles.pop(packet.get_string(), None)
        if opened is None:
            raise FileFailure("no such handle")
        await self._access.close(opened)
        return _OK

    async def _read(self, packet: SSHPacket) -> _Reply:
        file, offset, size = self._file(packet), packet.get_uint64(), packet.get_uint32()
        content = await file.read(offset, min(size, wire.MAX_DATA))
        return (Answer.DATA, UInt32(len(content)), content) if content else _END

    async def _write(self, packet: SSHPacket) -> _Reply:
        file, offset, content = self._file(packet), packet.get_uint64(), packet.get_string()
        await file.write(offset, content)
        return _OK

    async def _stat(self, packet: SSHPacket) -> _Reply:
        return Answer.ATTRS, wire.attributes(await self._access.stat(packet.get_string()))

    async def _lstat(self, packet: SSHPacket) -> _Reply:
        return Answer.ATTRS, wire.attributes(await self._access.stat(packet.get_string(), follow=False))

    async def _fstat(self, packet: SSHPacket) -> _Reply:
        return Answer.ATTRS, wire.attributes(await self._file(packet).stat())

    async def _setstat(self, packet: SSHPacket) -> _Reply:
        path, wanted = packet.get_string(), wire.changes(packet)
        if not wire.is_empty(wanted):
            await self._access.change(path, wanted)
        return _OK

    async def _lsetstat(self, packet: SSHPacket) -> _Reply:
        await self._access.change(packet.get_string(), wire.changes(packet), follow=False)
        return _OK

    async def _fsetstat(self, packet: SSHPacket) -> _Reply:
        file, wanted = self._file(packet), wire.changes(packet)
        if not wire.is_empty(wanted):
            await file.change(wanted)
        return _OK

    async def _opendir(self, packet: SSHPacket) -> _Reply:
        self._check_room()
        return self._handle(await self._access.open_directory(packet.get_string()))

    async def _readdir(self, packet: SSHPacket) -> _Reply:
        entries = await self._opened(packet, OpenDirectory).next(wire.MAX_NAMES)
        return (Answer.NAME, wire.names(entries, self._clock())) if entries else _END

    async def _remove(self, packet: SSHPacket) -> _Reply:
        await self._access.remove(packet.get_string())
        return _OK

    async def _mkdir(self, packet: SSHPacket) -> _Reply:
        await self._access.make_directory(packet.get_string(), wire.changes(packet).mode)
        return _OK

    async def _rmdir(self, packet: SSHPacket) -> _Reply:
        await self._access.remove_directory(packet.get_string())
        return _OK

    async def _realpath(self, packet: SSHPacket) -> _Reply:
        return Answer.NAME, wire.one_name(self._access.absolute(packet.get_string()))

    async def _rename(self, packet: SSHPacket) -> _Reply:
        await self._access.rename(packet.get_string(), packet.get_string(), replace=False)
        return _OK

    async def _posix_rename(self, packet: SSHPacket) -> _Reply:
        await self._access.rename(packet.get_string(), packet.get_string(), replace=True)
        return _OK

    async def _readlink(self, packet: SSHPacket) -> _Reply:
        return Answer.NAME, wire.one_name(await self._access.read_link(packet.get_string()))

    async def _symlink(self, packet: SSHPacket) -> _Reply:
        first, second = packet.get_string(), packet.get_string()
        text, path = (second, first) if self._draft_symlinks else (first, second)
        await self._access.symlink(text, path)
        return _OK

    async def _hardlink(self, packet: SSHPacket) -> _Reply:
        await self._access.link(packet.get_string(), packet.get_string())
        return _OK

    async def _statvfs(self, packet: SSHPacket) -> _Reply:
        return Answer.EXTENDED_REPLY, wire.space(await self._access.space(packet.get_string()))

    async def _fstatvfs(self, packet: SSHPacket) -> _Reply:
        return Answer.EXTENDED_REPLY, wire.space(await self._access.space(self._file(packet).path))

    async def _limits(self, packet: SSHPacket) -> _Reply:
        return Answer.EXTENDED_REPLY, wire.limits(self._max_handles)

    async def _extended(self, packet: SSHPacket) -> _Reply:
        return await self._extensions.get(packet.get_string(), self._unsupported)(packet)

    async def _unsupported(self, packet: SSHPacket) -> _Reply:
        return Answer.STATUS, wire.status(Status.OP_UNSUPPORTED, "not offered")

    def _check_room(self) -> None:
        if len(self._handles) >= self._max_handles:
            raise FileFailure(f"{self._max_handles} handles", notice="too many files are open")

    def _handle(self, opened: OpenFile | OpenDirectory) -> _Reply:
        self._last_handle += 1
        handle = self._last_handle.to_bytes(8, "big")
        self._handles[handle] = opened
        return Answer.HANDLE, String(handle)

    def _file(self, packet: SSHPacket) -> OpenFile:
        return self._opened(packet, OpenFile)

    def _opened(self, packet: SSHPacket, kind: type[_Opened]) -> _Opened:
        opened = self._handles.get(packet.get_string())
        if not isinstance(opened, kind):
            raise FileFailure("no such handle", notice="not open")
        return opened
