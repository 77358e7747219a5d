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
    """Gives the helper with the least to do. ``open_shell`` starts one, ``most`` is how many there may be.

    Besides there are up to ``streams`` of which each is given away, for one file.
    """

    def __init__(self, open_shell: Callable[[], AbstractAsyncContextManager[FileShell]], most: int, streams: int = 2) -> None:
        self._open_shell = open_shell
        self._most = most
        self._streams = streams
        self._starting_streams = 0
        self._given: dict[FileShell, AsyncExitStack] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._shells: list[FileShell] = []
        self._stack = AsyncExitStack()
        self._starting = asyncio.Lock()
        self._failure: OctopusError | None = None
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

    async def begin(self, op: str, words: Sequence[bytes], path: bytes, *, mark: bytes) -> tuple[bytes, asyncio.Future[bytes]]:
        """Begin one that answers in two parts with any helper. See ``FileShell.begin``."""
        return await (await self.get()).begin(op, words, path, mark=mark)

    async def give(self) -> FileShell | None:
        """Start a helper that the caller has alone, until ``take_back``; None where there are enough, or none can be had."""
        if self._starting_streams + len(self._given) >= self._streams:
            return None
        self._starting_streams += 1
        stack = AsyncExitStack()
        try:
            shell = await stack.enter_async_context(self._open_shell())
        except OctopusError as error:
            log.info("files.helper.failed", error=str(error))
            return None
        finally:
            self._starting_streams -= 1
        self._given[shell] = stack
        return shell

    def take_back(self, shell: FileShell) -> None:
        """See to it that a helper that was given away ends."""
        task = asyncio.get_running_loop().create_task(self._given.pop(shell).aclose(), name="files helper leaves")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def aclose(self) -> None:
        """End all helpers."""
        for shell in list(self._given):
            self.take_back(shell)
        if self._leaving:
            await asyncio.wait(self._leaving)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._stack.aclose()

    async def _start(self) -> None:
        async with self._starting:
            if self._failure:
                raise self._failure
            try:
                if not self._shells:
                    await self._enter()
            except OctopusError as error:  # who comes later, with a file to give up, need not wait for the same
                self._failure = error
                raise

    async def _start_another(self) -> None:
        try:
            await self._enter()
        except OctopusError as error:
            log.info("files.helper.failed", error=str(error))

    async def _enter(self) -> None:
        self._shells.append(await self._stack.enter_async_context(self._open_shell()))
