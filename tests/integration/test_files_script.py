"""The script of the helper shell under the shells and tools of this machine, with no engine between."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from octopus.core.errors import ContainerUnavailable
from octopus.core.files import AttributeChanges, FileFailure, PathChanged, WriteMode
from octopus.core.ports import ContainerFiles, FileReader, FileWriter
from octopus.engine.engines import Engine
from octopus.engine.file_shell import SCRIPT, FileShell
from octopus.engine.file_shells import FileShells
from octopus.engine.hijack import Hijacked
from octopus.engine.limits import FileLimits
from octopus.engine.shell_files import ShellFiles, open_shell_files
from tests.files_contract import ContainerFilesContract
from tests.parts.tools import need

SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "sh"]}
BUSYBOX_ONLY = [
    "cat",
    "chmod",
    "chown",
    "date",
    "dd",
    "df",
    "find",
    "ln",
    "ls",
    "mkdir",
    "mv",
    "readlink",
    "rm",
    "rmdir",
    "stat",
    "touch",
    "wc",
]


class PipedExec:
    """A local process that looks like a started exec: its output in the engine's frames."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("no pipes")
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout

    async def read(self, size: int) -> bytes:
        """One frame."""
        data = await self._stdout.read(size)
        return b"\1\0\0\0" + len(data).to_bytes(4, "big") + data if data else b""

    async def write(self, data: bytes) -> None:
        """To its input."""
        self._stdin.write(data)
        await self._stdin.drain()

    def write_now(self, data: bytes) -> bool:
        """To its input, however much that holds already."""
        if self._stdin.is_closing():
            return False
        self._stdin.write(data)
        return True

    async def write_eof(self) -> None:
        """End its input."""
        self._stdin.close()

    def close(self) -> None:
        """Nothing more."""
        self._stdin.close()


@asynccontextmanager
async def piped(
    argv: list[str], env: dict[str, str], cwd: Path, limits: FileLimits, *, before: Sequence[str] = ("-c",)
) -> AsyncIterator[FileShell]:
    """Run the script; ``before`` it is given what has it run."""
    process = await asyncio.create_subprocess_exec(
        *(need(argv[0], argv[0]), *argv[1:], *before, SCRIPT),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=env,
        cwd=cwd,
    )
    shell = FileShell(cast(Engine, SimpleNamespace(agent="here")), cast(Hijacked, PipedExec(process)), limits)
    try:
        yield shell
    finally:
        await shell.leave()
        await process.wait()


def tools(where: Path, without: str = "") -> dict[str, str]:
    """An environment in which only busybox's tools are found."""
    where.mkdir()
    for name in BUSYBOX_ONLY:
        if name != without:
            (where / name).symlink_to(need("busybox", "busybox-static"))
    return {"PATH": str(where)}


class TestScript(ContainerFilesContract):
    """Under each shell, with GNU's tools and busybox's, and without ``stat``."""

    @pytest.fixture(params=[*SHELLS, "no stat", "no find"])
    async def files(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ContainerFiles]:
        """The files of this machine, by the script."""
        argv, env = SHELLS.get(request.param, ["dash"]), dict(os.environ)
        if request.param not in SHELLS:
            env = tools(tmp_path / "tools", request.param.removeprefix("no "))
        limits = FileLimits()
        shells = FileShells(partial(piped, argv, env, tmp_path, limits), limits.shells)
        try:
            files = await open_shell_files(shells, "c0ffee", "here", limits)
            assert isinstance(files, ShellFiles), files
            yield files
            await files.aclose()
        finally:
            await shells.aclose()

    @pytest.fixture
    def base(self, tmp_path: Path) -> bytes:
        """A directory of this machine."""
        (tmp_path / "base").mkdir()
        return bytes(tmp_path / "base")


@pytest.mark.parametrize("name", list(SHELLS))
@pytest.mark.parametrize("way", ["put", "PUT", "STORE", "commit"])
@pytest.mark.parametrize("missing", [2, 6, 7, 500, 1006])
async def test_what_does_not_come_whole_is_not_there(tmp_path: Path, name: str, missing: int, way: str) -> None:
    """A connection that is cut anywhere in a file's bytes, or right after them, leaves nothing in its place or beside it."""
    home = tmp_path / "home"
    home.mkdir()
    process = await asyncio.create_subprocess_exec(
        need(SHELLS[name][0], name), *SHELLS[name][1:], "-c", SCRIPT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    temporary = f"{home}/.octopus-{'0' * 24}"
    if way in ("PUT", "STORE"):
        request = f"m {way} 1000,0022,,,, {home}/new\n"
    elif way == "put":
        request = f"m put 9\n{temporary}\n1000\nnew\n0\n0022\n\n\n\n\n"
    else:
        request = f"m create 3\n{temporary}\nnew\n0\nm commit 11\n{temporary}\n0\n1000\nnew\n1000\n0\n0644\n\n\n\n\n"
    said, _ = await process.communicate(request.encode() + (bytes(1000) + b"whole\n")[:-missing])
    assert said.rpartition(b"mE")[2].startswith(b"1 ") or (way in ("PUT", "STORE") and said == b""), said
    assert list(home.iterdir()) == []


async def test_a_shell_without_the_tools_is_not_enough(tmp_path: Path) -> None:
    """It says which are missing."""
    limits = FileLimits()
    shells = FileShells(partial(piped, ["dash"], tools(tmp_path / "tools", "dd"), tmp_path, limits), limits.shells)
    files = await open_shell_files(shells, "c0ffee", "here", limits)
    await shells.aclose()
    assert files == "this image lacks dd, fullblock"


@pytest.mark.parametrize("name", list(SHELLS))
async def test_a_disk_that_fills_up_in_the_middle_of_a_block(tmp_path: Path, name: str) -> None:
    """What was not written is read all the same: the helper is in step, says why, and goes on; nothing of the file is left."""
    limit = f'ulimit -f 4096; exec {" ".join(SHELLS[name])} -c "$0"'  # a file may have 2 or 4 MiB, by the shell's unit
    limits = FileLimits()
    async with piped(["bash"], {**os.environ, "LC_ALL": "C"}, tmp_path, limits, before=["-c", f"trap '' XFSZ; {limit}"]) as shell:
        temporary = bytes(tmp_path / f".octopus-{'0' * 24}")
        await shell.call("create", temporary, b"file", b"0")
        for size in (limits.block + 1_000_000, limits.block + 131_072, limits.block * 2):
            with pytest.raises(FileFailure):
                await shell.call("write", temporary, b"0", b"%d" % size, data=os.urandom(size))
            assert (await shell.call("hello")).splitlines()[0].startswith(b"0")
        for size in (1000, 100_000):
            with pytest.raises(FileFailure):
                await shell.call("write", temporary, b"%d" % (limits.block * 2), b"%d" % size, data=os.urandom(size))
            assert (await shell.call("hello")).splitlines()[0].startswith(b"0")
        await shell.call("discard", temporary)
    assert list(tmp_path.iterdir()) == []


@asynccontextmanager
async def served(tmp_path: Path, name: str, *, before: Sequence[str] = ()) -> AsyncIterator[ShellFiles]:
    """Give the files of this machine by one helper under a shell, and a new directory ``own`` of theirs."""
    limits = FileLimits()
    argv = [*before, need(SHELLS[name][0], name), *SHELLS[name][1:]]
    shells = FileShells(partial(piped, argv, dict(os.environ), tmp_path, limits), 1)
    files = await open_shell_files(shells, "c0ffee", "here", limits)
    assert isinstance(files, ShellFiles), files
    try:
        await files.make_directory(await files.resolve(b"own", follow=False))
        yield files
        await files.aclose()
    finally:
        await shells.aclose()


async def begun(files: ShellFiles, name: bytes, data: bytes, mode: int = 0o644) -> FileWriter:
    """Open a new file, and write to it."""
    writer = await files.open_write(await files.resolve(b"own/" + name, new=True), WriteMode(mode=mode))
    await writer.write(0, data)
    return writer


@pytest.mark.parametrize("name", list(SHELLS))
async def test_a_small_file_whose_bytes_went_ahead_of_its_end(tmp_path: Path, name: str) -> None:
    """It is there with its end and no sooner; more may be written, its mode be changed, others be made meanwhile, or it be given up."""
    own = tmp_path / "own"
    async with served(tmp_path, name) as files:
        one, two = await begun(files, b"one", b"1" * 4096), await begun(files, b"two", b"2" * 30)
        await two.write(30, b"more")
        three, four = await begun(files, b"three", b"3"), await begun(files, b"four", b"4" * 100_000)
        await one.change(AttributeChanges(mode=0o751, atime=5, mtime=6))
        assert [file.name for file in own.iterdir() if not file.name.startswith(".")] == []
        await three.abort()
        for writer in (four, two, one):
            assert (await writer.close()).complete
        five, six = await begun(files, b"five", b"5"), await begun(files, b"six", b"6")
        (own / "five").write_text("another's")
        (own / "six").symlink_to("one")
        await five.close()
        with pytest.raises(PathChanged):
            await six.close()
        await begun(files, b"seven", b"7")
    assert {file.name: file.read_bytes() for file in own.iterdir()} == {
        "one": b"1" * 4096,
        "two": b"2" * 30 + b"more",
        "four": b"4" * 100_000,
        "five": b"5",
        "six": b"1" * 4096,
    }
    found = (own / "one").stat()
    assert (found.st_mode & 0o7777, found.st_mtime, (own / "six").is_symlink()) == (0o751, 6.0, True)


@pytest.mark.parametrize("name", list(SHELLS))
async def test_a_disk_that_is_full_for_a_small_file(tmp_path: Path, name: str) -> None:
    """Its end says so, though its bytes went ahead; nothing is left of it, and the next small enough one is there."""
    before = [need("bash", "bash"), "-c", 'trap \'\' XFSZ; ulimit -f 8; exec "$0" "$@"']  # 4 or 8 KiB, by the shell's unit
    async with served(tmp_path, name, before=before) as files:
        writer = await begun(files, b"large", bytes(20_000))
        with pytest.raises(FileFailure):
            await writer.close()
        await (await begun(files, b"small", b"here")).close()
    assert {file.name: file.read_bytes() for file in (tmp_path / "own").iterdir()} == {"small": b"here"}


async def fetched(files: ShellFiles, name: bytes) -> FileReader:
    """Open a file that comes along with being resolved."""
    place = await files.resolve(b"own/" + name, ahead=True)
    assert place.begun
    return await files.open_read(place)


@pytest.mark.parametrize("name", list(SHELLS))
async def test_a_small_file_of_which_more_is_asked_later(tmp_path: Path, name: str) -> None:
    """What has grown is read on; what is another file by now is not mistaken for it, unless nothing of it was told yet."""
    file = tmp_path / "own" / "file"
    async with served(tmp_path, name) as files:
        file.write_bytes(b"one")
        reader = await fetched(files, b"file")
        assert [await reader.read(0, 9), await reader.read(3, 9)] == [b"one", b""]
        with file.open("ab") as more:
            more.write(b"two" * 200_000)
        assert (await reader.stat()).size == 600_003
        assert [len(await reader.read(3, 9)), await reader.read(600_000, 9), await reader.read(600_003, 9)] == [9, b"two", b""]
        await reader.close()
        for ask in ("read", "stat"):
            file.write_bytes(b"one")
            reader = await fetched(files, b"file")
            assert [await reader.read(0, 9), await reader.read(3, 9)] == [b"one", b""]
            file.rename(tmp_path / "former")
            file.write_bytes(b"another")
            with pytest.raises(PathChanged):
                await (reader.stat() if ask == "stat" else reader.read(3, 9))
            assert (await reader.close()).size == 3
        reader = await fetched(files, b"file")
        file.write_bytes(b"rewritten")
        assert (await reader.stat()).size == 9
        assert await reader.read(0, 20) == b"rewritten"
        assert (await reader.close()).complete


@pytest.mark.parametrize("name", ["dash", "bash"])
@pytest.mark.parametrize("way", ["put", "commit", "write", "append"])
async def test_content_is_never_taken_for_requests(tmp_path: Path, name: str, way: str) -> None:
    """Where what reads a file's bytes dies over it, the helper leaves: what is left of them names no operation."""
    lies, home = tmp_path / "lies", tmp_path / "home"
    lies.mkdir()
    home.mkdir()
    (lies / "dd").write_text('#!/bin/sh\ncase $* in *bs=1000*|*bs=999*) kill -9 $$ ;; *) PATH=/usr/bin:/bin exec dd "$@" ;; esac\n')
    (lies / "dd").chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        need(SHELLS[name][0], name),
        *SHELLS[name][1:],
        *("-c", SCRIPT),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PATH": f"{lies}:{os.environ['PATH']}"},
    )
    temporary = f"{home}/.octopus-{'0' * 24}"
    hostile = f"x\nm make_directory 2\n{home}/walked\n\n".ljust(1000)
    create = f"m create 3\n{temporary}\nnew\n0\n"
    request = {
        "put": f"m put 9\n{temporary}\n1000\nnew\n0\n0022\n\n\n\n\n{hostile}whole\n",
        "commit": f"{create}m commit 11\n{temporary}\n0\n1000\nnew\n1000\n0\n0644\n\n\n\n\n{hostile}whole\n",
        "append": f"{create}m append 2\n{temporary}\n1000\n{hostile}",
        "write": f"{create}m write 3\n{temporary}\n0\n1000\n{hostile}",
    }[way]
    await process.communicate(request.encode())
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("name", list(SHELLS))
async def test_nothing_is_left_of_a_helper_that_was_killed(tmp_path: Path, name: str) -> None:
    """It tidies up nothing itself: what was being uploaded by it is removed by another."""
    pid = tmp_path / "pid"
    before = [need("bash", "bash"), "-c", f'echo $$ >>{pid}; exec "$0" "$@"']
    async with served(tmp_path, name, before=before) as files:
        writer = await files.open_write(await files.resolve(b"own/file"), WriteMode())
        await writer.write(0, bytes(1_000_000))
        await writer.stat()
        assert len(list((tmp_path / "own").iterdir())) == 1
        os.kill(int(pid.read_text().split()[0]), signal.SIGKILL)
        with pytest.raises(ContainerUnavailable):
            await files.resolve(b"own/other")
        assert not (await writer.abort()).complete
    assert list((tmp_path / "own").iterdir()) == []
