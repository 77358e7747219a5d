"""Files into and out of containers over TLS to the agent: an image with busybox, and one with two programs and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from pathlib import Path

import pytest

from octopus.demo.images import BUSYBOX, SHELLLESS, archive, folder, plain
from tests.e2e.scene import Scene, launch, on
from tests.e2e.trail import Chapter
from tests.parts.ssh_client import Ended
from tests.parts.tools import need

pytestmark = pytest.mark.asyncio(loop_scope="session")

BLOCK = bytes(range(256)) * 4096
"""A MiB that tells every byte value."""
IMAGES = ["web_front", "ops_bare"]
PROTOCOLS = ["-s", "-O"]
NAMES = ["plain", "with space", "quote'\"s", "-dash", "back\\slash", "ünï", "empty"]


async def scp(scene: Scene, name: str, *words: str, person: str = "alice") -> Ended:
    """Run OpenSSH's scp; ``t:`` at the start of a word is the task."""
    ssh, key = scene.gateway.ssh, getattr(scene.people, person).key
    words = tuple(f"{name}@{ssh.host}:{word[2:]}" if word.startswith("t:") else word for word in words)
    return await ssh.run_program([need("scp", "openssh-client"), *ssh.options, "-i", str(key), *words], stdin=None)


async def sftp(scene: Scene, name: str, *lines: str, person: str = "alice") -> Ended:
    """Run OpenSSH's sftp in batch mode."""
    ssh, key = scene.gateway.ssh, getattr(scene.people, person).key
    argv = [need("sftp", "openssh-client"), *ssh.options, "-i", str(key), "-b", "-", f"{name}@{ssh.host}"]
    return await ssh.run_program(argv, stdin="\n".join(lines).encode() + b"\n")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("image", IMAGES)
async def test_one_file_both_ways(scene: Scene, record: Chapter, tmp_path: Path, image: str, protocol: str) -> None:
    """It arrives whole in the container and comes back the same; the trail has where it led, its size and its digest."""
    (tmp_path / "local").write_bytes(BLOCK * 8)
    up = await scp(scene, image, protocol, str(tmp_path / "local"), "t:one")
    assert (up.status, up.stderr) == (0, b"")
    down = await scp(scene, image, protocol, "t:one", str(tmp_path / "back"))
    assert (down.status, down.stderr) == (0, b"")
    assert (tmp_path / "back").read_bytes() == BLOCK * 8
    first, second = await record.sessions(2)
    assert first.events[0].get("command") == ("scp -t one" if protocol == "-O" else None)
    for story, event in ((first, "file.uploaded"), (second, "file.downloaded")):
        assert story.names == ["session.requested", "session.started", event, "session.ended"]
        passed = story.events[2]
        assert (passed["asked"].rpartition("/")[2], passed["path"]) == ("one", "/one")
        assert (passed["size"], passed["complete"]) == (8 << 20, True)
        assert passed["sha256"] == hashlib.sha256(BLOCK * 8).hexdigest()
        assert story.end["recordings"] == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("image", IMAGES)
async def test_trees_with_modes_times_and_odd_names(scene: Scene, record: Chapter, tmp_path: Path, image: str, protocol: str) -> None:
    """``scp -r -p`` keeps what there is to keep, up and down."""
    tree = tmp_path / "tree"
    (tree / "deep" / "er").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (tree / "deep" / "er" / name).write_bytes(b"" if name == "empty" else name.encode())
        (tree / "deep" / "er" / name).chmod(0o640 + number % 3)
    up = await scp(scene, image, protocol, "-r", "-p", str(tree), f"t:up{protocol}")
    assert (up.status, up.stderr) == (0, b"")
    down = await scp(scene, image, protocol, "-r", "-p", f"t:up{protocol}", str(tmp_path / "down"))
    assert (down.status, down.stderr) == (0, b"")
    for name in NAMES:
        before, after = tree / "deep" / "er" / name, tmp_path / "down" / "deep" / "er" / name
        assert after.read_bytes() == before.read_bytes()
        assert after.stat().st_mode == before.stat().st_mode
        assert int(after.stat().st_mtime) == int(before.stat().st_mtime)
    first, second = await record.sessions(2)
    assert first.names.count("file.uploaded") == second.names.count("file.downloaded") == len(NAMES)


async def test_sftp_does_everything_where_there_is_a_shell(scene: Scene, record: Chapter, tmp_path: Path) -> None:
    """put, mkdir, chmod, ln, ls, df, rename, get, reget, reput, rm, rmdir; nothing is left running."""
    (tmp_path / "local").write_bytes(BLOCK)
    (tmp_path / "part").write_bytes(BLOCK[:1000])
    (tmp_path / "start").write_bytes(BLOCK[:2000])
    ended = await sftp(
        scene,
        "web_front",
        "mkdir all",
        "cd all",
        f"put {tmp_path}/local a",
        "chmod 600 a",
        "ln -s a soft",
        "ln a hard",
        "ls -la",
        "df",
        "rename hard b",
        f"get so* {tmp_path}/got",
        f"reget b {tmp_path}/part",
        f"put {tmp_path}/start c",
        f"reput {tmp_path}/local c",
        "rm *",
        "cd ..",
        "rmdir all",
        "-ls all",
    )
    assert ended.status == 0, ended.stderr
    assert b"-rw-------    2 " in ended.stdout
    assert b"Avail" in ended.stdout
    assert (tmp_path / "got").read_bytes() == (tmp_path / "part").read_bytes() == BLOCK
    story = await record.session()
    assert story.end["event"] == "session.ended"
    assert story.names.count("file.removed") == 4
    await scene.gateway.still()
    assert scene.processes("/web/front") == []


async def test_sftp_does_what_can_be_done_without_a_shell(scene: Scene, record: Chapter, tmp_path: Path) -> None:
    """Listing, putting, getting; what cannot be done is said in a sentence and changes nothing."""
    (tmp_path / "local").write_bytes(BLOCK)
    ended = await sftp(scene, "ops_bare", "mkdir d", f"put {tmp_path}/local d/a", "ls -l d", f"get d/a {tmp_path}/got", "-df", "-ls /none")
    assert ended.status == 0, ended.stderr
    assert (tmp_path / "got").read_bytes() == BLOCK
    assert b"octopus: " in ended.stderr
    assert (await record.session()).end["event"] == "session.ended"


@pytest.mark.parametrize("image", [BUSYBOX, SHELLLESS])
async def test_twenty_thousand_files_in_a_directory(scene: Scene, tmp_path: Path, image: str) -> None:
    """All are listed, with and without a shell in the image, and one of them comes back."""
    name = f"files{image.partition('/')[2].partition(':')[0]}"
    [task] = await launch(scene.cluster, f"/ops/{name}", image=image, **({"cmd": None} if image == SHELLLESS else {}), **on(1))
    try:
        async with asyncio.timeout(30):
            while (await sftp(scene, f"ops_{name}", "pwd")).status:
                pass
        with scene.engine(task).api() as api, contextlib.closing(api):
            content = archive([folder("many"), *(plain(f"many/{number:05}", b"%d" % number) for number in range(20_000))])
            api.put_archive(scene.container(task), "/", content)
        ended = await sftp(scene, f"ops_{name}", "ls -l /many", f"get /many/12345 {tmp_path}/one")
        assert ended.status == 0, ended.stderr
        listed = [line for line in ended.stdout.splitlines() if line.startswith(b"-rw-r--r--")]
        assert len(listed) == len({line.split()[-1] for line in listed}) == 20_000
        assert (tmp_path / "one").read_bytes() == b"12345"
    finally:
        scene.cluster.scale(f"/ops/{name}", 0)


async def test_rule_without_transfers(scene: Scene, record: Chapter, tmp_path: Path) -> None:
    """Where neither download nor upload is allowed the session is refused at once, with 77 and one line."""
    for protocol in PROTOCOLS:
        ended = await scp(scene, "web_front", protocol, "t:etc/passwd", str(tmp_path / "got"), person="bob")
        assert ended.status != 0
        assert b"octopus: access denied [s-" in ended.stderr
    assert [story.names for story in await record.sessions(2)] == [["session.denied"]] * 2
    assert not (tmp_path / "got").exists()


async def test_tar_through_a_command(scene: Scene, record: Chapter) -> None:
    """``tar | ssh`` stays a command with counts, both ways."""
    ssh, key = scene.gateway.ssh, scene.people.alice.key
    packed = await ssh.run("web_front", "tar c -C /etc passwd", key=key)
    assert packed.status == 0
    unpacked = await ssh.run("web_front", "tar t", key=key, stdin=packed.stdout)
    assert unpacked.stdout == b"passwd\n"
    first, _ = await record.sessions(2)
    assert first.names == ["session.requested", "exec", "session.started", "session.ended"]
    assert first.end["bytes_out"] == len(packed.stdout)
