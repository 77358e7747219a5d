"""How a file was opened for writing, and what is changed of it, as the helper takes it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from octopus.core.errors import BadUpstream
from octopus.core.files import AttributeChanges, FileAttributes

DEFAULT_MODE = 0o666
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


def masked(mode: int) -> tuple[bytes, bytes]:
    """Return the umask a file is made with, and the mode that it still lacks then, b"" where it lacks nothing."""
    return (b"%04o" % (0o666 & ~mode), b"") if mode & ~0o666 == 0 else (b"0077", b"%04o" % mode)


def change_arguments(changes: AttributeChanges) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Return changes as the helper takes them: size, owner, mode, both times; b"" leaves it."""
    owner = b"" if changes.uid is None or changes.gid is None else b"%d:%d" % (changes.uid, changes.gid)
    mode = b"" if changes.mode is None else b"%04o" % changes.mode
    size, atime, mtime = (b"" if number is None else b"%d" % number for number in (changes.size, changes.atime, changes.mtime))
    return size, owner, mode, atime, mtime


def read_created(said: bytes) -> tuple[bytes, bytes]:
    """Read what the helper says of a new file: the attributes of what is there or -, and how it is made. Raise BadUpstream."""
    line, newline, how = said.partition(b"\n")
    if not newline or how not in (b"new\n", b"in-place\n"):
        raise BadUpstream("files helper", "not a new file", said)
    return line, how[:-1]
