"""Tar as engines send and take it (ustar with PAX or GNU names), piece by piece. Pure."""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass, field

from octopus.core.errors import BadUpstream

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_EXTENSION = 1024 * 1024
_EXTENSIONS = {tarfile.XHDTYPE: "pax", tarfile.XGLTYPE: "", tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}

REMOVAL = b"Z"
"""A type of entry that no engine knows: it removes what has the name, then refuses the entry (moby pkg/archive, Unpack)."""


@dataclass(frozen=True, kw_only=True)
class TarEntry:
    """One header. ``kind`` is the type flag, ``mode`` the lower twelve bits, ``mtime`` in seconds."""

    name: bytes
    kind: bytes = tarfile.REGTYPE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: bytes = b""

    def encode(self) -> bytes:
        """Return the header; content follows, padded to whole blocks."""
        info = tarfile.TarInfo(_text(self.name))
        info.type, info.mode, info.uid, info.gid = self.kind, self.mode, self.uid, self.gid
        info.size, info.mtime, info.linkname = self.size, self.mtime, _text(self.link)
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """Return the zeros that fill the last block of a content."""
    return bytes(-size % BLOCK)


@dataclass
class TarDecoder:
    """Incremental: ``feed`` returns entries, and the content of each as it comes, never collected. Raise BadUpstream."""

    at_end: bool = False
    _pending: bytes = b""
    _left: int = 0
    _skip: int = 0
    _extension: str | None = None
    _extended: bytearray = field(default_factory=bytearray)
    _overrides: dict[str, bytes] = field(default_factory=dict)

    def feed(self, data: bytes) -> list[TarEntry | bytes]:
        """Take the next bytes of the stream."""
        found: list[TarEntry | bytes] = []
        at = 0
        while at < len(data) and not self.at_end:
            if self._left:
                piece = data[at : at + self._left]
                self._content(piece, found)
                at += len(piece)
            elif self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
            else:
                piece = data[at : at + BLOCK - len(self._pending)]
                at += len(piece)
                self._header(piece, found)
        return found

    def _content(self, piece: bytes, found: list[TarEntry | bytes]) -> None:
        self._left -= len(piece)
        if self._extension is None:
            found.append(piece)
            return
        self._extended += piece
        if len(self._extended) > MAX_EXTENSION:
            raise BadUpstream("engine", "a tar header that is too long")
        if not self._left:
            self._extend()

    def _extend(self) -> None:
        content, kind = bytes(self._extended), self._extension
        self._extended.clear()
        self._extension = None
        if kind == "pax":
            self._overrides.update(_pax(content))
        elif kind:
            self._overrides[kind] = content.rstrip(b"\0")

    def _header(self, piece: bytes, found: list[TarEntry | bytes]) -> None:
        self._pending += piece
        if len(self._pending) < BLOCK:
            return
        block, self._pending = self._pending, b""
        if not block.strip(b"\0"):
            self.at_end = True
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise BadUpstream("engine", f"not a tar header: {error}") from error
        if info.size < 0:
            raise BadUpstream("engine", "a tar entry of less than nothing", block[:100])
        if info.type in _EXTENSIONS:
            self._extension = _EXTENSIONS[info.type]
            self._left, self._skip = info.size, -info.size % BLOCK
            return
        entry = self._entry(info)
        self._left, self._skip = entry.size, -entry.size % BLOCK
        found.append(entry)

    def _entry(self, info: tarfile.TarInfo) -> TarEntry:
        given, self._overrides = self._overrides, {}
        size = _number(given.get("size", b""), info.size) if info.isreg() else 0
        return TarEntry(
            name=given.get("path", _bytes(info.name)),
            kind=info.type,
            mode=info.mode & 0o7777,
            uid=_number(given.get("uid", b""), info.uid),
            gid=_number(given.get("gid", b""), info.gid),
            size=size,
            mtime=_number(given.get("mtime", b"").partition(b".")[0], int(info.mtime)),
            link=given.get("linkpath", _bytes(info.linkname)),
        )


def _pax(content: bytes) -> dict[str, bytes]:
    """Read PAX records: ``length key=value\\n`` each, the length that of the whole record."""
    records: dict[str, bytes] = {}
    while content:
        length, space, _ = content.partition(b" ")
        if not space or not re.fullmatch(rb"[0-9]{1,9}", length) or not len(length) + 2 < int(length) <= len(content):
            raise BadUpstream("engine", "not a PAX record", content)
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        records[key.decode("ascii", "replace")] = value
        content = content[int(length) :]
    return records


def _number(given: bytes, otherwise: int) -> int:
    return int(given) if given.isdigit() and len(given) < 20 else otherwise


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
