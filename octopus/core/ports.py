"""The ports: what one room needs of another, each with a real implementation and a fake under the same contract test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from octopus.core.files import AttributeChanges, FileAttributes, FileEntry, Passed, Place, Space, WriteMode
from octopus.core.forwarding import Side
from octopus.core.placement_app import App
from octopus.core.placement_rules import Rules
from octopus.core.short_way import ShortWay
from octopus.core.types import Allow, AuditEvent, ExecSpec, Exit, Identity, Output, Target, TermSize
from octopus.core.unique_actions import Rescaled


class Directory(Protocol):
    """Who people are: LDAP or the users file."""

    async def check_password(self, login: str, password: str) -> Identity:
        """Return who that is. Raise AuthenticationFailed (any reason, one text) or DirectoryUnavailable."""
        ...

    async def look_up(self, login: str, method: str) -> Identity:
        """Return a person proven by other means (certificate), with fresh groups and account state.

        Raise AuthenticationFailed when unknown, ambiguous, disabled or expired; DirectoryUnavailable.
        """
        ...

    async def by_key(self, fingerprint: str, login: str = "") -> Identity:
        """Return the one person who owns the public key with this ``SHA256:…`` fingerprint, of those called ``login`` where one is said.

        Raise as ``look_up`` does, and AuthenticationFailed when nobody or several people own it.
        """
        ...


class ExecStream(ShortWay, Protocol):
    """A started command in a container; only a terminal's output may go the short way."""

    container: str
    """The engine's id of the container that was entered."""

    def output(self) -> AsyncIterator[Output]:
        """Yield output as it comes, until the end of the stream. To be iterated once."""
        ...

    async def write(self, data: bytes) -> None:
        """Send input; waits while the engine's buffer is full."""
        ...

    async def write_eof(self) -> None:
        """Half-close; with a terminal the line discipline's VEOF (^D) instead."""
        ...

    async def resize(self, size: TermSize) -> None:
        """Set the terminal's size; the latest of a storm wins."""
        ...

    async def signal(self, name: str) -> None:
        """Deliver a signal by its RFC 4254 name to the command."""
        ...

    async def wait(self) -> Exit:
        """Return how it ended, once the output is drained. Raise ContainerUnavailable when that cannot be known."""
        ...


class ExecBackend(Protocol):
    """Starts commands in containers."""

    def start(self, target: Target, spec: ExecSpec) -> AbstractAsyncContextManager[ExecStream]:
        """Check the container against the target, start the command; on leaving, end what is left of it.

        Raise ContainerUnavailable (its engine, or the container, which may be gone or not the task's), InvalidRequest (no shell).
        """
        ...

    async def reap(self, target: Target, spec: ExecSpec) -> bool:
        """End every process of the session in the container; False when that could not be done (no shell)."""
        ...

    async def aclose(self) -> None:
        """Release connections and threads."""
        ...


class FileReader(Protocol):
    """A file open for reading. Calls may overlap; those in the order of the file are the fast ones."""

    size: int
    """What it had when it was opened, in bytes; known once something was read, or it is closed."""

    async def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end of the file; b"" beyond it. Raise FileFailure."""
        ...

    async def stat(self) -> FileAttributes:
        """Return the attributes of the open file as they are now. Raise FileFailure."""
        ...

    async def close(self) -> Passed:
        """Close it, at any time and more than once, and return what passed. Never raises for the engine's sake."""
        ...


class FileWriter(Protocol):
    """A file open for writing. Calls may overlap and come in any order.

    A file written anew (it was not there, or ``truncate``) is written under a name of its own beside the place, and takes the
    place in ``close``: until then nothing changed. Without ``truncate`` an existing file is changed as the writes come, because
    that is what its client asked for (``reput``, an editor over sshfs).
    """

    async def write(self, offset: int, data: bytes) -> None:
        """Write; with ``append`` the offset does not count. A full disk may show only in a later call. Raise FileFailure."""
        ...

    async def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes as they are after all writes before, b"" at the end. Raise FileFailure."""
        ...

    async def stat(self) -> FileAttributes:
        """Return the attributes, with the size as written up to now. Raise FileFailure."""
        ...

    async def change(self, changes: AttributeChanges) -> None:
        """Set attributes; times hold from ``close`` on, whatever is written meanwhile. Raise FileFailure."""
        ...

    async def close(self) -> Passed:
        """Put the file in its place and return what passed. Raise FileFailure: then nothing is left of a new file. Again: the same."""
        ...

    async def abort(self) -> Passed:
        """Leave no trace of a new file, and return what passed, not complete. Never raises; nothing after ``close``."""
        ...


class ContainerFiles(Protocol):
    """The files of one container as one user of it, for one session. Paths are bytes; a relative one starts at ``home``.

    First ``resolve``, then decide, then operate on the Place. Where the image has a shell every operation is done by the
    container's user, so that the kernel decides what that user may; and it is done on what was opened or entered, after the
    kernel's own name for that (``/proc/self/fd``, ``getcwd``) was seen to be ``place.path``: a link swapped in between is
    PathChanged and never followed. What that cannot see: another name for the same file (hard link, bind mount), and a
    directory moved elsewhere after it was entered. Without a shell the archive API acts as root: the user's right is judged by
    owner and mode bits, and a process in the container that swaps links between two calls can lead it astray within the
    container, never out of it. All calls may raise FileFailure and ContainerUnavailable.
    """

    container: str
    """The engine's id of the container."""

    home: bytes
    """The working directory of the user in the image, absolute."""

    has_shell: bool
    """Whether everything works; else what cannot be done raises FileUnsupported."""

    async def resolve(self, path: bytes, *, follow: bool = True, ahead: bool = False, new: bool = False) -> Place:
        """Return where a path leads; ``follow`` its last name too when that is a link. Nothing there yet: no attributes.

        With ``ahead``, for who is about to read it whatever it leads to, the beginning of a file may be fetched along (``begun``). With
        ``new``, for who is about to write a file anew, a directory that was made here may count as empty but for what was put
        there since: what others did is met when the file takes its place.

        A link that dangles leads to where it points: nothing there, but a file can be made. A file being written anew counts as
        there. Raise NoSuchFile (a directory on the way), NotADirectory, TooManyLinks, FileDenied.
        """
        ...

    def entries(self, place: Place) -> AsyncIterator[tuple[FileEntry, ...]]:
        """Yield the entries of a directory in batches, in no order, without ``.`` and ``..``. Raise NotADirectory, FileDenied."""
        ...

    async def read_link(self, place: Place) -> bytes:
        """Return what a symbolic link holds. Raise FileFailure when it is none."""
        ...

    async def open_read(self, place: Place) -> FileReader:
        """Open a file. Raise IsADirectory, FileDenied, FileFailure (a device or a pipe)."""
        ...

    async def open_write(self, place: Place, mode: WriteMode) -> FileWriter:
        """Open a file for writing. Raise NoSuchFile (no ``create``), FileExists (``exclusive``), FileDenied, IsADirectory, NoSpace.

        Where nothing is there yet, what has changed since ``resolve`` may show only in a later call.
        """
        ...

    async def change(self, place: Place, changes: AttributeChanges) -> None:
        """Set attributes of what is there (never of a link itself). Raise FileDenied, FileUnsupported."""
        ...

    async def make_directory(self, place: Place, mode: int | None = None) -> None:
        """Make a directory; ``mode`` None is 0777 less the umask. Raise FileExists, FileDenied."""
        ...

    async def remove_directory(self, place: Place) -> None:
        """Remove an empty directory. Raise NotADirectory, DirectoryNotEmpty, FileUnsupported."""
        ...

    async def remove(self, place: Place) -> None:
        """Remove a file or a link. Raise IsADirectory, FileDenied."""
        ...

    async def rename(self, old: Place, new: Place, *, replace: bool) -> None:
        """Give what is there another name; ``replace`` is posix-rename's, else a taken name raises FileExists. Raise FileDenied."""
        ...

    async def symlink(self, text: bytes, place: Place) -> None:
        """Make a symbolic link that holds ``text``, as it is. Raise FileExists, FileDenied."""
        ...

    async def link(self, old: Place, new: Place) -> None:
        """Make a hard link. Raise FileExists, FileDenied, FileFailure (another file system)."""
        ...

    async def space(self, place: Place) -> Space:
        """Return the size of the file system there. Raise FileUnsupported where it cannot be known."""
        ...


@runtime_checkable
class FilesBackend(Protocol):
    """Reaches the files of containers."""

    def files(self, target: Target, user: str, token: str) -> AbstractAsyncContextManager[ContainerFiles]:
        """Check the container against the target as ``ExecBackend.start`` does; on leaving, abort what is open and end every helper.

        ``user`` "" is the image's; ``token`` marks the helper processes as the session's (``ExecSpec.token``).
        Raise ContainerUnavailable, FileUnsupported (a containerizer whose files cannot be reached).
        """
        ...


class ForwardStream(Protocol):
    """A connection to a port of a task. All calls may raise ContainerUnavailable."""

    container: str
    """The engine's id of the container."""

    address: str
    """Where it leads: ``HOST:PORT`` at the agent, or ``container:PORT`` on the container's loopback."""

    async def read(self) -> bytes:
        """Return what came, b"" at the end of it; the other direction goes on."""
        ...

    async def write(self, data: bytes) -> None:
        """Send; waits while the peer's buffer is full."""
        ...

    async def write_eof(self) -> None:
        """End our side; the peer's goes on."""
        ...


class ForwardBackend(Protocol):
    """Connects to ports of tasks."""

    def connect(self, target: Target, allow: Allow, asked: Side, port: int, number: int) -> AbstractAsyncContextManager[ForwardStream]:
        """Check the container against the target, and the port against what is the task's own; connect; on leaving, disconnect.

        ``number`` is the connection's own within its session. Raise AccessDenied (not the task's port), InvalidRequest (no way to
        it), ContainerUnavailable (nothing answers, or the container is gone).
        """
        ...


class AuditLog(Protocol):
    """The audit trail."""

    async def append(self, event: AuditEvent) -> None:
        """Return once the event is durable (or was already there, by its key). Raise AuditUnavailable."""
        ...


class AppScaling(Protocol):
    """Sets the number of instances of an app, and nothing else of it; never by force. ``rules`` say which Marathon that is.

    All calls may raise NoSuchTarget (there is no such app), AccessDenied, BadUpstream and OrchestratorUnavailable.
    """

    async def read(self, app: str, rules: Rules) -> App:
        """Return the app as it is now."""
        ...

    async def scale(self, app: str, instances: int, rules: Rules) -> Rescaled:
        """Set the number. Raise AppLocked (a deployment is under way), InvalidRequest (it is not taken as it stands)."""
        ...

    async def waiting(self, app: str) -> str:
        """Return why instances of the app wait for a place, in Marathon's words; "" where it does not say."""
        ...
