"""The files of containers of Docker engines: by a helper shell where the image has one, else by the archive API alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from octopus.core.files import FileUnsupported
from octopus.core.ports import ContainerFiles
from octopus.core.types import ExecSpec
from octopus.engine.engines import Engine
from octopus.engine.file_shell import FileLimits, file_shell
from octopus.engine.file_shells import FileShells
from octopus.engine.reaper import Place, Reaper
from octopus.engine.shell_files import ShellFiles, open_shell_files
from octopus.engine.wire import Container


@asynccontextmanager
async def shell_files(
    engine: Engine, container: Container, shell: str, spec: ExecSpec, reaper: Reaper, limits: FileLimits
) -> AsyncIterator[ShellFiles | str]:
    """Give the files of a container with a shell, or why that shell is not enough; leave no helper behind."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    shells = FileShells(partial(file_shell, engine, container.id, shell, spec, limits), limits.shells)
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
async def container_files(
    engine: Engine, container: Container, shell: str, spec: ExecSpec, reaper: Reaper, limits: FileLimits
) -> AsyncIterator[ContainerFiles]:
    """Give the files of a container, by its shell ("": there is none) where that is enough."""
    async with shell_files(engine, container, shell, spec, reaper, limits) as files:
        if isinstance(files, str):
            raise FileUnsupported(notice=files)
        yield files
