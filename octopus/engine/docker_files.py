"""The files of containers of Docker engines: by a helper shell where the image has one, else by the archive API alone."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from octopus.core.files import FileFailure, FileUnsupported
from octopus.core.ports import ContainerFiles
from octopus.core.types import ExecSpec
from octopus.engine.archive import Archive
from octopus.engine.archive_files import ArchiveFiles
from octopus.engine.engines import Engine
from octopus.engine.file_rights import rights
from octopus.engine.file_shell import file_shell
from octopus.engine.file_shells import FileShells
from octopus.engine.limits import FileLimits
from octopus.engine.reaper import Place, Reaper
from octopus.engine.shell_files import ShellFiles, open_shell_files
from octopus.engine.tar_stream import TarEntry
from octopus.engine.wire import Container

NO_SHELL = FileUnsupported.default_notice
MAX_ACCOUNTS = 4 * 1024 * 1024


@asynccontextmanager
async def shell_files(
    engine: Engine, container: Container, shell: str, spec: ExecSpec, reaper: Reaper, limits: FileLimits
) -> AsyncIterator[ShellFiles | str]:
    """Give the files of a container with a shell, or why that shell is not enough; leave no helper behind."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    shells = FileShells(partial(file_shell, engine, container.id, shell, spec, limits), limits.shells, limits.streams)
    try:
        files = await open_shell_files(shells, container.id, engine.agent, limits)
        try:
            yield files
        finally:
            if isinstance(files, ShellFiles):
                await files.aclose()
    finally:
        await shells.aclose()
        await reaper.end(Place(engine, container.id, spec.user, shell), spec.token, loop.time() - begun)


@asynccontextmanager
async def archive_files(engine: Engine, container: Container, user: str, limits: FileLimits, why: str) -> AsyncIterator[ArchiveFiles]:
    """Give the files of a container without a shell; ``why`` says what stands in the way of more."""
    archive = Archive(engine, container.id, seconds=limits.call, size=limits.read)
    passwd, group = [await _text(archive, path) for path in (b"/etc/passwd", b"/etc/group")]
    mounts = [*(container.host_config.tmpfs or ()), *(mount.destination for mount in container.mounts or () if mount.type == "tmpfs")]
    files = ArchiveFiles(
        archive,
        container.id,
        (container.config.working_dir or "/").encode(),
        rights(user or container.config.user, passwd, group),
        tuple(posixpath.normpath(mount.encode()) for mount in mounts),
        limits,
        why,
    )
    try:
        yield files
    finally:
        await files.aclose()


@asynccontextmanager
async def container_files(
    engine: Engine, container: Container, shell: str, spec: ExecSpec, reaper: Reaper, limits: FileLimits
) -> AsyncIterator[ContainerFiles]:
    """Give the files of a container: by its shell ("": there is none) where that is enough, else by the archive API."""
    why = NO_SHELL
    if shell:
        async with shell_files(engine, container, shell, spec, reaper, limits) as files:
            if isinstance(files, ShellFiles):
                yield files
                return
            why = f"{files}, and it cannot be done without"
    async with archive_files(engine, container, spec.user, limits, why) as others:
        yield others


async def _text(archive: Archive, path: bytes) -> str:
    """Return a small file's text, "" when there is none."""
    with suppress(FileFailure):
        async with archive.get(path) as found:
            header, parts = await anext(found, None), []
            if isinstance(header, TarEntry) and header.size <= MAX_ACCOUNTS:
                async for one in found:
                    if isinstance(one, bytes):
                        parts.append(one)
                return b"".join(parts).decode("utf-8", "replace")
    return ""
