"""Packets of SFTP version 3 (draft-ietf-secsh-filexfer-02), with OpenSSH's extensions. Pure."""

from __future__ import annotations

import stat
import time
from enum import IntEnum, IntFlag

import msgspec
from asyncssh.packet import Byte, SSHPacket, String, UInt32, UInt64

from octopus.core.files import AttributeChanges, FileAttributes, FileEntry, Space, WriteMode

VERSION = 3
MAX_DATA = 255 << 10
"""Bytes read or written at once, as OpenSSH's own server has it."""
MAX_PACKET = 256 << 10
MAX_NAMES = 100
"""Entries of a directory in one answer."""
HALF_A_YEAR = 183 * 86_400

EXTENSIONS = {
    b"posix-rename@openssh.com": b"1",
    b"statvfs@openssh.com": b"2",
    b"fstatvfs@openssh.com": b"2",
    b"hardlink@openssh.com": b"1",
    b"lsetstat@openssh.com": b"1",
    b"limits@openssh.com": b"1",
}


class Request(IntEnum):
    """What a client asks (SSH_FXP_…)."""

    INIT = 1
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    EXTENDED = 200


class Answer(IntEnum):
    """What a server answers (SSH_FXP_…)."""

    VERSION = 2
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED_REPLY = 201


class Status(IntEnum):
    """How it went (SSH_FX_…)."""

    OK = 0
    EOF = 1
    FAILURE = 4
    BAD_MESSAGE = 5
    OP_UNSUPPORTED = 8


class Open(IntFlag):
    """How to open a file (SSH_FXF_…)."""

    READ = 1
    WRITE = 2
    APPEND = 4
    CREAT = 8
    TRUNC = 16
    EXCL = 32


class _Has(IntFlag):
    SIZE = 1
    OWNERS = 2
    MODE = 4
    TIMES = 8
    EXTENDED = 0x8000_0000


def framed(kind: Answer, *payload: bytes) -> bytes:
    """Return a packet with its length and kind in front."""
    return b"".join((UInt32(sum(map(len, payload)) + 1), Byte(kind), *payload))


def version() -> bytes:
    """Return the payload of the server's greeting."""
    return UInt32(VERSION) + b"".join(String(name) + String(data) for name, data in EXTENSIONS.items())


def status(code: int, text: str = "") -> bytes:
    """Return the payload of a status, after the request's number."""
    return UInt32(code) + String(text) + String("")


def changes(packet: SSHPacket) -> AttributeChanges:
    """Take the attributes a client sends; extended ones are dropped."""
    has = _Has(packet.get_uint32())
    size = packet.get_uint64() if has & _Has.SIZE else None
    uid, gid = (packet.get_uint32(), packet.get_uint32()) if has & _Has.OWNERS else (None, None)
    mode = packet.get_uint32() & 0o7777 if has & _Has.MODE else None
    atime, mtime = (packet.get_uint32(), packet.get_uint32()) if has & _Has.TIMES else (None, None)
    for _ in range(2 * packet.get_uint32() if has & _Has.EXTENDED else 0):
        packet.get_string()
    return AttributeChanges(size=size, uid=uid, gid=gid, mode=mode, atime=atime, mtime=mtime)


def write_mode(flags: Open, wanted: AttributeChanges) -> WriteMode:
    """Return how to open a file for writing."""
    return WriteMode(
        create=Open.CREAT in flags,
        truncate=Open.TRUNC in flags,
        exclusive=Open.EXCL in flags and Open.CREAT in flags,
        append=Open.APPEND in flags,
        mode=wanted.mode,
    )


def attributes(found: FileAttributes) -> bytes:
    """Return attributes as they are sent. Numbers of more than 32 bits, and times before 1970, are cut to what fits."""
    has = _Has.SIZE | _Has.OWNERS | _Has.MODE | _Has.TIMES
    words = (found.uid, found.gid, found.mode, found.atime, found.mtime)
    return UInt32(has) + UInt64(min(max(found.size, 0), 2**64 - 1)) + b"".join(UInt32(min(max(word, 0), 0xFFFF_FFFF)) for word in words)


def names(entries: list[FileEntry], now: float) -> bytes:
    """Return the payload of an answer to READDIR."""
    parts = [String(entry.name) + String(long_name(entry, now)) + attributes(entry.attributes) for entry in entries]
    return UInt32(len(entries)) + b"".join(parts)


def one_name(path: bytes) -> bytes:
    """Return the payload of an answer to REALPATH or READLINK: a name without attributes."""
    return UInt32(1) + String(path) + String(path) + UInt32(0)


def long_name(entry: FileEntry, now: float) -> bytes:
    """Return a line as of ``ls -ln``; times are UTC. ``now`` in seconds since 1970: older than half a year shows the year."""
    found = entry.attributes
    try:
        when = time.gmtime(found.mtime)
    except (OverflowError, ValueError, OSError):
        when = time.gmtime(0)
    recent = 0 <= now - found.mtime < HALF_A_YEAR
    date = time.strftime("%b %e %H:%M" if recent else "%b %e  %Y", when)
    line = f"{stat.filemode(found.mode)} {found.links:>4} {found.uid:<8} {found.gid:<8} {found.size:>8} {date} "
    return line.encode("ascii") + entry.name


def space(found: Space) -> bytes:
    """Return the payload of an answer to statvfs@openssh.com."""
    blocks = (found.block, found.block, found.blocks, found.free, found.available)
    return b"".join(map(UInt64, (*blocks, found.inodes, found.inodes_free, found.inodes_free, 0, 0, 255)))


def limits(handles: int) -> bytes:
    """Return the payload of an answer to limits@openssh.com: bytes of a packet, of a read and of a write, and open handles."""
    return b"".join(map(UInt64, (MAX_PACKET, MAX_DATA, MAX_DATA, handles)))


def is_empty(wanted: AttributeChanges) -> bool:
    """Whether nothing is to be changed."""
    return all(value is None for value in msgspec.structs.astuple(wanted))
