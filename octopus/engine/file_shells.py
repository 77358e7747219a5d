"""The helper shells of one file session: the first does nearly everything, more are started while all are busy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import structlog

from octopus.core.errors import OctopusError
from octopus.engine.file_shell import FileShell

log = structlog.get_logger()


class FileShells:
    """Gives the helper with the least to do. ``open_shell`` starts one, ``most`` is how many there may be."""

    def __init__(self, open_shell: Callable[[], AbstractAsyncContextManager[FileShell]], most: int) -> None:
        self._open_shell = open_shell
        self._most = most
        self._shells: list[FileShell] = []
        self._stack = AsyncExitStack()
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def get(self) -> FileShell:
        """Return a helper; while all are busy another is started for those who come later. Raise ContainerUnavailable."""
        self._shells = [shell for shell in self._shells if not shell.gone]
        if not self._shells:
            await self._start()
        best = min(self._shells, key=lambda shell: shell.waiting)
        if best.waiting and len(self._shells) < self._most and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._start_another(), name="files helper")
        return best

    async def call(self, op: str, *arguments: bytes, data: bytes = b"", mark: bytes = b"") -> bytes:
        """Do one operation with any helper. See ``FileShell.call``."""
        return await (await self.get()).call(op, *arguments, data=data, mark=mark)

    async def quick(self, op: str, words: Sequence[bytes], path: bytes, *, mark: bytes) -> bytes:
        """Do one of the quick operations with any helper. See ``FileShell.quick``."""
        return await (await self.get()).quick(op, words, path, mark=mark)

    async def begin(self, op: str, words: Sequence[bytes], path: bytes, *, mark: bytes) -> tuple[bytes, asyncio.Task[bytes]]:
        """Begin one that answers in two parts with any helper. See ``FileShell.begin``."""
        return await (await self.get()).begin(op, words, path, mark=mark)

    async def aclose(self) -> None:
        """End all helpers."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._stack.aclose()

    async def _start(self) -> None:
        async with self._starting:
            if not self._shells:
                await self._enter()

    async def _start_another(self) -> None:
        try:
            await self._enter()
        except OctopusError as error:
            log.info("files.helper.failed", error=str(error))

    async def _enter(self) -> None:
        self._shells.append(await self._stack.enter_async_context(self._open_shell()))
