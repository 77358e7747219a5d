"""What the helper shell in a container is sent and what it says: arguments, attributes and errors. Pure (see files.sh)."""

from __future__ import annotations

import re
import stat

from octopus.core.errors import BadUpstream
from octopus.core.files import (
    DirectoryNotEmpty,
    FileAttributes,
    FileDenied,
    FileEntry,
    FileExists,
    FileFailure,
    IsADirectory,
    NoSpace,
    NoSuchFile,
    NotADirectory,
    PathChanged,
    ReadOnly,
    TooManyLinks,
)

_TEMPORARY = b".octopus-"
_MARKED = re.compile(rb"\.octopus-[0-9a-f]{24}")

MOST = 2**63 - 1
"""The largest number a kernel tells of a file; the tools of a container may say others."""

_PLAIN = re.compile(rb"[ -\[\]-~]*")
_NUMBERS = re.compile(rb"([0-9a-f]{1,8}) ([0-9]{1,20}) ([0-9]{1,10}) ([0-9]{1,10}) (-?[0-9]{1,20}) (-?[0-9]{1,20}) ([0-9]{1,20})")
_LISTED = re.compile(
    rb"([-dlbcps])([-rwxsStT]{9})[.+@]? ([0-9]{1,20}) ([0-9]{1,10}) ([0-9]{1,10}) (-?[0-9]{1,20}) (-?[0-9]{1,20}) ([0-9]{1,20})"
)
_TYPES = dict(
    zip(b"-dlbcps", (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK), strict=True)
)

_TOLD: tuple[tuple[bytes, type[FileFailure], str], ...] = (
    (b"no such file", NoSuchFile, ""),
    (b"nonexistent", NoSuchFile, ""),  # dash and busybox, of a directory
    (b"permission denied", FileDenied, ""),
    (b"operation not permitted", FileDenied, ""),
    (b"file exists", FileExists, ""),
    (b"not a directory", NotADirectory, ""),
    (b"is a directory", IsADirectory, ""),
    (b"directory not empty", DirectoryNotEmpty, ""),
    (b"symbolic links", TooManyLinks, ""),
    (b"symbolic link loop", TooManyLinks, ""),  # musl
    (b"no space left", NoSpace, ""),
    (b"quota exceeded", NoSpace, "the disk quota is used up"),
    (b"read-only file system", ReadOnly, ""),
    (b"path changed", PathChanged, ""),
    (b"not a regular file", FileFailure, "not a regular file"),
    (b"bytes are missing", FileFailure, "bytes are missing"),
    (b"file too large", FileFailure, "file too large"),
    (b"name too long", FileFailure, "file name too long"),
    (b"invalid argument", FileFailure, "invalid argument"),
    (b"cross-device link", FileFailure, "cannot link across file systems"),
    (b"resource busy", FileFailure, "device or resource busy"),
    (b"text file busy", FileFailure, "text file busy"),
)


def temporary(mark: bytes) -> bytes:
    """Return the name of a file that is not whole yet, by a mark of 24 hexadecimal digits."""
    return _TEMPORARY + mark


def mark_of(name: bytes) -> bytes:
    """Return the mark in such a name."""
    return name.removeprefix(_TEMPORARY)


def mark_begun(mark: bytes, chunk: bytes) -> int:
    """Return how many bytes at the end of a chunk may be the beginning of a mark."""
    tail = chunk[1 - len(mark) :]
    at = tail.find(mark[:1])
    while at >= 0 and not mark.startswith(tail[at:]):
        at = tail.find(mark[:1], at + 1)
    return len(tail) - at if at >= 0 else 0


def mark_found(mark: bytes, tail: bytes, chunk: bytes) -> int | None:
    """Return where the mark begins in a chunk, less than 0 where it does in the tail of those before."""
    across = (tail + chunk[: len(mark) - 1]).find(mark) if tail else -1
    if across >= 0:
        return across - len(tail)
    at = chunk.find(mark)
    return at if at >= 0 else None


def is_temporary(name: bytes) -> bool:
    """Whether it is the name of a file that is not whole yet: no other is hidden from a list."""
    return bool(_MARKED.fullmatch(name))


def argument(value: bytes) -> bytes:
    """Return an argument as one line of printable ASCII. Raise NoSuchFile for NUL, which no name holds."""
    if b"\0" in value:
        raise NoSuchFile(notice="a name cannot hold NUL")
    if _PLAIN.fullmatch(value):
        return value
    return b"".join(bytes((byte,)) if 0x20 <= byte < 0x7F and byte != 0x5C else b"\\0%03o" % byte for byte in value)


def last_argument(value: bytes) -> bytes:
    """Return an argument as the rest of a line, of which a shell drops the spaces at the end. Raise NoSuchFile for NUL."""
    line = argument(value)
    return line[:-1] + b"\\0040" if line.endswith(b" ") else line


def failure(said: bytes) -> FileFailure:
    """Return the error that a command told on its standard error; the last one it named counts."""
    text = said.lower()
    at, kind, notice = max(((text.rfind(words), kind, notice) for words, kind, notice in _TOLD), key=lambda found: found[0])
    operator = said.decode("utf-8", "backslashreplace").strip()
    return kind(operator, notice=notice) if at >= 0 else FileFailure(operator)


def attributes(line: bytes) -> FileAttributes:
    """Read ``stat``'s numbers, or ``ls -ldn``'s where there is no ``stat``. Raise BadUpstream."""
    if numbers := _NUMBERS.fullmatch(line):
        mode, rest = int(numbers[1], 16), numbers.groups()[1:]
    elif listed := _LISTED.fullmatch(line):
        mode, rest = _TYPES[listed[1][0]] | permissions(listed[2]), listed.groups()[2:]
    else:
        raise BadUpstream("files helper", "not a file's attributes", line)
    size, uid, gid, atime, mtime, links = (min(int(number), MOST) for number in rest)
    return FileAttributes(mode=mode, size=size, uid=uid, gid=gid, atime=max(atime, 0), mtime=max(mtime, 0), links=links)


def permissions(letters: bytes) -> int:
    """Return the twelve bits of ``rwxr-sr-t``."""
    bits = 0
    for letter in letters:
        bits = bits << 1 | (letter not in b"-ST")
    for index, special in ((2, 0o4000), (5, 0o2000), (8, 0o1000)):
        bits |= special if letters[index] in b"sStT" else 0
    return bits


def entry(record: bytes) -> FileEntry:
    """Read one entry of a directory: attributes, a space, ``./name`` and a newline. Raise BadUpstream."""
    numbers, slash, name = record.partition(b" ./")
    if not slash or not name.endswith(b"\n"):
        raise BadUpstream("files helper", "not a directory entry", record)
    return FileEntry(name=name[:-1], attributes=attributes(numbers))
