"""Work on a disk that may hang: in threads, so that it holds up nobody who does not write there, and bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from octopus.core.errors import RecordingUnavailable

_T = TypeVar("_T")


class Disk:
    """One record's work: one step after another, each within ``timeout`` seconds. Once one has failed there are no more."""

    def __init__(self, name: str, threads: ThreadPoolExecutor, timeout: float) -> None:
        self.failure = ""
        """Why a step failed, "" as long as none has."""
        self._name = name
        self._threads = threads
        self._timeout = timeout
        self._running: asyncio.Future[Any] | None = None

    async def run(self, act: Callable[..., _T], *args: object) -> _T:
        """Do a step and return what it does. The caller sees to it that no other is under way; one whose caller was cancelled
        in the middle of it is waited for. Raise RecordingUnavailable."""
        if self.failure:
            raise RecordingUnavailable(self.failure)
        try:
            async with asyncio.timeout(self._timeout):
                if self._running and not self._running.done():
                    await asyncio.wait({self._running})
                running = asyncio.get_running_loop().run_in_executor(self._threads, act, *args)
                running.add_done_callback(_seen)
                self._running = running
                return await asyncio.shield(running)
        except (OSError, TimeoutError, RuntimeError) as error:
            self.failure = f"recording {self._name}: {str(error) or 'timed out'}"
            raise RecordingUnavailable(self.failure) from error

    def give_up(self, act: Callable[[], object]) -> None:
        """Do a last step that nobody waits for, after a failure."""
        self._threads.submit(act)


def _seen(done: asyncio.Future[Any]) -> None:
    """Take note of how a step ended that nobody waits for any more."""
    if not done.cancelled():
        done.exception()
