"""Stock clients: OpenSSH's (and others) against a server under test, without a terminal or on one."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shlex
import signal
import struct
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from octopus.core.types import TermSize
from tests.parts.tools import SEARCH, need

TIMEOUT = 60.0
"""Seconds a client may take, unless the call says otherwise."""

MAX_SCREEN = 1 << 20
"""Bytes of a terminal's output kept for expectations."""


@dataclass(frozen=True)
class Ended:
    """How a client ended: its status (negative: by that signal) and what it wrote."""

    status: int
    stdout: bytes
    stderr: bytes


class SshClient:
    """OpenSSH's ``ssh`` set up for one server, with a configuration, known hosts and home of its own in ``directory``."""

    def __init__(self, host: str, port: int, directory: Path) -> None:
        self.host, self.port, self.directory = host, port, directory

    @property
    def options(self) -> list[str]:
        """Return what ssh, scp and sftp all need to take nothing from the machine and to trust the server at first sight."""
        return [
            *("-F", "none", "-o", f"Port={self.port}", "-o", f"UserKnownHostsFile={self.directory}/known_hosts"),
            *("-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=accept-new", "-o", "IdentityAgent=none"),
            *("-o", "IdentitiesOnly=yes", "-o", "NumberOfPasswordPrompts=1", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20"),
        ]

    def command(self, user: str, *command: str, key: Path | None = None, options: Sequence[str] = ()) -> list[str]:
        """Return the whole command line of ``ssh``; ``user`` is what stands before the @ ("" for none)."""
        identity = ["-i", str(key)] if key else ["-o", "PubkeyAuthentication=no"]
        login = ["-l", user] if user else []
        return [need("ssh", "openssh-client"), *self.options, *identity, *options, *login, self.host, *command]

    async def run(
        self,
        user: str,
        *command: str,
        key: Path | None = None,
        answers: Mapping[str, str] | None = None,
        stdin: bytes | None = b"",
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,  # noqa: ASYNC109  a client must end in every test; the caller says when it is late
    ) -> Ended:
        """Run ``ssh`` to its end without a terminal; ``answers`` maps words of a prompt to what is typed there."""
        return await self.run_program(
            self.command(user, *command, key=key, options=options), answers=answers, stdin=stdin, env=env, timeout=timeout
        )

    async def run_program(
        self,
        argv: Sequence[str],
        *,
        answers: Mapping[str, str] | None = None,
        stdin: bytes | None = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,  # noqa: ASYNC109
    ) -> Ended:
        """Run any client (scp, sftp, plink, rsync) the same way."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**self.environment(answers), **(env or {})},
            start_new_session=True,  # without a controlling terminal, so that ssh cannot ask there
        )
        try:
            async with asyncio.timeout(timeout):
                stdout, stderr = await process.communicate(stdin)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Ended(status=process.returncode or 0, stdout=stdout, stderr=stderr)

    @contextlib.asynccontextmanager
    async def terminal(
        self,
        user: str,
        *command: str,
        key: Path | None = None,
        size: TermSize | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Terminal]:
        """Run ``ssh`` on a terminal of its own; prompts come there."""
        argv = self.command(user, *command, key=key, options=options)
        async with Terminal.of(argv, size or TermSize(cols=80, rows=24), {**self.environment(), **(env or {})}) as terminal:
            yield terminal

    @contextlib.asynccontextmanager
    async def held(self, user: str, *, key: Path, options: Sequence[str] = ()) -> AsyncIterator[list[str]]:
        """Hold a connection without a session (``ssh -N``), its forwarded ports listening; give the options that share it."""
        shared = ["-o", f"ControlPath={self.directory}/held-{len(list(self.directory.glob('held-*')))}"]
        begin = [*shared, "-o", "ControlMaster=yes", "-o", "ExitOnForwardFailure=yes", *options, "-N", "-f"]
        # the one that goes on in the background keeps its descriptors: it must not hold the pipes of a test
        process = await asyncio.create_subprocess_exec(
            *self.command(user, key=key, options=begin),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=self.environment(),
            start_new_session=True,
        )
        async with asyncio.timeout(TIMEOUT):
            status = await process.wait()
        if status:
            raise AssertionError(f"ssh -N -f ended with {status}")
        try:
            yield shared
        finally:
            await self.run_program([*self.command(user, options=[*shared, "-O", "exit"])])

    def environment(self, answers: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the clients' environment, none of it from the tests' own but PATH."""
        environment = {"PATH": SEARCH, "HOME": str(self.directory), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        if answers is not None:
            environment |= {"SSH_ASKPASS": str(self._askpass(answers)), "SSH_ASKPASS_REQUIRE": "force"}
        return environment

    def _askpass(self, answers: Mapping[str, str]) -> Path:
        """Write the program that ssh asks instead of a person: it is given the prompt, and types the answer."""
        cases = "".join(f"*{shlex.quote(words)}*) printf '%s\\n' {shlex.quote(answer)};;\n" for words, answer in answers.items())
        path = self.directory / f"askpass-{len(list(self.directory.glob('askpass-*')))}"
        path.touch(mode=0o700)
        path.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}*) exit 1;;\nesac\n')
        return path


class Terminal:
    """A program on a pseudo-terminal: what it shows is kept in ``screen``, as bytes, unrendered."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self._master = master
        self._process = process
        self._changed = asyncio.Condition()
        self._ended = False
        self.screen = bytearray()

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, argv: Sequence[str], size: TermSize, env: Mapping[str, str]) -> AsyncIterator[Terminal]:
        """Start ``argv`` on a new terminal; killed on leaving if it still runs."""
        master, slave = os.openpty()
        _set_size(master, size)
        try:
            # setsid makes it the controlling terminal, without which ^C and prompts on /dev/tty do not work
            process = await asyncio.create_subprocess_exec(
                *(need("setsid", "util-linux"), "--ctty", "--wait", *argv), stdin=slave, stdout=slave, stderr=slave, env=dict(env)
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        os.set_blocking(master, False)
        terminal = cls(master, process)
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(terminal._read())
            try:
                yield terminal
            finally:
                await terminal._end()
                await reader
                os.close(master)

    def send(self, text: bytes) -> None:
        """Type; control characters by their byte (``b"\\x03"`` is ^C). Short texts only: nothing waits for room."""
        os.write(self._master, text)

    def resize(self, size: TermSize) -> None:
        """Change the terminal's size, as when a window is dragged."""
        _set_size(self._master, size)

    async def expect(self, pattern: bytes, *, timeout: float = TIMEOUT) -> re.Match[bytes]:  # noqa: ASYNC109
        """Wait until the pattern (a regular expression) is on the screen, drop all up to its end, return the match.

        Raise AssertionError with the screen when the program ends without it, or in time it does not come.
        """
        try:
            async with asyncio.timeout(timeout), self._changed:
                while not (match := re.search(pattern, bytes(self.screen))):
                    if self._ended:
                        raise AssertionError(f"ended without {pattern!r}: {bytes(self.screen)!r}")
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"no {pattern!r} within {timeout:g} s: {bytes(self.screen)!r}") from None
        del self.screen[: match.end()]
        return match

    async def wait(self, *, timeout: float = TIMEOUT) -> int:  # noqa: ASYNC109
        """Return the program's status once it has ended."""
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    def vanish(self) -> None:
        """Kill the client without a word."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the client, its connection open, as when a laptop is shut."""
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        for pid in _family(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def _end(self) -> None:
        """Kill what still runs and wait for it."""
        if self._process.returncode is None:
            self.vanish()
            await self._process.wait()

    async def _read(self) -> None:
        """Collect output until the terminal hangs up."""
        loop = asyncio.get_running_loop()
        while chunk := await self._chunk(loop):
            async with self._changed:
                self.screen += chunk
                del self.screen[:-MAX_SCREEN]
                self._changed.notify_all()
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def _chunk(self, loop: asyncio.AbstractEventLoop) -> bytes:
        """Return the next bytes, b"" when nobody holds the other end any more (Linux says EIO)."""
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._master, _wake, readable)
        try:
            await readable
            return os.read(self._master, 65536)
        except OSError:
            return b""
        finally:
            loop.remove_reader(self._master)


def _wake(waiter: asyncio.Future[None]) -> None:
    """End a wait; more than once does no harm."""
    if not waiter.done():
        waiter.set_result(None)


def _set_size(fd: int, size: TermSize) -> None:
    """Set a terminal's size (tty_ioctl(4), TIOCSWINSZ: rows first)."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.cols, 0, 0))


def _family(pid: int) -> list[int]:
    """Return a process and its direct children, children first."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        below = []
    return [*(int(child) for child in below), pid]
