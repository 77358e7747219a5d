"""What files cost: 1 GiB each way beside OpenSSH to a local disk, and many small ones beside sftp-server in the same container."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

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


async def test_bulk(ours: Side, local: Side, tmp_path: Path, report: Callable[[str], None]) -> None:
    """1 GiB up and down by sftp and by scp, each in turn through octopus and by OpenSSH to a local disk."""
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
    for what, run in runs.items():
        theirs, took = await run(local), await run(ours)
        report(f"1 GiB {what}: octopus {took:.1f} s, OpenSSH to a local disk {theirs:.1f} s, ratio {took / theirs:.2f}")
    await ours.sftp(f"rm {ours.folder}/a", f"rm {ours.folder}/b")


async def test_many_small(ours: Side, inside: Side, tmp_path: Path, report: Callable[[str], None]) -> None:
    """2000 files of 4 KiB each way, in turn through octopus and by sftp-server in the container."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(SMALL):
        (tree / f"file-{number}").write_bytes(os.urandom(SMALL_SIZE))
    for way, lines in (("up", "put -r {tree} /tmp/{side}"), ("down", "get -r /tmp/{side} {back}")):
        took = {}
        for name, side in (("theirs", inside), ("ours", ours)):
            took[name] = await side.sftp(lines.format(tree=tree, side=name, back=tmp_path / f"back-{name}"))
        ratio = took["ours"] / took["theirs"]
        report(f"{SMALL} files of 4 KiB {way}: octopus {took['ours']:.1f} s, sftp-server inside {took['theirs']:.1f} s, ratio {ratio:.2f}")


async def test_listing(scene: Scene, ours: Side, inside: Side, report: Callable[[str], None]) -> None:
    """List 10,000 files with their attributes, in turn through octopus and by sftp-server in the container."""
    made = f"mkdir -p /tmp/many && cd /tmp/many && i=0; while [ $i -lt {LISTED} ]; do : >file-$i; i=$((i+1)); done"
    assert (await scene.gateway.ssh.run(NAME, made, key=scene.people.alice.key)).status == 0
    theirs, took = await inside.sftp("ls -l /tmp/many"), await ours.sftp("ls -l /tmp/many")
    report(f"list {LISTED} files: octopus {took:.2f} s, sftp-server inside {theirs:.2f} s, ratio {took / theirs:.2f}")
