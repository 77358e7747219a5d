"""What files cost: 1 GiB each way beside OpenSSH to a local disk, and many small ones beside sftp-server in the same container.

Each figure is a ratio, of medians of runs that took turns. The gateway reaches its engine by the unix socket, as the rival does.
"""

from __future__ import annotations

import asyncio
import contextlib
import filecmp
import io
import os
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.benchmarks.figures import Figure, Spent, Table, in_turn, median
from tests.benchmarks.rivals import Container
from tests.benchmarks.test_bulk import NAME, Local, local
from tests.benchmarks.test_keystroke import Side as Typist
from tests.benchmarks.test_keystroke import struck, tell, under_way
from tests.e2e.gateway import Gateway
from tests.e2e.people import People
from tests.e2e.scene import Scene
from tests.parts.directory import Slapd
from tests.parts.engines import Engine
from tests.parts.ssh_client import SshClient
from tests.parts.sshd import Sshd
from tests.parts.tools import need

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1200)]

BULK = 1 << 30
SMALL = 2000
SMALL_SIZE = 4096
MANY = 20_000
LISTED = 10_000
ROUNDS = 3
KEY_ROUNDS = 5
KEYS = 100
PAUSE = 0.02
"""Seconds between keystrokes."""
SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
LIBRARIES = (Path("/lib64/ld-linux-x86-64.so.2"), Path("/lib/x86_64-linux-gnu/libc.so.6"))
LOCAL_DISK = "OpenSSH's internal-sftp to a local disk"
INSIDE = "sftp-server in the container by docker exec"

Run = Callable[["Side"], Awaitable[float]]


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: a server, who logs in, and where files go."""

    ssh: SshClient
    user: str
    key: Path
    folder: str

    @classmethod
    def of(cls, octopus: Local) -> Side:
        """Return octopus, into the container."""
        return cls(octopus.gateway.ssh, NAME, octopus.key, "/tmp")

    async def sftp(self, *lines: str) -> float:
        """Run a batch by OpenSSH's sftp; return its seconds."""
        argv = [need("sftp", "openssh-client"), *self.ssh.options, "-i", str(self.key), "-q", "-b", "-", f"{self.user}@{self.ssh.host}"]
        return await self._timed(argv, "\n".join(lines).encode() + b"\n")

    async def scp(self, *words: str) -> float:
        """Run scp; ``there:`` is the folder."""
        there = f"{self.user}@{self.ssh.host}:{self.folder}/"
        argv = [need("scp", "openssh-client"), "-q", *self.ssh.options, "-i", str(self.key)]
        return await self._timed([*argv, *(word.replace("there:", there) for word in words)], b"")

    @asynccontextmanager
    async def copying(self, line: str) -> AsyncIterator[int]:
        """Do one thing by sftp over and over; give the process."""
        argv = [need("sftp", "openssh-client"), *self.ssh.options, "-i", str(self.key), "-q", "-b", "-", f"{self.user}@{self.ssh.host}"]
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=null, stderr=null, env=self.ssh.environment())
        try:
            if process.stdin:
                process.stdin.write(f"{line}\n".encode() * 1000)
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _timed(self, argv: list[str], stdin: bytes) -> float:
        began = time.perf_counter()
        ended = await self.ssh.run_program(argv, stdin=stdin, timeout=600)
        assert ended.status == 0, ended.stderr
        return time.perf_counter() - began


@contextmanager
def local_disk(directory: Path) -> Iterator[Side]:
    """Give OpenSSH's internal-sftp, to the local disk."""
    (directory / "far").mkdir()
    with Sshd(more=["Subsystem sftp internal-sftp"]) as server:
        yield Side(SshClient(server.host, server.port, directory), server.user, server.key, str(directory / "far"))


@contextmanager
def inside(container: Container, directory: Path) -> Iterator[Side]:
    """Give Debian's sftp-server in the very container that octopus enters, by docker exec."""
    if not SFTP_SERVER.exists():
        need("sftp-server", "openssh-sftp-server")
    with container.engine.api() as api, contextlib.closing(api):
        api.put_archive(container.id, "/", _packed(SFTP_SERVER, *LIBRARIES))
    command = " ".join([*container.docker("-i"), str(SFTP_SERVER)])
    with Sshd(more=["Subsystem sftp internal-sftp", f"ForceCommand {command}"]) as server:
        yield Side(SshClient(server.host, server.port, directory), server.user, server.key, "/tmp")


def _packed(*files: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            archive.add(os.path.realpath(file), str(file).lstrip("/"))
    return buffer.getvalue()


@asynccontextmanager
async def peak(gateway: Gateway) -> AsyncIterator[list[int]]:
    """Give a list whose last is the most resident bytes that any of the gateway's processes had meanwhile."""
    seen = [gateway.memory()]

    async def watch() -> None:
        while True:
            seen[-1] = max(seen[-1], gateway.memory())
            await asyncio.sleep(0.2)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def compared(table: Table, octopus: Local, what: str, rival: str, theirs: Side, run: Run) -> None:
    """Run both in turns and write down the ratio of the medians of their seconds."""
    ours = Side.of(octopus)
    await ours.sftp(f"ls {ours.folder}/.")  # what a first session costs is no part of it
    spent = Spent(octopus.gateway.processes)
    async with peak(octopus.gateway) as seen:
        resident = seen[-1]
        other, own = await in_turn(ROUNDS, partial(run, theirs), partial(spent.during, partial(run, ours)))
    table.add(
        Figure(
            name=f"files: {what}",
            ours=f"{median(own):.2f} s",
            theirs=f"{median(other):.2f} s",
            ratio=median(own) / median(other),
            goal="≤ 1",
            how=f"beside {rival}, median of {ROUNDS}; {spent.each:.2f} s of processor in all the gateway's processes, "
            f"whose largest grew by {(seen[-1] - resident) / (1 << 20):.0f} MiB; "
            f"client and engine alone keep all cores busy for {spent.rest:.2f} s",
        )
    )


def random_file(path: Path, size: int) -> Path:
    """Write a file that no compression and no cache of its content helps with."""
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    return path


BULKS: dict[str, Callable[[Path, Path], Run]] = {
    "up by sftp": lambda near, _: lambda side: side.sftp(f"put {near} {side.folder}/a"),
    "down by sftp": lambda _, back: lambda side: side.sftp(f"get {side.folder}/a {back}"),
    "up by scp": lambda near, _: lambda side: side.scp(str(near), "there:a"),
    "down by scp": lambda _, back: lambda side: side.scp("there:a", str(back)),
    "up by scp -O": lambda near, _: lambda side: side.scp("-O", str(near), "there:a"),
    "down by scp -O": lambda _, back: lambda side: side.scp("-O", "there:a", str(back)),
}


@pytest.mark.parametrize("what", BULKS)
async def test_bulk(people: People, company: Slapd, docker_engine: Engine, tmp_path: Path, table: Table, what: str) -> None:
    """1 GiB, through octopus into a container and by OpenSSH to a local disk."""
    near, back = random_file(tmp_path / "near", BULK), tmp_path / "back"
    async with local(people, company, docker_engine, workers=1) as octopus:
        with local_disk(tmp_path) as theirs:
            if what.startswith("down"):
                for side in (theirs, Side.of(octopus)):
                    await side.sftp(f"put {near} {side.folder}/a")
            await compared(table, octopus, f"1 GiB {what}", LOCAL_DISK, theirs, BULKS[what](near, back))
            if what.startswith("down"):
                assert await asyncio.to_thread(filecmp.cmp, near, back, shallow=False)


def tree_of(path: Path, files: int) -> Path:
    """Make a directory of small files."""
    path.mkdir()
    for number in range(files):
        (path / f"file-{number}").write_bytes(os.urandom(SMALL_SIZE))
    return path


def alike(one: Path, other: Path) -> bool:
    """Tell whether two directories hold the same files with the same bytes."""
    names = sorted(os.listdir(one))
    return names == sorted(os.listdir(other)) and all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


@pytest.mark.parametrize("way", ["up", "down"])
async def test_small(people: People, company: Slapd, docker_engine: Engine, tmp_path: Path, table: Table, way: str) -> None:
    """2000 files of 4 KiB, through octopus and by sftp-server in the container."""
    tree, numbers = tree_of(tmp_path / "tree", SMALL), count()

    async def up(side: Side) -> float:
        return await side.sftp(f"put -r {tree} /tmp/up-{next(numbers)}")

    async def down(side: Side) -> float:
        back = tmp_path / f"back-{next(numbers)}"
        took = await side.sftp(f"get -r /tmp/down {back}")
        assert alike(tree, back)
        return took

    async with local(people, company, docker_engine, workers=1) as octopus:
        with inside(octopus.container, tmp_path) as theirs:
            if way == "down":
                await theirs.sftp(f"put -r {tree} /tmp/down")
            await compared(table, octopus, f"{SMALL} files of 4 KiB {way}", INSIDE, theirs, up if way == "up" else down)


@pytest.mark.parametrize(
    ("what", "line"),
    [(f"list {LISTED} files", "ls -l /tmp/many"), (f"stat of {LISTED} files one by one", "ls -l /tmp/many/file-*")],
)
async def test_listing(people: People, company: Slapd, docker_engine: Engine, tmp_path: Path, table: Table, what: str, line: str) -> None:
    """List 10,000 files with their attributes, and ask for those of each, through octopus and by sftp-server inside."""
    made = f"mkdir -p /tmp/many && cd /tmp/many && i=0; while [ $i -lt {LISTED} ]; do : >file-$i; i=$((i+1)); done"
    async with local(people, company, docker_engine, workers=1) as octopus:
        assert octopus.container.engine.run(octopus.container.id, "/bin/sh", "-c", made) == (0, b"")
        with inside(octopus.container, tmp_path) as theirs:
            await compared(table, octopus, what, INSIDE, theirs, lambda side: side.sftp(line))


def there_and_back(what: str, seconds: tuple[float, float], grown: int, how: str, image: str = "") -> Figure:
    """Return the figure of files that went up and came down, and of what the gateway grew by meanwhile."""
    return Figure(
        name=", ".join(filter(None, (f"files: {what} there and back", image))),
        ours=f"up {seconds[0]:.0f} s, down {seconds[1]:.0f} s",
        goal="memory flat",
        how=f"{how}, compared after it; the gateway's largest process grew by {grown / (1 << 20):.0f} MiB",
    )


async def test_many_small(people: People, company: Slapd, docker_engine: Engine, tmp_path: Path, table: Table) -> None:
    """20,000 small files go up and come back the same, and the gateway does not grow with them."""
    tree, back = tree_of(tmp_path / "tree", MANY), tmp_path / "back"
    async with local(people, company, docker_engine, workers=1) as octopus:
        side = Side.of(octopus)
        await side.sftp("ls /tmp/.")
        async with peak(octopus.gateway) as seen:
            before = seen[-1]
            up, down = await side.sftp(f"put -r {tree} /tmp/tree"), await side.sftp(f"get -r /tmp/tree {back}")
        assert alike(tree, back)
        events = [event["event"] for event in octopus.gateway.trail.events]
        assert events.count("file.uploaded") == events.count("file.downloaded") == MANY
    table.add(there_and_back(f"{MANY} files of 4 KiB", (up, down), seen[-1] - before, "one run"))


@pytest.mark.parametrize("name", ["web_front", "ops_bare"])
async def test_five_gib(scene: Scene, tmp_path: Path, table: Table, name: str) -> None:
    """A file of 5 GiB goes up and comes back the same, with a shell in the image and without."""
    near, back = tmp_path / "near", tmp_path / "back"
    with near.open("wb") as file:
        file.truncate(5 << 30)
        for at in range(0, 5 << 30, 1 << 28):
            file.seek(at)
            file.write(os.urandom(1 << 20))
    side = Side(scene.gateway.ssh, name, scene.people.alice.key, "")
    async with peak(scene.gateway) as seen:
        before = seen[-1]
        up, down = await side.sftp(f"put {near} /five"), await side.sftp(f"get /five {back}")
    assert await asyncio.to_thread(filecmp.cmp, near, back, shallow=False)
    image = f"image {'with' if name == 'web_front' else 'without'} a shell"
    table.add(there_and_back("5 GiB", (up, down), seen[-1] - before, "one run over TLS", image))
    await side.sftp("rm /five")


async def test_keystroke(people: People, company: Slapd, docker_engine: Engine, tmp_path: Path, table: Table) -> None:
    """A keystroke while two files go up by sftp and two come down, through octopus and by OpenSSH under the same load."""
    near = random_file(tmp_path / "near", BULK // 4)
    async with local(people, company, docker_engine, workers=2) as octopus:
        with octopus.container.openssh() as shells, inside(octopus.container, tmp_path) as theirs:
            sshd = SshClient(shells.host, shells.port, tmp_path)
            sides = [
                (Typist(sshd, shells.user, shells.key, sshd, shells.key), theirs),
                (Typist(octopus.gateway.ssh, NAME, octopus.key, octopus.gateway.ssh, octopus.key), Side.of(octopus)),
            ]
            took: list[list[float]] = [[], []]
            await theirs.sftp(f"put {near} /tmp/near")
            async with AsyncExitStack() as stack:
                terminals = [await stack.enter_async_context(typist.typing()) for typist, _ in sides]
                for _ in range(KEY_ROUNDS):
                    for measured, terminal, (_, side) in zip(took, terminals, sides, strict=True):
                        async with AsyncExitStack() as load:
                            lines = [f"put {near} /tmp/up-{number}" for number in range(2)] + ["get /tmp/near /dev/null"] * 2
                            await under_way([await load.enter_async_context(side.copying(line)) for line in lines])
                            for _ in range(KEYS):
                                measured.append(await struck(terminal))
                                await asyncio.sleep(PAUSE)
    how = f"2 up and 2 down meanwhile; beside OpenSSH + docker exec, the files by {INSIDE}"
    tell(table, "while files are copied by sftp", took[1], took[0], how)
