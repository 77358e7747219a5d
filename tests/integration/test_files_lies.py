"""A container whose tools lie: what they say is wrong, told as an engine's failure or cut to size, and costs no more than that."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from octopus.core.errors import ContainerUnavailable
from octopus.core.files import FileUnsupported, WriteMode
from octopus.engine.file_shells import FileShells
from octopus.engine.limits import FileLimits
from octopus.engine.shell_files import ShellFiles, open_shell_files
from octopus.session import sftp_wire as wire
from tests.integration.test_files_script import piped


@asynccontextmanager
async def lied_to(tmp_path: Path, **lies: str) -> AsyncIterator[FileShells]:
    """Give helpers in which these words are done by these scripts; ``$real`` is a path without them."""
    where = tmp_path / "lies"
    where.mkdir()
    for word, script in lies.items():
        (where / word).write_text(f"#!/bin/sh\nreal=/usr/bin:/bin\n{script}\n")
        (where / word).chmod(0o755)
    environment = {**os.environ, "PATH": f"{where}:{os.environ['PATH']}"}
    limits = FileLimits()
    shells = FileShells(partial(piped, ["dash"], environment, tmp_path, limits), limits.shells)
    try:
        yield shells
    finally:
        await shells.aclose()


async def files_of(shells: FileShells) -> ShellFiles:
    """Open the files."""
    files = await open_shell_files(shells, "c0ffee", "here", FileLimits())
    assert isinstance(files, ShellFiles), files
    return files


NUMBER = "9" * 20


async def test_numbers_that_no_file_has_are_cut(tmp_path: Path) -> None:
    """A size of more than 64 bits, a mode of all bits: the client gets what can be said."""
    async with lied_to(tmp_path, stat=f"echo ffffffff {NUMBER} 9999999999 9999999999 {NUMBER} {NUMBER} {NUMBER}") as shells:
        files = await files_of(shells)
        place = await files.resolve(b"lies")
        assert place.attributes is not None
        assert len(wire.attributes(place.attributes)) == 32
        await files.aclose()


@pytest.mark.parametrize("numbers", ["9" * 5000 + " 1 1 1 1 1", "1 1 1"])
async def test_space_that_no_file_system_has_is_not_told(tmp_path: Path, numbers: str) -> None:
    """Numbers of thousands of digits are none."""
    async with lied_to(tmp_path, stat=f'case $1 in -f) echo {numbers} ;; *) PATH=$real exec stat "$@" ;; esac') as shells:
        files = await files_of(shells)
        with pytest.raises(FileUnsupported):
            await files.space(await files.resolve(b"."))
        await files.aclose()


async def test_space_of_more_than_64_bits_is_cut(tmp_path: Path) -> None:
    """The client gets what can be said."""
    async with lied_to(tmp_path, stat=f'case $1 in -f) echo {NUMBER} 1 1 1 1 1 ;; *) PATH=$real exec stat "$@" ;; esac') as shells:
        files = await files_of(shells)
        assert len(wire.space(await files.space(await files.resolve(b".")))) == 88
        await files.aclose()


async def test_a_new_file_of_which_nothing_is_told(tmp_path: Path) -> None:
    """It is an engine's failure, and nothing is emptied in its place."""
    (tmp_path / "file").write_text("content")
    lie = 'case $* in *%X*./file) [ -e "$0-now" ] || PATH=$real exec stat "$@" ;; *) PATH=$real exec stat "$@" ;; esac'
    async with lied_to(tmp_path, stat=lie) as shells:
        files = await files_of(shells)
        place = await files.resolve(b"file")
        (tmp_path / "lies" / "stat-now").touch()
        with pytest.raises(ContainerUnavailable):
            await files.open_write(place, WriteMode())
        await files.aclose()
    assert (tmp_path / "file").read_text() == "content"


@pytest.mark.parametrize("said", ["", "9 \n/home\n", "0022\nhome\n"])
async def test_a_shell_that_says_nothing_of_use_is_an_engines_failure(tmp_path: Path, said: str) -> None:
    """No umask, or no directory to start in."""

    class Saying:
        """What is needed of the helpers here."""

        async def call(self, op: str) -> bytes:
            """Say it."""
            return said.encode()

    with pytest.raises(ContainerUnavailable):
        await open_shell_files(Saying(), "c0ffee", "here", FileLimits())  # type: ignore[arg-type]
