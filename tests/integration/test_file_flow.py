"""Large files pass in one go, by a helper of their own: with limits so small that a few hundred KiB are large."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from octopus.core.files import AttributeChanges, FileFailure, PathChanged, WriteMode
from octopus.engine.file_shell import FileShell
from octopus.engine.file_shells import FileShells
from octopus.engine.limits import FileLimits
from octopus.engine.shell_files import ShellFiles, open_shell_files
from tests.integration.test_files_script import SHELLS, piped, tools

LIMITS = FileLimits(small=16_384, block=32_768, bulk=65_536, stretch=131_072)
SIZE = 2_000_003
PIECE = 5000

OpenShell = Callable[[], AbstractAsyncContextManager[FileShell]]


class Helpers:
    """Starts helpers and counts them: more than one means that a file had its own."""

    def __init__(self, opened: OpenShell) -> None:
        self._open = opened
        self.started = 0
        self.ended = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[FileShell]:
        """Start one."""
        self.started += 1
        async with self._open() as shell:
            yield shell
        self.ended += 1


@asynccontextmanager
async def served(opened: OpenShell, streams: int = 2) -> AsyncIterator[tuple[ShellFiles, Helpers]]:
    """Give the files of this machine by such helpers, and see all of them end."""
    helpers = Helpers(opened)
    shells = FileShells(helpers, 1, streams)
    try:
        files = await open_shell_files(shells, "c0ffee", "here", LIMITS)
        assert isinstance(files, ShellFiles), files
        yield files, helpers
        await files.aclose()
    finally:
        await shells.aclose()
    assert helpers.ended == helpers.started


@pytest.fixture(params=[*SHELLS, "no stat"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> OpenShell:
    """What starts a helper under each shell."""
    (tmp_path / "base").mkdir()
    env = dict(os.environ) if request.param in SHELLS else tools(tmp_path / "tools", "stat")
    return partial(piped, SHELLS.get(request.param, ["dash"]), env, tmp_path / "base", LIMITS)


async def read_on(files: ShellFiles, path: bytes, piece: int = PIECE) -> bytes:
    """Read a file from its start to its end."""
    reader = await files.open_read(await files.resolve(path))
    whole = b""
    while data := await reader.read(len(whole), piece):
        whole += data
    passed = await reader.close()
    assert (passed.complete, passed.ordered, passed.sha256) == (True, True, hashlib.sha256(whole).hexdigest())
    return whole


async def flowing(writer_or_reader: object) -> None:
    """Let a helper that was asked for get ready."""
    while (opening := getattr(writer_or_reader, "_opening", None)) and not opening.done():
        await asyncio.wait({opening})


@pytest.mark.parametrize("streams", [2, 0])
@pytest.mark.parametrize("piece", [700, PIECE, 30_000])
async def test_a_large_file_comes_and_goes_whole(opened: OpenShell, tmp_path: Path, piece: int, streams: int) -> None:
    """With a helper of its own, and where none is to be had."""
    content = os.urandom(SIZE)
    async with served(opened, streams) as (files, helpers):
        writer = await files.open_write(await files.resolve(b"file"), WriteMode())
        for at in range(0, SIZE, piece):
            await writer.write(at, content[at : at + piece])
            await flowing(writer)
        assert not (tmp_path / "base/file").exists()
        passed = await writer.close()
        assert (passed.complete, passed.size, passed.sha256) == (True, SIZE, hashlib.sha256(content).hexdigest())
        assert (tmp_path / "base/file").read_bytes() == content
        assert await read_on(files, b"file", piece) == content
        assert helpers.started == (3 if streams else 1)


async def test_offsets_in_any_order(opened: OpenShell, tmp_path: Path) -> None:
    """Requests that overtake one another by a little, or leave the row, get and put the bytes of their place."""
    content, order = os.urandom(SIZE), random.Random(1)
    offsets = list(range(0, SIZE, PIECE))
    for at in range(60, len(offsets) - 4, 9):
        offsets[at], offsets[at + order.randrange(1, 4)] = offsets[at + 1], offsets[at]
    offsets = list(dict.fromkeys([*offsets, *range(0, SIZE, PIECE)]))
    async with served(opened) as (files, helpers):
        writer = await files.open_write(await files.resolve(b"file"), WriteMode())
        for at in offsets:
            await writer.write(at, content[at : at + PIECE])
            await flowing(writer)
        assert (await writer.close()).size == SIZE
        assert (tmp_path / "base/file").read_bytes() == content
        reader = await files.open_read(await files.resolve(b"file"))
        for at in [*offsets, 3, SIZE - 10, *offsets[50:150], SIZE + 5, SIZE - 1]:
            assert await reader.read(at, PIECE) == content[at : at + PIECE]
        await reader.close()
        assert helpers.started > 2


async def test_a_size_set_in_the_middle(opened: OpenShell, tmp_path: Path) -> None:
    """What came before it is in the file by then, and what follows goes on."""
    content = os.urandom(SIZE)
    async with served(opened) as (files, helpers):
        writer = await files.open_write(await files.resolve(b"file"), WriteMode())
        for at in range(0, SIZE, PIECE):
            await writer.write(at, content[at : at + PIECE])
            await flowing(writer)
            if at == 500_000:
                assert (await writer.stat()).size == at + PIECE
                await writer.change(AttributeChanges(size=SIZE + 7))
        await writer.close()
        assert (tmp_path / "base/file").read_bytes() == content + bytes(7)
        assert helpers.started > 1


async def test_an_upload_that_is_broken_off_leaves_nothing(opened: OpenShell, tmp_path: Path) -> None:
    """Neither the file nor what was to become of it."""
    async with served(opened) as (files, helpers):
        writer = await files.open_write(await files.resolve(b"file"), WriteMode())
        for at in range(0, 300_000, PIECE):
            await writer.write(at, bytes(PIECE))
            await flowing(writer)
        assert not (await writer.abort()).complete
        assert helpers.started == 2
        assert list((tmp_path / "base").iterdir()) == []


async def test_a_download_that_is_broken_off(opened: OpenShell, tmp_path: Path) -> None:
    """Its helper ends though it is not read from any more, and others serve meanwhile."""
    (tmp_path / "base/file").write_bytes(os.urandom(SIZE))
    async with served(opened) as (files, helpers):
        for _ in range(4):
            reader = await files.open_read(await files.resolve(b"file"))
            for at in range(0, 400_000, PIECE):
                await reader.read(at, PIECE)
            assert (await files.resolve(b"file")).attributes
            assert not (await reader.close()).complete
        assert helpers.started > 1


async def test_a_file_that_changes_under_way(opened: OpenShell, tmp_path: Path) -> None:
    """It ends where it ends by then, and one put in its place is not mistaken for it."""
    file = tmp_path / "base/file"
    file.write_bytes(bytes(SIZE))
    async with served(opened) as (files, _):
        reader = await files.open_read(await files.resolve(b"file"))
        for at in range(0, 400_000, PIECE):
            assert await reader.read(at, PIECE) == bytes(PIECE)
        with file.open("ab") as grows:
            grows.write(b"more")
        at = 400_000
        while data := await reader.read(at, PIECE):
            at += len(data)
        assert at == SIZE + 4
        with file.open("ab") as grows:
            grows.write(b"and more")
        assert await reader.read(at, PIECE) == b"and more"
        await reader.close()

        reader = await files.open_read(await files.resolve(b"file"))
        for at in range(0, 400_000, PIECE):
            await reader.read(at, PIECE)
        os.truncate(file, 450_000)
        at = 400_000
        while data := await reader.read(at, PIECE):
            at += len(data)
        assert 450_000 <= at <= 400_000 + 4 * LIMITS.stretch  # what was under way by then may have passed
        await reader.close()


async def test_another_file_in_its_place(tmp_path: Path) -> None:
    """By its inode it is another: told, and none of its bytes passes."""
    file = tmp_path / "file"
    file.write_bytes(b"a" * SIZE)
    async with served(partial(piped, ["dash"], dict(os.environ), tmp_path, LIMITS)) as (files, _):
        reader = await files.open_read(await files.resolve(b"file"))
        for at in range(0, 400_000, PIECE):
            await reader.read(at, PIECE)
        (tmp_path / "other").write_bytes(b"b" * SIZE)
        (tmp_path / "other").rename(file)
        seen: list[bytes] = []

        async def read_to_the_end() -> None:
            while data := await reader.read(400_000 + sum(len(part) for part in seen), PIECE):
                seen.append(data)

        with pytest.raises(PathChanged):
            await read_to_the_end()
        assert set(b"".join(seen)) <= {ord("a")}
        await reader.close()


@pytest.mark.parametrize("name", list(SHELLS))
async def test_a_disk_that_fills_up_tells_so_and_what_still_comes_is_no_request(tmp_path: Path, name: str) -> None:
    """The writer learns of it; bytes that look like the helper's own requests are dropped like others; nothing is left."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "precious").write_bytes(b"")
    limit = f'ulimit -f 512; exec {" ".join(SHELLS[name])} -c "$0"'  # 256 or 512 KiB, by the shell's unit
    full = partial(piped, ["bash"], {**os.environ, "LC_ALL": "C"}, home, LIMITS, before=["-c", f"trap '' XFSZ; {limit}"])
    request = b"m remove 1\n%s\n" % bytes(tmp_path / "precious")
    content = (request * (PIECE // len(request) + 1))[:PIECE]
    async with served(full) as (files, helpers):
        writer = await files.open_write(await files.resolve(b"file"), WriteMode())

        async def fill() -> None:
            for at in range(0, 100 * SIZE, PIECE):
                await writer.write(at, content)
                await flowing(writer)

        with pytest.raises(FileFailure, match=r"(?i)file too large"):
            await fill()
        with pytest.raises(FileFailure):
            await writer.close()
        assert helpers.started == 2
        assert (await files.resolve(b"file")).attributes is None
    assert (tmp_path / "precious").exists()
    assert list(home.iterdir()) == []
