"""Every client of files that people use, into both images over a TLS engine: busybox, and one with two programs and nothing else."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import paramiko
import pytest
import pytest_asyncio

from octopus.core.types import TermSize
from octopus.demo.model import Task
from tests.e2e.gateway import HOST
from tests.e2e.scene import Scene, launch, on
from tests.e2e.test_clients import known
from tests.e2e.trail import Chapter
from tests.parts.glibc_image import ensure_rsync_image
from tests.parts.ssh_client import Ended, Terminal
from tests.parts.tools import missing, need

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

BLOCK = bytes(range(256)) * 4096
"""A MiB that tells every byte value."""
IMAGES = {"web_front": "/web/front", "ops_bare": "/ops/bare"}
SHELL = "web_front"


@pytest.fixture(params=list(IMAGES))
def name(request: pytest.FixtureRequest) -> str:
    """Name the task of each image in turn."""
    return str(request.param)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a tree of files: twelve in three directories, one of a MiB and one empty among them."""
    for number in range(12):
        (tmp_path / "tree" / str(number % 3)).mkdir(parents=True, exist_ok=True)
        content = {0: b"", 1: BLOCK}.get(number, b"%d\n" % number * 1000)
        (tmp_path / "tree" / str(number % 3) / f"file {number}").write_bytes(content)
    return tmp_path / "tree"


def same(one: Path, other: Path) -> None:
    """Hold two trees to the same names and contents."""
    contents = [{str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()} for top in (one, other)]
    assert contents[0] == contents[1]


async def openssh(scene: Scene, program: str, *words: str, stdin: bytes | None = None) -> Ended:
    """Run scp or sftp as alice; ``TASK:PATH`` at the start of a word is there."""
    ssh = scene.gateway.ssh
    words = tuple(f"{word.replace(':', f'@{HOST}:', 1)}" if word.partition(":")[0] in IMAGES else word for word in words)
    return await ssh.run_program([need(program, "openssh-client"), *ssh.options, "-i", str(scene.people.alice.key), *words], stdin=stdin)


async def left_nothing(scene: Scene, name: str) -> None:
    """Wait for the ends of all sessions; no process of theirs is in the container."""
    await scene.gateway.still()
    assert scene.processes(IMAGES[name]) == []


async def putty(scene: Scene, program: str, *words: str, stdin: bytes | None = None) -> Ended:
    """Run one of PuTTY's clients as alice, by password."""
    argv = [need(program, "putty-tools"), "-P", str(scene.gateway.port), "-pw", scene.people.alice.password, "-batch", *known(scene)]
    return await scene.gateway.ssh.run_program([*argv, *words], stdin=stdin)


async def test_sftp_at_a_terminal(scene: Scene, name: str, tmp_path: Path) -> None:
    """OpenSSH's sftp with somebody typing: globs both ways, listings, names with spaces."""
    for number in range(3):
        (tmp_path / f"part {number}.log").write_bytes(b"%d" % number * 1000)
    ssh = scene.gateway.ssh
    argv = [need("sftp", "openssh-client"), *ssh.options, "-i", str(scene.people.alice.key), f"{name}@{HOST}"]
    async with Terminal.of(argv, TermSize(cols=120, rows=40), ssh.environment()) as terminal:
        for line, shown in (
            ("mkdir /typed", rb"sftp> "),
            ("cd /typed", rb"sftp> "),
            (f'lcd "{tmp_path}"', rb"sftp> "),
            ("mput part*.log", rb"part 2\.log[^\r]*100%.*sftp> "),
            ("ls -l *[02].log", rb"part 0\.log.*part 2\.log.*sftp> "),
            ("rename 'part 1.log' one", rb"sftp> "),
            ("get one", rb"one[^\r]*100%.*sftp> "),
            ("rm part*", rb"part 2\.log.*sftp> "),
            ("ls", rb"ls\r\none +\r\nsftp> "),
        ):
            await terminal.expect(rb"^(?=sftp> )|sftp> $")
            terminal.send(line.encode() + b"\n")
            await terminal.expect(rb"(?s)" + shown.removesuffix(rb"sftp> ") + rb"(?=sftp> $)")
        terminal.send(b"bye\n")
        assert await terminal.wait() == 0
    assert (tmp_path / "one").read_bytes() == b"1" * 1000
    await left_nothing(scene, name)


@pytest.mark.parametrize("protocol", ["-sftp", "-scp"])
async def test_pscp(scene: Scene, name: str, protocol: str, tree: Path, tmp_path: Path) -> None:
    """PuTTY's pscp copies a tree up and down by either protocol."""
    up = await putty(scene, "pscp", protocol, "-r", "-p", str(tree), f"alice+{name}@{HOST}:/")
    assert up.status == 0, up
    down = await putty(scene, "pscp", protocol, "-r", f"alice+{name}@{HOST}:/tree", str(tmp_path / "back"))
    assert down.status == 0, down
    same(tree, tmp_path / "back")
    await left_nothing(scene, name)


async def test_psftp(scene: Scene, name: str, tmp_path: Path) -> None:
    """PuTTY's psftp makes a directory, puts, lists, moves, gets and removes."""
    local, back = tmp_path / "local", tmp_path / "back"
    local.write_bytes(BLOCK)
    script = f"mkdir /psftp\ncd /psftp\nput {local} a\nmv a b\nchmod 600 b\nls\nget b {back}\nrm b\nls\nquit\n"
    ended = await putty(scene, "psftp", "-b", "/dev/stdin", f"alice+{name}@{HOST}", stdin=script.encode())
    assert (ended.status, b"-rw-------" in ended.stdout) == (0, True), ended
    assert back.read_bytes() == BLOCK
    await left_nothing(scene, name)


async def test_lftp(scene: Scene, name: str, tree: Path, tmp_path: Path) -> None:
    """lftp mirrors a tree up and down with requests in parallel."""
    options = " ".join(scene.gateway.ssh.options[2:])
    connect = tmp_path / "connect"
    connect.write_text(f'#!/bin/sh\nexec ssh -F none {options} -i {scene.people.alice.key} "$@"\n')
    connect.chmod(0o700)
    script = (
        f'set sftp:connect-program "{connect} -a -x"; set net:max-retries 1; set cmd:fail-exit true; open -u {name}, sftp://{HOST};'
        f" mirror -R -P 3 {tree} /lftp; cls -l /lftp/0; mirror -P 3 /lftp {tmp_path}/back"
    )
    ended = await scene.gateway.ssh.run_program([need("lftp", "lftp"), "--norc", "-c", script], stdin=None)
    assert (ended.status, b"file 9" in ended.stdout) == (0, True), ended
    same(tree, tmp_path / "back")
    await left_nothing(scene, name)


async def test_curl(scene: Scene, name: str, tmp_path: Path) -> None:
    """curl uploads with a missing directory, lists, downloads whole and in part."""
    curl = [need("curl", "curl"), "-sS", "-k", "-u", f"alice+{name}:{scene.people.alice.password}"]
    base = f"sftp://{HOST}:{scene.gateway.port}/curl"
    (tmp_path / "local").write_bytes(BLOCK)
    run = scene.gateway.ssh.run_program
    up = await run([*curl, "--ftp-create-dirs", "-T", str(tmp_path / "local"), f"{base}/d/a"])
    assert up.status == 0, up
    assert (await run([*curl, f"{base}/d/a"])).stdout == BLOCK
    assert (await run([*curl, "-r", "1000-1999", f"{base}/d/a"])).stdout == BLOCK[1000:2000]
    assert b" a\n" in (await run([*curl, f"{base}/d/"])).stdout
    await left_nothing(scene, name)


@asynccontextmanager
async def mounted(scene: Scene, name: str, there: str, mount: Path) -> AsyncIterator[None]:
    """Mount a directory by sshfs meanwhile."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/fuse to mount with")
    ssh = scene.gateway.ssh
    options = ["-F", "/dev/null", *ssh.options[2:], "-o", f"IdentityFile={scene.people.alice.key}"]
    mount.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(need("sshfs", "sshfs"), "-f", f"{name}@{HOST}:{there}", str(mount), *options),
        env=ssh.environment(),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(os.path.ismount, mount):
                if process.returncode is not None:
                    missing(f"sshfs: {await process.communicate()}")
                await asyncio.sleep(0)
        yield
    finally:
        await ssh.run_program(["fusermount", "-u", "-z", str(mount)], stdin=None)
        await process.communicate()


async def test_sshfs(scene: Scene, name: str, tmp_path: Path) -> None:
    """Mounted by sshfs a directory is listed and a file in it edited as editors do it: written beside and renamed, and in place."""
    (tmp_path / "there").write_text("line one\nline two\n")
    there = f"/sshfs-{name}"
    begun = await openssh(scene, "sftp", "-b", "-", f"{name}:", stdin=f"mkdir {there}\nput {tmp_path}/there {there}/there\n".encode())
    assert begun.status == 0, begun
    mount = tmp_path / "mount"
    async with mounted(scene, name, there, mount):
        script = (
            f"cd {mount} && ls -l && sed -i s/two/2/ there && echo new >made && echo more >>made && mv made moved"
            " && printf X | dd of=moved bs=1 seek=1 conv=notrunc 2>/dev/null && chmod 600 moved && cat there && ls"
        )
        ended = await scene.gateway.ssh.run_program(["sh", "-c", script], stdin=None)
        assert ended.status == 0, ended
        assert ended.stdout.endswith(b"line one\nline 2\nmoved\nthere\n")
    after = await openssh(scene, "sftp", "-b", "-", f"{name}:", stdin=f"get -p {there}/moved {tmp_path}/moved\n".encode())
    assert after.status == 0, after
    assert (tmp_path / "moved").read_bytes() == b"nXw\nmore\n"
    assert stat.S_IMODE((tmp_path / "moved").stat().st_mode) == 0o600
    await left_nothing(scene, name)


async def test_paramiko(scene: Scene, name: str) -> None:
    """paramiko's pipelined writes, prefetch, scattered reads, changes in place and links."""

    def use() -> None:
        transport = paramiko.Transport((HOST, scene.gateway.port))
        try:
            transport.connect(username=name, pkey=paramiko.PKey.from_path(scene.people.alice.key))
            client = paramiko.SFTPClient.from_transport(transport)
            assert client is not None
            client.mkdir("/paramiko")
            client.chdir("/paramiko")
            with client.open("a", "wb") as file:
                file.set_pipelined(True)
                for start in range(0, len(BLOCK), 30_000):
                    file.write(BLOCK[start : start + 30_000])
            with client.open("a", "rb") as file:
                file.prefetch()
                assert file.read() == BLOCK
            with client.open("a", "r+b") as file:
                file.seek(100)
                file.write(b"middle")
            with client.open("a", "rb") as file:
                parts = [bytes(part) for part in file.readv([(500_000, 10), (98, 10), (250_000, 40_000)])]
            assert parts == [BLOCK[500_000:500_010], BLOCK[98:100] + b"middle" + BLOCK[106:108], BLOCK[250_000:290_000]]
            client.symlink("a", "s")
            client.chmod("a", 0o640)
            client.utime("a", (2, 2))
            found = client.stat("s")
            assert (stat.S_IMODE(found.st_mode or 0), found.st_mtime, found.st_size) == (0o640, 2, len(BLOCK))
            client.posix_rename("a", "b")
            assert sorted(client.listdir(".")) == ["b", "s"]
            client.remove("s")
            client.remove("b")
        finally:
            transport.close()

    await asyncio.to_thread(use)
    await left_nothing(scene, name)


async def test_scp_from_one_container_to_another(scene: Scene, name: str, tmp_path: Path) -> None:
    """``scp -3``: from either image into the other, through the client."""
    (tmp_path / "local").write_bytes(BLOCK)
    other = next(one for one in IMAGES if one != name)
    for words in ([str(tmp_path / "local"), f"{name}:/three-{name}"], ["-3", f"{name}:/three-{name}", f"{other}:/three-from-{name}"]):
        ended = await openssh(scene, "scp", *words)
        assert (ended.status, ended.stderr) == (0, b"")
    back = await openssh(scene, "scp", f"{other}:/three-from-{name}", str(tmp_path / "back"))
    assert back.status == 0, back
    assert (tmp_path / "back").read_bytes() == BLOCK


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def with_rsync(scene: Scene) -> AsyncIterator[Task]:
    """Give a task whose image has rsync."""
    image = ensure_rsync_image(scene.engines[0])
    [task] = await launch(scene.cluster, "/ops/rsync", image=image, **on(1))
    await scene.gateway.serves("ops_rsync", key=scene.people.alice.key)
    yield task
    scene.cluster.scale("/ops/rsync", 0)


async def test_rsync(scene: Scene, record: Chapter, with_rsync: Task, tree: Path, tmp_path: Path) -> None:
    """``rsync -a`` where the image has it: a tree up and down, a second run sends nothing; on the trail it is a command with counts."""
    (tree / "link").symlink_to("0/file 0")
    (tree / "2" / "file 2").chmod(0o751)
    await scene.gateway.still()
    ssh = scene.gateway.ssh
    shell = " ".join([need("ssh", "openssh-client"), *ssh.options, "-i", str(scene.people.alice.key)])
    rsync = [need("rsync", "rsync"), "-a", "--stats", "-e", shell]
    there = f"ops_rsync@{HOST}:/tmp/"
    record = scene.gateway.trail.from_now()
    up = await ssh.run_program([*rsync, str(tree), there], stdin=None)
    assert up.status == 0, up
    again = await ssh.run_program([*rsync, str(tree), there], stdin=None)
    assert b"Number of regular files transferred: 0\n" in again.stdout, again
    down = await ssh.run_program([*rsync, f"{there}tree/", str(tmp_path / "back")], stdin=None)
    assert down.status == 0, down
    same(tree, tmp_path / "back")
    assert (tmp_path / "back" / "link").readlink() == Path("0/file 0")
    assert stat.S_IMODE((tmp_path / "back" / "2" / "file 2").stat().st_mode) == 0o751
    first, _, third = await record.sessions(3)
    assert first.names == ["session.requested", "exec", "session.started", "session.ended"]
    assert first.events[1]["command"].startswith("rsync --server ")
    assert first.end["bytes_in"] > len(BLOCK)
    assert third.end["bytes_out"] > len(BLOCK)
