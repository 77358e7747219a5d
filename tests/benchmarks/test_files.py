"""What files cost: 1 GiB each way beside OpenSSH to a local disk, and many small ones beside sftp-server in the same container.

Each figure is a ratio, of medians of runs that took turns: other things run on the machine too.
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
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.gateway import Gateway
from tests.e2e.scene import Scene, own_socket
from tests.parts.ssh_client import SshClient
from tests.parts.sshd import Sshd
from tests.parts.tools import need

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1200)]

NAME = "web_front"
APP = "/web/front"
BULK = 1 << 30
SMALL = 2000
SMALL_SIZE = 4096
LISTED = 10_000
SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: a server, who logs in, and where files go."""

    ssh: SshClient
    user: str
    key: Path
    folder: str

    async def sftp(self, *lines: str) -> float:
        """Run a batch by OpenSSH's sftp; return its seconds."""
        argv = [need("sftp", "openssh-client"), *self.ssh.options, "-i", str(self.key), "-q", "-b", "-", f"{self.user}@{self.ssh.host}"]
        return await self._timed(argv, "\n".join(lines).encode() + b"\n")

    async def scp(self, *words: str) -> float:
        """Run scp by its own protocol; ``there:`` is the folder."""
        there = f"{self.user}@{self.ssh.host}:{self.folder}/"
        argv = [need("scp", "openssh-client"), "-O", "-q", *self.ssh.options, "-i", str(self.key)]
        return await self._timed([*argv, *(word.replace("there:", there) for word in words)], b"")

    async def _timed(self, argv: list[str], stdin: bytes) -> float:
        began = time.perf_counter()
        ended = await self.ssh.run_program(argv, stdin=stdin, timeout=600)
        assert ended.status == 0, ended.stderr
        return time.perf_counter() - began


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print past pytest's capture: the figures are what a benchmark is run for."""

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}")

    return tell


@pytest.fixture
def ours(scene: Scene) -> Side:
    """Give octopus, into the container."""
    return Side(scene.gateway.ssh, NAME, scene.people.alice.key, "/tmp")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Side]:
    """Give OpenSSH's internal-sftp, to the local disk."""
    (tmp_path / "far").mkdir()
    with Sshd(more=["Subsystem sftp internal-sftp"]) as server:
        yield Side(SshClient(server.host, server.port, tmp_path), server.user, server.key, str(tmp_path / "far"))


@pytest.fixture
def inside(scene: Scene, tmp_path: Path) -> Iterator[Side]:
    """Give Debian's sftp-server in the very container that octopus enters, by docker exec."""
    if not SFTP_SERVER.exists():
        need("sftp-server", "openssh-sftp-server")
    task = scene.task(APP)
    engine, container = scene.engine(task), scene.container(task)
    with engine.api() as api, contextlib.closing(api):
        api.put_archive(container, "/", _packed(SFTP_SERVER, Path("/lib64/ld-linux-x86-64.so.2"), Path("/lib/x86_64-linux-gnu/libc.so.6")))
    command = f"{need('docker', 'docker.io')} -H {own_socket(engine).url} exec -i {container} {SFTP_SERVER}"
    with Sshd(more=["Subsystem sftp internal-sftp", f"ForceCommand {command}"]) as server:
        yield Side(SshClient(server.host, server.port, tmp_path), server.user, server.key, "/tmp")


def _packed(*files: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            archive.add(os.path.realpath(file), str(file).lstrip("/"))
    return buffer.getvalue()


@dataclass(frozen=True)
class Figures:
    """Prints what was measured."""

    tell: Callable[[str], None]

    async def compare(self, what: str, theirs: Callable[[], Awaitable[float]], ours: Callable[[], Awaitable[float]], turns: int) -> None:
        """Run both in turns; tell the ratio of the medians of their seconds."""
        took: tuple[list[float], list[float]] = ([], [])
        for _ in range(turns):
            for seconds, run in zip(took, (theirs, ours), strict=True):
                seconds.append(await run())
        other, own = map(median, took)
        self.tell(f"{what}: octopus {own:.2f} s, OpenSSH {other:.2f} s, ratio {own / other:.2f} (medians of {turns})")


@pytest.fixture
def figures(report: Callable[[str], None]) -> Figures:
    """Give what prints them."""
    return Figures(report)


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


async def test_bulk(scene: Scene, ours: Side, local: Side, tmp_path: Path, figures: Figures) -> None:
    """1 GiB up and down by sftp and by scp, through octopus and by OpenSSH to a local disk; what the gateway's memory grew by."""
    near, back = tmp_path / "near", tmp_path / "back"
    with near.open("wb") as file:
        for _ in range(BULK >> 20):
            file.write(os.urandom(1 << 20))
    runs: dict[str, Callable[[Side], Awaitable[float]]] = {
        "up by sftp": lambda side: side.sftp(f"put {near} {side.folder}/a"),
        "down by sftp": lambda side: side.sftp(f"get {side.folder}/a {back}"),
        "up by scp -O": lambda side: side.scp(str(near), "there:b"),
        "down by scp -O": lambda side: side.scp("there:b", str(back)),
    }
    await ours.sftp(f"ls {ours.folder}")  # what a first session costs is no part of it
    before = scene.gateway.memory()
    async with peak(scene.gateway) as seen:
        for what, run in runs.items():
            await figures.compare(f"1 GiB {what}, OpenSSH to a local disk", partial(run, local), partial(run, ours), turns=3)
    figures.tell(f"memory of the gateway's largest process while 12 GiB passed: {(seen[-1] - before) / (1 << 20):+.0f} MiB")
    await ours.sftp(f"rm {ours.folder}/a", f"rm {ours.folder}/b")


async def test_many_small(ours: Side, inside: Side, tmp_path: Path, figures: Figures) -> None:
    """2000 files of 4 KiB each way, through octopus and by sftp-server in the container."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(SMALL):
        (tree / f"file-{number}").write_bytes(os.urandom(SMALL_SIZE))
    numbers = count()

    def up(side: Side, name: str) -> Callable[[], Awaitable[float]]:
        return lambda: side.sftp(f"put -r {tree} /tmp/{name}-{next(numbers)}")

    def down(side: Side) -> Callable[[], Awaitable[float]]:
        return lambda: side.sftp(f"get -r /tmp/theirs-0 {tmp_path}/back-{next(numbers)}")

    what = f"{SMALL} files of 4 KiB {{}}, OpenSSH's sftp-server inside"
    await figures.compare(what.format("up"), up(inside, "theirs"), up(ours, "ours"), turns=3)
    await figures.compare(what.format("down"), down(inside), down(ours), turns=3)


async def test_listing(scene: Scene, ours: Side, inside: Side, figures: Figures) -> None:
    """List 10,000 files with their attributes, and ask for those of 900 one by one, through octopus and by sftp-server inside."""
    made = f"mkdir -p /tmp/many && cd /tmp/many && i=0; while [ $i -lt {LISTED} ]; do : >file-$i; i=$((i+1)); done"
    assert (await scene.gateway.ssh.run(NAME, made, key=scene.people.alice.key, timeout=600)).status == 0
    for what, line in (
        (f"list {LISTED} files", "ls -l /tmp/many"),
        ("stat of 900 files one by one", "ls -l /tmp/many/file-[0-9][0-9][0-9]"),
    ):
        await figures.compare(f"{what}, OpenSSH's sftp-server inside", partial(inside.sftp, line), partial(ours.sftp, line), turns=3)


@pytest.mark.parametrize("name", ["web_front", "ops_bare"])
async def test_five_gib(scene: Scene, tmp_path: Path, figures: Figures, name: str) -> None:
    """A file of 5 GiB goes up and comes back the same, with a shell in the image and without."""
    near, back = tmp_path / "near", tmp_path / "back"
    with near.open("wb") as file:
        file.truncate(5 << 30)
        for at in range(0, 5 << 30, 1 << 28):
            file.seek(at)
            file.write(os.urandom(1 << 20))
    side = Side(scene.gateway.ssh, name, scene.people.alice.key, "")
    before = scene.gateway.memory()
    async with peak(scene.gateway) as seen:
        up, down = await side.sftp(f"put {near} /five"), await side.sftp(f"get /five {back}")
    assert await asyncio.to_thread(filecmp.cmp, near, back, shallow=False)
    figures.tell(f"5 GiB, {name}: up {up:.0f} s, down {down:.0f} s, memory {(seen[-1] - before) / (1 << 20):+.0f} MiB")
    await side.sftp("rm /five")
