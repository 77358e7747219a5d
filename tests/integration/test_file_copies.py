"""Copies of transferred files, where a rule keeps them: with stock clients, on a real disk, and what the trail says of them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shlex
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from octopus.control import recordings
from octopus.core.types import FileRights
from tests.parts.gateway import GatewayPart, gateway_part
from tests.parts.ssh_client import Ended
from tests.parts.tools import need

LIMIT = 1_000_000
SMALL = bytes(range(256)) * 1000
PROTOCOLS = ["-s", "-O"]


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[GatewayPart]:
    """A gateway whose rule keeps copies up to a megabyte."""
    async with gateway_part(tmp_path) as part:
        part.plane.rights = FileRights(download=True, upload=True, keep=LIMIT)
        yield part


async def copied(part: GatewayPart, *words: str) -> Ended:
    """Run OpenSSH's scp; ``t:`` at the start of a word is the task."""
    words = tuple(f"scp://t@127.0.0.1:{part.port}/{word[2:]}" if word.startswith("t:") else word for word in words)
    return await part.ssh.run_program([need("scp", "openssh-client"), *part.ssh.options, "-i", str(part.key), *words], stdin=None)


async def batch(part: GatewayPart, *lines: str) -> Ended:
    """Run OpenSSH's sftp in batch mode."""
    argv = [need("sftp", "openssh-client"), *part.ssh.options, "-i", str(part.key), "-b", "-", "t@127.0.0.1"]
    return await part.ssh.run_program(argv, stdin="\n".join(lines).encode() + b"\n")


def kept(part: GatewayPart, event: str) -> list[bytes]:
    """Return what the copies hold that these events speak of, after they were held to it."""
    found = []
    for one in part.plane.of(event):
        for recording in one.data.get("recordings", []):
            path = part.recordings / recording["path"]
            content = path.read_bytes()
            assert (recording["size"], recording["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            found.append(content)
    return found


def files(part: GatewayPart) -> list[Path]:
    """Return every file among the recordings."""
    return [path for path in part.recordings.rglob("*") if path.is_file()]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_copy_of_each_way(part: GatewayPart, protocol: str) -> None:
    """What went up and what came down is kept, private, with its digest on the trail, which is that of what passed."""
    local, back = part.directory / "local", part.directory / "back"
    local.write_bytes(SMALL)
    assert (await copied(part, protocol, str(local), "t:far")).status == 0
    (part.home / "other").write_bytes(SMALL * 2)
    assert (await copied(part, protocol, "t:other", str(back))).status == 0
    await part.plane.ended(2)
    assert kept(part, "file.uploaded") == [SMALL]
    assert kept(part, "file.downloaded") == [SMALL * 2]
    for event in ("file.uploaded", "file.downloaded"):
        [one] = part.plane.of(event)
        assert one.data["recordings"][0]["sha256"] == one.data["sha256"]
    assert all(path.suffix == ".copy" for path in files(part))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_is_larger_is_not_kept(part: GatewayPart, protocol: str) -> None:
    """It passes, its event says why there is no copy, and nothing of it stays."""
    local = part.directory / "local"
    local.write_bytes(bytes(LIMIT + 1))
    assert (await copied(part, protocol, str(local), "t:far")).status == 0
    assert (await copied(part, protocol, "t:far", str(part.directory / "back"))).status == 0
    await part.plane.ended(2)
    for event in ("file.uploaded", "file.downloaded"):
        [one] = part.plane.of(event)
        assert (one.data["complete"], one.data["not_kept"]) == (True, f"more than {LIMIT} bytes")
    assert files(part) == []


async def test_a_rule_without_keeps_nothing(part: GatewayPart) -> None:
    """As most rules are."""
    part.plane.rights = FileRights(download=True, upload=True)
    (part.directory / "local").write_bytes(SMALL)
    assert (await copied(part, str(part.directory / "local"), "t:far")).status == 0
    await part.plane.ended()
    assert files(part) == []


async def test_what_goes_on_where_it_was_cut_is_kept(part: GatewayPart) -> None:
    """Of ``reput``, which appends, the copy is what was appended; of ``reget`` it has the part that passed at its place."""
    (part.directory / "local").write_bytes(SMALL)
    (part.directory / "near").write_bytes(SMALL[:100])
    (part.home / "far").write_bytes(SMALL[:1000])
    ended = await batch(part, f"reput {part.directory}/local far", f"reget far {part.directory}/near")
    assert ended.status == 0, ended.stderr
    await part.plane.ended()
    assert kept(part, "file.uploaded") == [SMALL[1000:]]
    assert kept(part, "file.downloaded") == [bytes(100) + SMALL[100:]]


async def test_empty_files_have_none(part: GatewayPart) -> None:
    """There is nothing to keep."""
    (part.directory / "local").touch()
    assert (await copied(part, str(part.directory / "local"), "t:far")).status == 0
    await part.plane.ended()
    [one] = part.plane.of("file.uploaded")
    assert "recordings" not in one.data
    assert files(part) == []


async def test_many_at_once(part: GatewayPart) -> None:
    """Each file of a tree has its own copy."""
    tree = part.directory / "tree"
    tree.mkdir()
    for number in range(30):
        (tree / str(number)).write_bytes(b"%d" % number * 1000)
    assert (await copied(part, "-r", str(tree), "t:up")).status == 0
    await part.plane.ended()
    assert sorted(kept(part, "file.uploaded")) == sorted(b"%d" % number * 1000 for number in range(30))


async def test_what_was_cut_off_is_kept_so_far(part: GatewayPart) -> None:
    """Bytes that passed have passed."""
    part.plane.rights = FileRights(download=True, upload=True, keep=64 << 20)
    with (part.directory / "local").open("wb") as file:
        file.truncate(32 << 20)
    argv = [need("scp", "openssh-client"), "-l", "20000", *part.ssh.options, "-i", str(part.key)]
    process = await asyncio.create_subprocess_exec(*argv, str(part.directory / "local"), "t@127.0.0.1:far", env=part.ssh.environment())
    async with asyncio.timeout(30):
        while not any(path.stat().st_size > 100_000 for path in part.recordings.rglob("*.part")):  # noqa: ASYNC110 (files have no events)
            await asyncio.sleep(0)
    process.kill()
    await process.wait()
    [end] = await part.plane.ended()
    assert end.event == "session.failed"
    [copy] = kept(part, "file.uploaded")
    assert 100_000 < len(copy) < 32 << 20
    assert list(part.home.iterdir()) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("way", ["up", "down"])
async def test_without_its_copy_nothing_passes(part: GatewayPart, protocol: str, way: str) -> None:
    """Where it cannot be written the session ends in one line, the file is not in its place, and the trail says why."""
    part.recordings.touch()
    (part.directory / "local").write_bytes(SMALL)
    (part.home / "there").write_bytes(SMALL)
    words = [str(part.directory / "local"), "t:far"] if way == "up" else ["t:there", str(part.directory / "back")]
    ended = await copied(part, protocol, *words)
    assert ended.status != 0
    assert b"octopus: the session cannot be recorded [" in ended.stderr
    [end] = await part.plane.ended()
    assert (end.event, "Not a directory" in end.data["reason"]) == ("session.failed", True)
    assert [path.name for path in part.home.iterdir()] == ["there"]
    if way == "up":
        [one] = part.plane.of("file.uploaded")
        assert not one.data["complete"]
        assert "Not a directory" in one.data["not_kept"]
    assert not (part.directory / "back").exists() or (part.directory / "back").read_bytes().strip(b"\0") == b""


async def test_commands_have_no_copies(part: GatewayPart) -> None:
    """``tar | ssh`` is a command."""
    (part.home / "a").write_bytes(SMALL)
    ended = await part.ssh.run("t", f"tar c -C {shlex.quote(str(part.home))} a", key=part.key)
    assert ended.status == 0
    await part.plane.ended()
    assert files(part) == []


def test_copies_of_a_dead_worker_are_closed(tmp_path: Path) -> None:
    """What was open then is part of its session's end, whatever the bytes; what was complete has its own event already."""
    day = tmp_path / "2026" / "11" / "25"
    day.mkdir(parents=True)
    content = os.urandom(1000)
    (day / "s-1.2.copy.part").write_bytes(content)
    (day / "s-1.1.copy").write_bytes(b"complete")
    (day / "s-10.1.copy.part").write_bytes(b"another's")
    expected: list[dict[str, Any]] = [{"path": "2026/11/25/s-1.2.copy", "sha256": hashlib.sha256(content).hexdigest(), "size": 1000}]
    assert recordings.complete(tmp_path, "s-1") == expected
    assert sorted(path.name for path in day.iterdir()) == ["s-1.1.copy", "s-1.2.copy", "s-10.1.copy.part"]
