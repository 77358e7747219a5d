"""Clients that read a stream of known bytes through the gateway and compare every one of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.e2e.scene import Scene
from tests.parts.ssh_client import Ended, SshClient

LINES = 450_000
SECOND = 500_000
"""Bytes that come once the client has let the command end."""
PIECE = 1 << 16
STEP = 9973
"""Bytes by which each stream begins later than the one before: no two are alike."""
SOURCE = "/tmp/pattern"


@cache
def pattern() -> bytes:
    """Return 3 MB of which every part tells where it is from: more than the sockets between can hold."""
    return b"".join(b"%d\n" % number for number in range(1, LINES + 1))


def lay_out(scene: Scene, *apps: str) -> None:
    """Put the pattern into the containers of these apps."""
    for app in apps:
        task = scene.task(app)
        status, said = scene.engine(task).run(scene.container(task), "sh", "-c", f"seq 1 {LINES} >{SOURCE}")
        assert status == 0, said


@dataclass
class Stream:
    """One client under way. ``seed`` makes its bytes and is its exit status; ``compared`` counts."""

    seed: int
    pty: bool
    process: asyncio.subprocess.Process
    compared: int = 0

    @classmethod
    async def order(cls, ssh: SshClient, target: str, seed: int, *, key: Path, pty: bool = False) -> Stream:
        """Connect and begin a stream; its first bytes are here when this returns."""
        quiet = "stty -echo; " if pty else ""
        command = f"{quiet}tail -c +{seed * STEP + 1} {SOURCE}; read go; head -c {SECOND} {SOURCE}; exit {seed}"
        process = await asyncio.create_subprocess_exec(
            *ssh.command(target, command, key=key, options=["-tt"] if pty else []),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=ssh.environment(),
            limit=PIECE,
            start_new_session=True,
        )
        stream = cls(seed, pty, process)
        try:
            await stream._compare(1)
        except BaseException:
            await stream.close()
            raise
        return stream

    async def read(self) -> None:
        """Read and compare the stream up to where it waits for us."""
        await self._compare(len(self._first))

    async def finish(self) -> Ended:
        """Read all of it, let the command end, and return how the client ended."""
        await self.read()
        self.let_end()
        await self._compare(len(self._first) + len(self._second))
        return await self.rest()

    async def drained(self) -> Ended:
        """Read and compare whatever still comes, and return how the client ended."""
        await self._compare(None)
        return await self.rest()

    async def rest(self) -> Ended:
        """Return what else comes, and how the client ended."""
        stdout, stderr = await self.process.communicate()
        return Ended(status=self.process.returncode or 0, stdout=stdout, stderr=stderr)

    def let_end(self) -> None:
        """Type the line that the command waits for."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    async def close(self) -> None:
        """End the client if it still runs."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()

    @property
    def whole(self) -> bytes:
        """Return every byte of the stream."""
        return self._first + self._second

    @property
    def _first(self) -> bytes:
        return self._shown(pattern()[self.seed * STEP :])

    @property
    def _second(self) -> bytes:
        return self._shown(pattern()[:SECOND])

    def _shown(self, data: bytes) -> bytes:
        return data.replace(b"\n", b"\r\n") if self.pty else data

    async def _compare(self, least: int | None) -> None:
        """Read until at least so many bytes are there (None: to the end), and compare each."""
        assert self.process.stdout is not None
        expected = self.whole
        while least is None or self.compared < least:
            data = await self.process.stdout.read(PIECE)
            if not data and least is None:
                return
            assert data, f"stream {self.seed} ended after {self.compared} bytes: {await self.rest()}"
            wanted = expected[self.compared : self.compared + len(data)]
            assert data == wanted, f"stream {self.seed} differs after {self.compared} bytes"
            self.compared += len(data)
