"""The archive API over connections of our own: a tar stream out of a container or into it, as root (Engine API, "Archive")."""

from __future__ import annotations

import dataclasses
import posixpath
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import NoReturn
from urllib.parse import quote_from_bytes

from octopus.core.errors import BadUpstream
from octopus.core.files import (
    FileFailure,
    IsADirectory,
    NoSpace,
    NoSuchFile,
    NotADirectory,
    ReadOnly,
    TooManyLinks,
)
from octopus.engine.containers import ContainerGone, refuse
from octopus.engine.engines import Engine
from octopus.engine.http_body import Body, answered
from octopus.engine.limits import deadline, faults
from octopus.engine.tar_stream import TarDecoder, TarEntry
from octopus.engine.transport import ByteStream
from octopus.engine.wire import decode_stat

_FAULTS = (
    (b"no space left", NoSpace),
    (b"quota exceeded", NoSpace),
    (b"read-only", ReadOnly),
    (b"not a directory", NotADirectory),
    (b"cannot overwrite directory", IsADirectory),
    (b"too many", TooManyLinks),
    (b"no such container", ContainerGone),
    (b"no such file", NoSuchFile),
    (b"could not find the file", NoSuchFile),
)


class Archive:
    """The archive API of one container. ``seconds`` bounds each wait, ``size`` what is read at once."""

    def __init__(self, engine: Engine, container: str, *, seconds: float = 60.0, size: int = 256 * 1024) -> None:
        self._engine = engine
        self._container = container
        self._seconds = seconds
        self._size = size

    @asynccontextmanager
    async def get(self, path: bytes) -> AsyncIterator[AsyncIterator[TarEntry | bytes]]:
        """Give what is at ``path``, a directory with all below it, as entries and their content. Raise FileFailure."""
        ancestor = path
        while not _is_text(ancestor):  # engines find no name that is not UTF-8, but send it with its directory
            ancestor = posixpath.dirname(ancestor)
        async with self._request("GET", ancestor, "", None) as body:
            if body.head.status != 200:
                await self._refuse("read", body)
            entries = self._entries(body)
            async with aclosing(entries), aclosing(entries if ancestor == path else _below(entries, path, ancestor)) as wanted:
                yield wanted

    async def first(self, path: bytes) -> TarEntry:
        """Return the header of what is at ``path`` itself (a link, not where it leads). Raise FileFailure."""
        async with self.get(path) as entries:
            async for entry in entries:
                if isinstance(entry, TarEntry):
                    return entry
        raise NoSuchFile

    async def stat(self, path: bytes) -> TarEntry | None:
        """Return what the engine tells at a fraction of the price: all but the owner, and where a link leads in the end.

        None: nothing is there. A link's target is b"" where the engine cannot say it.
        """
        call = f"/containers/{self._container}/archive"
        answer = await self._engine.api.call("HEAD", call, params={"path": path}, step="stat")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise FileFailure(f"stat: HTTP {answer.status}")
        with faults(self._engine.agent, "stat"):
            found = decode_stat(answer.stat)
        kind = tarfile.DIRTYPE if found.directory else tarfile.SYMTYPE if found.symlink else found.regular and tarfile.REGTYPE
        link = "" if "\ufffd" in found.link_target else found.link_target
        return TarEntry(
            name=posixpath.basename(path),
            kind=kind or tarfile.FIFOTYPE,
            mode=found.permissions,
            size=found.size if kind == tarfile.REGTYPE else 0,
            mtime=found.seconds,
            link=link.encode(),
        )

    async def put(self, directory: bytes, parts: Iterable[bytes], size: int) -> None:
        """Unpack a tar of ``size`` bytes in a directory; never a file over a directory. Raise FileFailure."""
        async with self._request("PUT", directory, "&noOverwriteDirNonDir=1", (parts, size)) as body:
            if body.head.status != 200:
                await self._refuse("write", body)

    async def _entries(self, body: Body) -> AsyncGenerator[TarEntry | bytes, None]:
        decoder = TarDecoder()
        pieces = body.pieces()
        while not decoder.at_end:
            async with deadline(self._engine.agent, "read", self._seconds):
                piece = await anext(pieces, b"")
                if not piece:
                    raise BadUpstream("engine", "the archive ends too soon")
                found = decoder.feed(piece)
            for one in found:
                yield one

    @asynccontextmanager
    async def _request(self, method: str, path: bytes, more: str, content: tuple[Iterable[bytes], int] | None) -> AsyncIterator[Body]:
        version = await self._engine.api.version()
        head = (
            f"{method} /v{version[0]}.{version[1]}/containers/{self._container}/archive?path={quote_from_bytes(path, safe='')}{more}"
            " HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n"
        )
        if content is not None:
            head += f"Content-Type: application/x-tar\r\nContent-Length: {content[1]}\r\n"
        async with self._engine.connected() as stream:
            await self._send(stream, head.encode() + b"\r\n", content[0] if content else ())
            async with deadline(self._engine.agent, "archive", self._seconds):
                body = await answered(stream, self._size)
            yield body

    async def _send(self, stream: ByteStream, head: bytes, parts: Iterable[bytes]) -> None:
        async with deadline(self._engine.agent, "archive", self._seconds):
            await stream.write(head)
        try:
            for part in parts:
                async with deadline(self._engine.agent, "archive", self._seconds):
                    await stream.write(part)
        except FileFailure:
            raise
        except OSError:
            return  # an engine that refuses early says why in its answer

    async def _refuse(self, step: str, body: Body) -> NoReturn:
        async with deadline(self._engine.agent, step, self._seconds):
            said = await body.fault()
        text = said.lower()
        for words, kind in _FAULTS:
            if words in text:
                raise kind(said.decode("utf-8", "replace").strip())
        if body.head.status >= 500 or body.head.status == 400:
            raise FileFailure(said.decode("utf-8", "replace").strip())
        refuse(self._engine.agent, step, body.head.status, said)


async def _below(entries: AsyncIterator[TarEntry | bytes], path: bytes, ancestor: bytes) -> AsyncGenerator[TarEntry | bytes, None]:
    """Yield of an ancestor's archive what the archive of ``path`` would hold."""
    wanted = posixpath.relpath(path, posixpath.dirname(ancestor) if ancestor != b"/" else b"/")
    cut, inside = len(posixpath.dirname(wanted)), False
    async for one in entries:
        if isinstance(one, TarEntry):
            name = posixpath.normpath(one.name).lstrip(b"/")
            was, inside = inside, name == wanted or name.startswith(wanted + b"/")
            if was and not inside:
                return
            one = dataclasses.replace(one, name=name[cut:].lstrip(b"/"))
        if inside:
            yield one


def _is_text(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
