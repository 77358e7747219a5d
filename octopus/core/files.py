"""Files in a container: what passes between the room that reaches them and the one that serves them, and how it fails.

Every failure is a FileFailure, each with the status of SFTP version 3 (draft-ietf-secsh-filexfer-02, 7); an engine that does
not answer is ContainerUnavailable as everywhere.
"""

from __future__ import annotations

import hashlib
import stat
from typing import ClassVar

from octopus.core.errors import Refused
from octopus.core.types import Value


class FileAttributes(Value, frozen=True, kw_only=True):
    """What ``stat`` says: ``mode`` with its type bits (``st_mode``), times in seconds since 1970, ``size`` in bytes."""

    mode: int
    size: int
    uid: int
    gid: int
    atime: int
    mtime: int
    links: int = 1

    @property
    def directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def symlink(self) -> bool:
        """Whether it is a symbolic link itself."""
        return stat.S_ISLNK(self.mode)

    @property
    def regular(self) -> bool:
        """Whether it is an ordinary file: no device, pipe or socket either."""
        return stat.S_ISREG(self.mode)


class AttributeChanges(Value, frozen=True, kw_only=True):
    """What to change, None leaves it. ``size`` truncates or extends; ``mode`` is the lower twelve bits.

    Owner and group, and the two times, come in pairs as SFTP 3 sends them; half a pair is refused.
    """

    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None
    atime: int | None = None
    mtime: int | None = None

    def __post_init__(self) -> None:
        """Refuse halves of pairs and numbers that no file has."""
        numbers = (self.size, self.uid, self.gid, self.mode, self.atime, self.mtime)
        if any(number is not None and number < 0 for number in numbers) or (self.mode or 0) > 0o7777:
            raise ValueError("no file has such an attribute")
        if (self.uid is None) != (self.gid is None) or (self.atime is None) != (self.mtime is None):
            raise ValueError("owner and group, and both times, are changed together")


class FileEntry(Value, frozen=True, kw_only=True):
    """One name in a directory, with the attributes of what it names (of the link, not of where it leads)."""

    name: bytes
    attributes: FileAttributes


class Place(Value, frozen=True, kw_only=True):
    """A path, resolved: what a rule decides on and what every operation takes. Only ``ContainerFiles.resolve`` makes one.

    ``asked`` is the path as the client sent it. ``path`` is absolute, without ``.``, ``..`` and symbolic links, except that its
    last name may be one where the caller asked not to follow it. ``attributes`` are those found there, None: nothing is there,
    and where it is ``vacant`` the user may make something there (False also where that is not known). Where it is ``begun`` there
    is a file that the user may read, and its attributes come with its beginning, to who opens it next.
    """

    asked: bytes
    path: bytes
    attributes: FileAttributes | None
    vacant: bool = False
    begun: bool = False


class WriteMode(Value, frozen=True, kw_only=True):
    """How to open for writing, as SSH_FXF_CREAT, _TRUNC, _EXCL and _APPEND; ``mode`` is a new file's, None: 0666 less the umask."""

    create: bool = True
    truncate: bool = True
    exclusive: bool = False
    append: bool = False
    mode: int | None = None


class Space(Value, frozen=True, kw_only=True):
    """A file system's size as statvfs tells it: ``block`` in bytes, the others in blocks and in inodes."""

    block: int
    blocks: int
    free: int
    available: int
    inodes: int = 0
    inodes_free: int = 0


class Passed(Value, frozen=True, kw_only=True):
    """What passed of one open file, for the audit trail.

    ``size`` counts bytes, ``sha256`` (hex) is over them: in the order of the file while ``ordered``, else as they passed.
    ``complete``: a file read from its start to its end, or written and in its place.
    """

    size: int
    sha256: str
    ordered: bool
    complete: bool


class PassedBytes:
    """Counts and hashes what passes at offsets; pieces a little ahead of their turn wait, up to ``window`` bytes.

    Clients send requests in parallel, so pieces overtake one another. A piece that comes again, or a gap wider than the
    window, means the file did not pass in order: from there on bytes are hashed as they come.
    """

    def __init__(self, start: int = 0, window: int = 4 * 1024 * 1024) -> None:
        self.start = start
        self.end = start
        """Up to here everything has passed, while ``ordered``."""
        self.size = 0
        self.ordered = True
        self._hash = hashlib.sha256()
        self._early: dict[int, bytes] = {}
        self._waiting = 0
        self._window = window

    def add(self, offset: int, data: bytes) -> None:
        """Say that these bytes passed."""
        if not data:
            return
        self.size += len(data)
        if not self.ordered:
            self._hash.update(data)
        elif offset == self.end:
            self._take(data)
        elif offset > self.end and offset not in self._early and self._waiting + len(data) <= self._window:
            self._early[offset] = bytes(data)
            self._waiting += len(data)
        else:
            self._give_up(data)

    def result(self, *, complete: bool) -> Passed:
        """Return the figures as they stand; what still waits for its turn is hashed last."""
        if self._early:
            self._give_up(b"")
        return Passed(size=self.size, sha256=self._hash.hexdigest(), ordered=self.ordered, complete=complete)

    def _take(self, data: bytes) -> None:
        self._hash.update(data)
        self.end += len(data)
        while early := self._early.pop(self.end, b""):
            self._waiting -= len(early)
            self._hash.update(early)
            self.end += len(early)

    def _give_up(self, data: bytes) -> None:
        self.ordered = False
        for early in self._early.values():
            self._hash.update(early)
        self._early.clear()
        self._waiting = 0
        self._hash.update(data)


class FileFailure(Refused):
    """A file operation that was not done, for a reason the notice gives (SSH_FX_FAILURE)."""

    sftp_status: ClassVar[int] = 4
    exit_status = 1
    http_status = 409
    default_notice = "failure"


class NoSuchFile(FileFailure):
    """Nothing has this name, or a link leads nowhere."""

    sftp_status = 2
    http_status = 404
    default_notice = "no such file or directory"


class FileDenied(FileFailure):
    """The container's user may not do that."""

    sftp_status = 3
    http_status = 403
    default_notice = "permission denied"


class FileUnsupported(FileFailure):
    """This cannot be done in this container at all; the notice says what it would take."""

    sftp_status = 8
    http_status = 501
    default_notice = "this image has no shell, and it cannot be done without one"


class FileExists(FileFailure):
    """The name is taken."""

    default_notice = "file exists"


class NotADirectory(FileFailure):
    """A directory was needed."""

    default_notice = "not a directory"


class IsADirectory(FileFailure):
    """Anything but a directory was needed."""

    default_notice = "is a directory"


class DirectoryNotEmpty(FileFailure):
    """The directory holds something."""

    default_notice = "directory not empty"


class TooManyLinks(FileFailure):
    """Symbolic links lead in a circle."""

    default_notice = "too many levels of symbolic links"


class NoSpace(FileFailure):
    """The container's file system, a quota, or the gateway's spool is full."""

    default_notice = "no space left"


class ReadOnly(FileFailure):
    """The file system takes no changes."""

    default_notice = "read-only file system"


class PathChanged(FileFailure):
    """Between resolving and doing the path was made to lead elsewhere; nothing was done there."""

    default_notice = "the path changed meanwhile"
