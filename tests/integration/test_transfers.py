"""Files through the gateway with stock clients, over the directories of this machine: each client's every operation, and its events."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from octopus.core.types import FileRights
from tests.parts.gateway import GatewayPart, gateway_part
from tests.parts.ssh_client import Ended
from tests.parts.tools import need

BLOCK = bytes(range(256)) * 4096
"""A MiB that tells every byte value."""


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[GatewayPart]:
    """A gateway for one test."""
    async with gateway_part(tmp_path) as part:
        yield part


async def sftp(part: GatewayPart, *lines: str) -> Ended:
    """Run OpenSSH's sftp in batch mode."""
    argv = [need("sftp", "openssh-client"), *part.ssh.options, "-i", str(part.key), "-b", "-", "t@127.0.0.1"]
    return await part.ssh.run_program(argv, stdin="\n".join(lines).encode() + b"\n")


async def scp(part: GatewayPart, *words: str) -> Ended:
    """Run OpenSSH's scp; ``t:`` at the start of a word is the task."""
    words = tuple(f"t@127.0.0.1:{word[2:]}" if word.startswith("t:") else word for word in words)
    return await part.ssh.run_program([need("scp", "openssh-client"), *part.ssh.options, "-i", str(part.key), *words], stdin=None)


def sha256(data: bytes) -> str:
    """Return the digest as the trail has it."""
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("protocol", ["-s", "-O"])
async def test_scp_both_ways(part: GatewayPart, protocol: str) -> None:
    """A file goes up and comes down whole, by either protocol; both are on the trail with path, size and digest."""
    (part.directory / "local").write_bytes(BLOCK * 3)
    up = await scp(part, protocol, str(part.directory / "local"), "t:there")
    assert (up.status, up.stderr) == (0, b"")
    assert (part.home / "there").read_bytes() == BLOCK * 3
    down = await scp(part, protocol, "t:there", str(part.directory / "back"))
    assert (down.status, down.stderr) == (0, b"")
    assert (part.directory / "back").read_bytes() == BLOCK * 3
    ends = await part.plane.ended(2)
    assert [(end.event, end.data["exit_status"], end.data["recordings"]) for end in ends] == [("session.ended", 0, [])] * 2
    [uploaded], [downloaded] = part.plane.of("file.uploaded"), part.plane.of("file.downloaded")
    for event in (uploaded, downloaded):
        assert event.data["path"] == str(part.home / "there")
        assert (event.data["size"], event.data["sha256"]) == (3 << 20, sha256(BLOCK * 3))
        assert (event.data["complete"], event.data["ordered"]) == (True, True)
    assert [request.kind for request in part.plane.requests] == ["sftp" if protocol == "-s" else "scp"] * 2
    assert not part.recordings.exists()


@pytest.mark.parametrize("protocol", ["-s", "-O"])
async def test_scp_of_trees_keeps_modes_times_and_odd_names(part: GatewayPart, protocol: str) -> None:
    """``scp -r -p`` takes a tree up and down: names of every kind, empty files, modes and times."""
    names = ["plain", "with space", "quote'\"s", "-dash", "back\\slash", "ünï", "empty", "*star*", "$HOME", ";semi"]
    tree = part.directory / "tree"
    (tree / "deep" / "er").mkdir(parents=True)
    for number, name in enumerate(names):
        file = tree / ("deep" if number % 2 else "deep/er") / name
        file.write_bytes(b"" if name == "empty" else name.encode())
        file.chmod(0o640 + number % 3)
        os.utime(file, (1_000_000_000 + number, 1_100_000_000 + number))
    assert (await scp(part, protocol, "-r", "-p", str(tree), "t:up")).status == 0
    assert (await scp(part, protocol, "-r", "-p", "t:up", str(part.directory / "down"))).status == 0
    for copy in (part.home / "up", part.directory / "down"):
        for number, name in enumerate(names):
            file = copy / ("deep" if number % 2 else "deep/er") / name
            found = file.stat()
            assert file.read_bytes() == (b"" if name == "empty" else name.encode())
            assert (found.st_mode & 0o777, int(found.st_mtime)) == (0o640 + number % 3, 1_100_000_000 + number)
    await part.plane.ended(2)
    assert len(part.plane.of("file.uploaded")) == len(part.plane.of("file.downloaded")) == len(names)
    assert len(part.plane.of("directory.created")) == 3


@pytest.mark.parametrize("protocol", ["-s", "-O"])
async def test_scp_keeps_programs_executable(part: GatewayPart, protocol: str) -> None:
    """A debugging tool is executable when it arrives, without -p as well."""
    tool = part.directory / "tool"
    tool.write_bytes(b"#!/bin/sh\n")
    tool.chmod(0o755)
    assert (await scp(part, protocol, str(tool), "t:")).status == 0
    assert (part.home / "tool").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("protocol", ["-s", "-O"])
async def test_scp_with_patterns_and_several_files(part: GatewayPart, protocol: str) -> None:
    """What fits a pattern comes, hidden files do not; what is not there is told, and the rest comes."""
    for name in ("a.log", "b.log", ".c.log", "d.txt"):
        (part.home / name).write_text(name)
    (part.directory / "to").mkdir()
    ended = await scp(part, protocol, "t:*.log", "t:none", "t:~/d.txt", str(part.directory / "to"))
    assert ended.status == 1
    assert b"none" in ended.stderr
    assert b"o such file" in ended.stderr
    assert sorted(path.name for path in (part.directory / "to").iterdir()) == ["a.log", "b.log", "d.txt"]


async def test_scp_between_two_tasks_through_the_client(part: GatewayPart) -> None:
    """``scp -3`` copies from one task to another."""
    (part.home / "one").write_bytes(BLOCK)
    task = next(name for name in part.plane.tasks if name != "t")
    ended = await scp(part, "-3", "t:one", f"scp://{task}@127.0.0.1:{part.port}/two")
    assert (ended.status, ended.stderr) == (0, b"")
    assert (part.home / "two").read_bytes() == BLOCK


async def test_sftp_batch(part: GatewayPart) -> None:
    """Every command of OpenSSH's sftp does what it says, and what it changed is on the trail."""
    local = part.directory / "local"
    local.write_bytes(b"content")
    ended = await sftp(
        part,
        "pwd",
        f"put {local} a",
        "mkdir d",
        "chmod 600 a",
        "ln -s a soft",
        "ln a hard",
        "ls -la",
        "df",
        "rename a d/b",
        "ls d/*",
        f"get d/b {part.directory}/got",
        "rm hard",
        "rm soft",
        "rm d/b",
        "rmdir d",
        "-ls none",
    )
    assert ended.status == 0, ended.stderr
    assert f"Remote working directory: {part.home}".encode() in ended.stdout
    assert b"-rw-------    2 " in ended.stdout
    assert b"Avail" in ended.stdout
    assert b"d/b" in ended.stdout
    assert (part.directory / "got").read_bytes() == b"content"
    assert list(part.home.iterdir()) == []
    await part.plane.ended()
    changes = [event.event for event in part.plane.events if event.event not in ("file.listed", "file.downloaded")]
    assert changes == [
        "session.started",
        "file.uploaded",
        "directory.created",
        "file.changed",
        "file.linked",
        "file.linked",
        "file.renamed",
        "file.removed",
        "file.removed",
        "file.removed",
        "directory.removed",
        "session.ended",
    ]
    [renamed] = part.plane.of("file.renamed")
    assert (renamed.data["path"], renamed.data["new_path"]) == (str(part.home / "a"), str(part.home / "d/b"))
    assert {event.data["path"] for event in part.plane.of("file.listed")} >= {str(part.home)}


async def test_sftp_goes_on_where_it_was_cut(part: GatewayPart) -> None:
    """``reget`` and ``reput`` pass only what is missing, and the trail says that it was not the whole."""
    (part.home / "far").write_bytes(BLOCK)
    (part.directory / "near").write_bytes(BLOCK[:300_000])
    ended = await sftp(part, f"reget far {part.directory}/near")
    assert ended.status == 0, ended.stderr
    assert (part.directory / "near").read_bytes() == BLOCK
    (part.home / "far").write_bytes(BLOCK[:500_000])
    ended = await sftp(part, f"reput {part.directory}/near far")
    assert ended.status == 0, ended.stderr
    assert (part.home / "far").read_bytes() == BLOCK
    [downloaded], [uploaded] = part.plane.of("file.downloaded"), part.plane.of("file.uploaded")
    assert downloaded.data["size"] == len(BLOCK) - 300_000
    assert not downloaded.data["complete"]
    assert (uploaded.data["size"], uploaded.data["sha256"]) == (len(BLOCK) - 500_000, sha256(BLOCK[500_000:]))


async def test_names_that_are_no_text(part: GatewayPart) -> None:
    """Bytes that are no UTF-8, newlines and backslashes in names pass, and are written down so that they can be read back."""
    name = b"\xff\n\\x"
    (part.directory / "local").write_bytes(b"1")
    assert (await sftp(part, f"put {part.directory}/local a")).status == 0
    os.rename(part.home / "a", bytes(part.home) + b"/" + name)
    ended = await sftp(part, f"get * {part.directory}/got")
    assert ended.status == 0, ended.stderr
    assert (part.directory / "got").read_bytes() == b"1"
    await part.plane.ended(2)
    assert part.plane.of("file.downloaded")[0].data["path"] == str(part.home) + "/\\xff\\x0a\\\\x"


async def test_old_scp_takes_names_that_are_no_text(part: GatewayPart) -> None:
    """Bytes that are no UTF-8 come up and down by scp's own protocol too; what was asked for is on the trail, and so is a refusal."""
    name = os.fsdecode(b"caf\xe9")
    (part.directory / "local").write_bytes(BLOCK)
    up = await scp(part, "-O", str(part.directory / "local"), f"t:{name}")
    down = await scp(part, "-O", f"t:{name}", str(part.directory / "back"))
    assert (up.status, down.status, up.stderr, down.stderr) == (0, 0, b"", b"")
    assert (part.directory / "back").read_bytes() == (part.home / name).read_bytes() == BLOCK
    await part.plane.ended(2)
    assert [request.command for request in part.plane.requests] == ["scp -t caf\\xe9", "scp -f caf\\xe9"]
    for event in (*part.plane.of("file.uploaded"), *part.plane.of("file.downloaded")):
        assert (event.data["asked"], event.data["path"]) == ("caf\\xe9", f"{part.home}/caf\\xe9")
    part.plane.rights = FileRights(upload=True)
    denied = await scp(part, "-O", f"t:{name}", str(part.directory / "never"))
    assert (denied.status, b"caf\\xe9" in denied.stderr) == (1, True), denied
    [event] = part.plane.of("file.denied")
    assert event.data["path"] == f"{part.home}/caf\\xe9"


async def test_rule_without_upload(part: GatewayPart) -> None:
    """Reading works, writing is refused in a sentence, and each refusal is on the trail; nothing was changed."""
    part.plane.rights = FileRights(download=True)
    (part.home / "a").write_text("a")
    (part.directory / "local").write_text("b")
    got = part.directory / "got"
    ended = await sftp(
        part, f"get a {got}", f"-put {part.directory}/local a", "-rm a", "-mkdir d", "-rename a b", "-chmod 777 a", "-ln -s a b", "-ln a b"
    )
    assert ended.status == 0
    assert got.read_text() == "a"
    assert b"octopus: not allowed: write " in ended.stderr
    assert [path.name for path in part.home.iterdir()] == ["a"]
    assert (part.home / "a").read_text() == "a"
    await part.plane.ended()
    denied = [event.data["operation"] for event in part.plane.of("file.denied")]
    assert denied == ["write", "remove", "mkdir", "rename", "change", "symlink", "link"]


async def test_rule_without_download(part: GatewayPart) -> None:
    """Uploading works, by scp as well; reading and listing are refused."""
    part.plane.rights = FileRights(upload=True)
    (part.directory / "local").write_text("b")
    assert (await scp(part, str(part.directory / "local"), "t:a")).status == 0
    assert (await scp(part, "-O", str(part.directory / "local"), f"t:{part.home}/")).status == 0
    assert sorted(path.name for path in part.home.iterdir()) == ["a", "local"]
    ended = await sftp(part, f"-get a {part.directory}/got", "-ls")
    assert b"not allowed: read" in ended.stderr
    assert b"not allowed: list" in ended.stderr
    old = await scp(part, "-O", "t:a", str(part.directory / "got"))
    assert old.status == 1
    assert b"not allowed: read" in old.stderr
    assert not (part.directory / "got").exists()


async def test_paths_of_a_rule_hold_behind_links(part: GatewayPart) -> None:
    """Within the paths all works; a link leads out of them for nobody, and on the way there only what leads there is seen."""
    part.plane.rights = FileRights(download=True, upload=True, paths=(f"{part.home}/in/**",))
    inside, outside = part.home / "in", part.home / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (inside / "file").write_text("file")
    (inside / "door").symlink_to(outside)
    (inside / "key").symlink_to(outside / "secret")
    local = part.directory / "got"
    ended = await sftp(
        part,
        f"cd {part.home}",
        "ls",
        "cd in",
        "ls",
        f"get file {local}",
        f"-get door/secret {local}-1",
        f"-get key {local}-2",
        f"-put {local} door/new",
        f"-put {local} key",
        "-rename file ../out/file",
        "-rename door/secret mine",
        "-ln -s ../out/secret third",
        "-ln ../out/secret third",
        "-rm ../out/secret",
        f"-get ../out/secret {local}-3",
        "-ls ../out",
        "rm key",
    )
    assert ended.status == 0, ended.stderr
    listed = ended.stdout.split(b"sftp> ls\n")
    assert (b"in" in listed[1], b"out" in listed[1].split(b"sftp>")[0]) == (True, False)
    assert local.read_text() == "file"
    assert not [path for path in part.directory.iterdir() if path.name.startswith("got-")]
    assert (outside / "secret").read_text() == "secret"
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert sorted(path.name for path in inside.iterdir()) == ["door", "file"]
    await part.plane.ended()
    assert len(part.plane.of("file.denied")) >= 10
    assert {event.data["path"] for event in part.plane.of("file.denied")} <= {
        str(outside),
        *(f"{outside}/{name}" for name in ("secret", "new", "file")),
    }


async def test_command_that_only_looks_like_scp_is_run(part: GatewayPart) -> None:
    """What a shell would do more with than scp's own words goes to the container's shell."""
    ended = await part.ssh.run("t", "scp -t /nowhere; echo shell", key=part.key)
    assert ended.stdout.endswith(b"shell\n")
    assert part.plane.requests[-1].kind == "exec"


async def test_tar_through_a_command(part: GatewayPart) -> None:
    """``tar | ssh`` stays a command: its bytes are counted, no file is named."""
    (part.home / "a").write_bytes(BLOCK)
    ended = await part.ssh.run("t", f"tar c -C {shlex.quote(str(part.home))} a", key=part.key)
    assert ended.status == 0
    assert ended.stdout.count(BLOCK) == 1
    [end] = await part.plane.ended()
    assert end.data["bytes_out"] == len(ended.stdout)
    assert part.plane.of("file.downloaded") == []
