"""Commands on this machine in place of a container: a real shell, real pipes and a real pseudo-terminal, without an engine."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from octopus.core.container_log import ContainerLog, LogQuery
from octopus.core.errors import ContainerUnavailable
from octopus.core.ports import ContainerFiles, ExecStream
from octopus.core.short_way import Take
from octopus.core.types import ExecSpec, Exit, Output, Target, TermSize
from tests.parts.local_files import LocalFilesBackend
from tests.parts.tools import SEARCH


class LocalBackend:
    """A backend. ``running`` are the streams of now; ``refusal`` is raised instead of starting; ``gone`` says so of each end.

    ``local`` are the files, whose relative paths start at ``home``; ``logged`` is every log, ``followed`` those that are open.
    """

    def __init__(self, home: bytes = b"/") -> None:
        self.local = LocalFilesBackend(home)
        self.running: list[LocalStream] = []
        self.started = 0
        self.refusal: ContainerUnavailable | None = None
        self.gone = False
        self.logged: tuple[Output, ...] = ()
        self.followed: list[LocalLog] = []

    @asynccontextmanager
    async def start(self, target: Target, spec: ExecSpec) -> AsyncIterator[ExecStream]:
        """Run the command in a session (setsid) of its own, which is killed on leaving."""
        if self.refusal:
            raise self.refusal
        stream = await LocalStream.of(spec, self)
        self.started += 1
        self.running.append(stream)
        try:
            yield stream
        finally:
            await stream.end()
            self.running.remove(stream)

    def files(self, target: Target, user: str, token: str) -> AbstractAsyncContextManager[ContainerFiles]:
        """Give the files."""
        return self.local.files(target, user, token)

    @asynccontextmanager
    async def logs(self, target: Target, query: LogQuery) -> AsyncIterator[ContainerLog]:
        """Give what is ``logged``; a follower waits for more until it leaves."""
        log = LocalLog(self.logged, follow=query.follow)
        self.followed.append(log)
        try:
            yield log
        finally:
            self.followed.remove(log)

    async def reap(self, target: Target, spec: ExecSpec) -> bool:
        """Nothing is ever left."""
        return True

    async def aclose(self) -> None:
        """Nothing to release."""


class LocalLog:
    """A log."""

    container = "local"

    def __init__(self, logged: tuple[Output, ...], *, follow: bool) -> None:
        self._logged = logged
        self._follow = follow

    async def output(self) -> AsyncGenerator[Output, None]:
        """Yield what is there, then nothing, for ever."""
        for output in self._logged:
            yield output
        if self._follow:
            await asyncio.Event().wait()


class LocalStream:
    """An ExecStream over pipes or a pseudo-terminal's master, read only when asked for more."""

    container = "local"

    def __init__(self, backend: LocalBackend, process: asyncio.subprocess.Process, reads: list[tuple[int, bool]], write: int) -> None:
        self._backend = backend
        self._process = process
        self._reads = reads
        self._write = write
        self._terminal = len(reads) == 1

    @classmethod
    async def of(cls, spec: ExecSpec, backend: LocalBackend) -> LocalStream:
        """Start what the spec says."""
        # A job in a script's background ignores ^C, and so would all that it starts; what an engine starts does not.
        shell = ["env", "--default-signal=INT,QUIT", "/bin/sh"]
        argv = shell if spec.command is None else [*shell, "-c", spec.command]
        env = {"PATH": SEARCH, "PS1": "$ ", **spec.env} | ({"TERM": spec.pty.term} if spec.pty else {})
        if spec.pty:
            master, slave = pty.openpty()
            _resize(master, spec.pty.size)
            process = await asyncio.create_subprocess_exec(
                "setsid", "--ctty", "--wait", *argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
            )
            os.close(slave)
            os.set_blocking(master, False)
            return cls(backend, process, [(master, False)], master)
        (stdin, own_in), (own_out, stdout), (own_err, stderr) = os.pipe(), os.pipe(), os.pipe()
        process = await asyncio.create_subprocess_exec(*argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, start_new_session=True)
        for theirs in (stdin, stdout, stderr):
            os.close(theirs)
        for ours in (own_in, own_out, own_err):
            os.set_blocking(ours, False)
        return cls(backend, process, [(own_out, False), (own_err, True)], own_in)

    async def output(self) -> AsyncIterator[Output]:
        """See ``ExecStream``."""
        open_ends = dict(self._reads)
        while open_ends:
            for end in await _ready(list(open_ends)):
                data = _read(end)
                if data:
                    yield Output(data=data, stderr=open_ends[end])
                else:
                    del open_ends[end]

    def offer(self, take: Take) -> None:
        """Offer nothing: a pseudo-terminal is read when asked for more."""

    def write_now(self, data: bytes) -> bool:
        """Send nothing."""
        return False

    async def write(self, data: bytes) -> None:
        """See ``ExecStream``."""
        rest = memoryview(data)
        while rest and self._write >= 0:
            try:
                rest = rest[os.write(self._write, rest) :]
            except BlockingIOError:
                await _writable(self._write)
            except OSError:
                return

    async def write_eof(self) -> None:
        """See ``ExecStream``."""
        if self._terminal:
            await self.write(b"\x04")
        else:
            self._close_input()

    async def resize(self, size: TermSize) -> None:
        """See ``ExecStream``."""
        if self._terminal:
            _resize(self._write, size)

    async def signal(self, name: str) -> None:
        """See ``ExecStream``."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, getattr(signal, f"SIG{name}"))

    async def wait(self) -> Exit:
        """See ``ExecStream``."""
        status = await self._process.wait()
        return Exit(status=status if status >= 0 else 128 - status, container_gone=self._backend.gone)

    async def end(self) -> None:
        """Kill the command's session and close everything."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in _children(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        try:
            await self._reaped()
        finally:
            self._close_input()
            for end, _ in self._reads:
                with contextlib.suppress(OSError):
                    os.close(end)

    async def _reaped(self) -> None:
        """Wait for what was killed, whoever cancels meanwhile: a loop that closes first never learns of its end."""
        cancelled = False
        while self._process.returncode is None:
            try:
                await asyncio.shield(self._process.wait())
            except asyncio.CancelledError:
                cancelled = True
        await asyncio.sleep(0)  # its transport closes a turn of the loop later
        if cancelled:
            raise asyncio.CancelledError

    def _close_input(self) -> None:
        if self._write >= 0 and not self._terminal:
            os.close(self._write)
            self._write = -1


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            return [int(child) for child in children.read().split()]
    except OSError:
        return []


def _read(end: int) -> bytes:
    try:
        return os.read(end, 65536)
    except OSError:  # EIO: nobody holds a terminal's other end any more
        return b""


async def _ready(ends: list[int]) -> list[int]:
    """Wait until some of the descriptors can be read."""
    loop = asyncio.get_running_loop()
    found: set[int] = set()
    ready = asyncio.Event()

    def note(end: int) -> None:
        found.add(end)
        ready.set()

    for end in ends:
        loop.add_reader(end, note, end)
    try:
        await ready.wait()
    finally:
        for end in ends:
            loop.remove_reader(end)
    return [end for end in ends if end in found]


async def _writable(end: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(end, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(end)


def _resize(end: int, size: TermSize) -> None:
    with contextlib.suppress(OSError):
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.cols, 0, 0))
