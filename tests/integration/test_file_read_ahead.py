"""Attributes read ahead by a helper shell: what is told is what a question of its own is told, and never older than it may be."""

from __future__ import annotations

import dataclasses
import os
import posixpath
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from octopus.core.files import AttributeChanges, FileAttributes, FileFailure, WriteMode
from octopus.core.types import FileRights
from octopus.engine.file_shells import FileShells
from octopus.engine.limits import FileLimits
from octopus.engine.shell_files import ShellFiles, open_shell_files
from octopus.session.disk import DiskThreads
from octopus.session.file_access import FileAccess, FileForbidden
from octopus.session.file_copies import FileCopies
from octopus.session.file_trail import FileTrail
from tests.files_contract import NAMES
from tests.integration.test_files_script import SHELLS, piped, tools

LIMITS = FileLimits(fresh=1000.0)
"""So that it is by no chance that something is read ahead."""
ALONE = dataclasses.replace(LIMITS, fresh=0.0)

Opened = Callable[..., Any]


class Clock:
    """Time that only a test moves on, but for a little at each look."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        self.now += 0.001
        return self.now


@pytest.fixture(params=[*SHELLS, "no stat"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Gives the files of this machine by a helper under each shell."""
    env = dict(os.environ) if request.param in SHELLS else tools(tmp_path / "tools", "stat")
    argv = SHELLS.get(request.param, ["dash"])

    @asynccontextmanager
    async def open_files(limits: FileLimits = LIMITS, clock: Callable[[], float] | None = None) -> AsyncIterator[ShellFiles]:
        shells = FileShells(partial(piped, argv, env, tmp_path, limits), 1)
        try:
            files = await open_shell_files(shells, "c0ffee", "here", limits, clock)
            assert isinstance(files, ShellFiles), files
            yield files
            await files.aclose()
        finally:
            await shells.aclose()

    return open_files


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A directory of everything that has attributes."""
    many = tmp_path / "many"
    many.mkdir()
    for number in range(20):
        (many / f"file-{number}").write_bytes(bytes(number))
    (many / "directory").mkdir(mode=0o750)
    (many / "link").symlink_to("file-7")
    (many / "dangling").symlink_to("nowhere")
    (many / "circle").symlink_to("circle")
    os.mkfifo(many / "pipe")
    for name in NAMES:
        Path(os.fsdecode(bytes(many) + b"/" + name)).touch()
    return many


async def listed(files: ShellFiles, path: bytes) -> list[bytes]:
    """List a directory; return its names in the order in which they came."""
    return [one.name async for batch in files.entries(await files.resolve(path)) for one in batch]


async def told(files: ShellFiles, path: bytes, *, follow: bool) -> object:
    """Return all that is told of one file."""
    try:
        return await files.resolve(path, follow=follow)
    except FileFailure as error:
        return type(error), error.notice


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("by", ["many", "link to many"])
async def test_a_row_is_told_what_each_is_told_alone(opened: Opened, many: Path, tmp_path: Path, follow: bool, by: str) -> None:
    """Links, directories, pipes, every name, what is gone since the listing; also where the directory is reached by a link."""
    (tmp_path / "link to many").symlink_to("many")
    path = bytes(tmp_path / by)
    async with opened() as files, opened(ALONE) as alone:
        names = await listed(files, path)
        (many / "file-5").unlink()
        for name in names:
            there = path + b"/" + name
            assert await told(files, there, follow=follow) == await told(alone, there, follow=follow)


async def sizes(files: ShellFiles, many: Path, names: list[bytes]) -> list[int]:
    """Ask for the sizes of files, one after another."""
    found = [(await files.resolve(bytes(many) + b"/" + name, follow=False)).attributes for name in names]
    return [one.size for one in found if one]


async def test_what_another_does_shows_as_soon_as_it_has_to(opened: Opened, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Not after more than the time that an answer may be old by the clock; a directory replaced by a link is another directory then."""
    many, clock = tmp_path / "many", Clock()
    for folder, size in (("many", 1), ("other", 2)):
        (tmp_path / folder).mkdir()
        for number in range(30):
            (tmp_path / folder / f"file-{number}").write_bytes(bytes(size))
    async with opened(dataclasses.replace(LIMITS, fresh=10.0), clock) as files:
        names = await listed(files, bytes(many))
        assert await sizes(files, many, names[:4]) == [1] * 4
        many.rename(tmp_path / "former")
        many.symlink_to("other")
        reads_ahead = request.node.callspec.params["opened"] in SHELLS
        assert await sizes(files, many, names[4:5]) == [1 if reads_ahead else 2]
        clock.now += 10.0
        assert await sizes(files, many, names[5:]) == [2] * 25
        assert (await files.resolve(bytes(many) + b"/" + names[-1])).path == bytes(tmp_path / "other") + b"/" + names[-1]


def large(path: bytes) -> bytes:
    """Where a larger file is."""
    return posixpath.join(posixpath.dirname(posixpath.dirname(path)), b"large")


CHANGES: dict[str, Callable[[ShellFiles, bytes], Any]] = {}


def change(act: Callable[[ShellFiles, bytes], Any]) -> Callable[[ShellFiles, bytes], Any]:
    """Make it one of those."""
    CHANGES[act.__name__] = act
    return act


@change
async def truncate(files: ShellFiles, path: bytes) -> None:
    """By its name."""
    await files.change(await files.resolve(path), AttributeChanges(size=77))


@change
async def write(files: ShellFiles, path: bytes) -> None:
    """Anew."""
    writer = await files.open_write(await files.resolve(path, new=True), WriteMode())
    await writer.write(0, bytes(77))
    await writer.close()


@change
async def append(files: ShellFiles, path: bytes) -> None:
    """In its place."""
    writer = await files.open_write(await files.resolve(path), WriteMode(create=False, truncate=False, append=True))
    await writer.write(0, bytes(76))
    await writer.close()


@change
async def rename(files: ShellFiles, path: bytes) -> None:
    """Another one takes its name."""
    await files.rename(await files.resolve(large(path), follow=False), await files.resolve(path, follow=False), replace=True)


@change
async def link(files: ShellFiles, path: bytes) -> None:
    """Another one has its name, too."""
    await files.remove(await files.resolve(path, follow=False))
    await files.link(await files.resolve(large(path)), await files.resolve(path, follow=False))


@pytest.mark.parametrize("what", list(CHANGES))
async def test_what_the_session_does_shows_at_once(opened: Opened, tmp_path: Path, what: str) -> None:
    """However it does it."""
    many = tmp_path / "many"
    many.mkdir()
    (tmp_path / "large").write_bytes(bytes(77))
    for number in range(30):
        (many / f"file-{number}").write_bytes(b"1")
    async with opened() as files:
        names = await listed(files, bytes(many))
        for at in range(4, 24, 5):
            assert await sizes(files, many, names[at - 4 : at]) == [1] * 4
            (tmp_path / "large").write_bytes(bytes(77))
            await CHANGES[what](files, bytes(many) + b"/" + names[at])
            assert await sizes(files, many, names[at : at + 1]) == [77]


async def test_a_rule_decides_on_each(opened: Opened, many: Path, tmp_path: Path) -> None:
    """Whether it was read ahead or not: what its paths leave out is refused and on the trail, each by itself."""
    trail: list[str] = []

    async def record(event: str, key: str, data: dict[str, Any]) -> None:
        trail.append(f"{event} {data['path']}")

    copies = FileCopies(tmp_path, "session", 0, clock=Clock(), threads=DiskThreads(1, "copies"), timeout=1.0)
    rights = FileRights(download=True, upload=False, paths=(f"{many}/file-1*",))
    async with opened() as files:
        access = FileAccess(files, rights, FileTrail(record), copies)
        names = await listed(files, bytes(many))
        plain = [name for name in names if name.startswith(b"file-")]
        told = {name: await size(access, bytes(many) + b"/" + name) for name in names}
    allowed = {b"file-%d" % number: number for number in (1, *range(10, 20))}
    assert {name: told[name] for name in plain} == dict.fromkeys(plain) | allowed
    assert len([line for line in trail if line.startswith("file.denied")]) == len(names) - len(allowed)


async def size(access: FileAccess, path: bytes) -> int | None:
    """Return a file's size, None where it may not be looked at."""
    try:
        found: FileAttributes = await access.stat(path, follow=False)
    except FileForbidden:
        return None
    return found.size
