"""Work on a disk that may hang: in threads, so that it holds up nobody who does not write there, and bounded in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from octopus.core.errors import RecordingUnavailable

_T = TypeVar("_T")


class DiskThreads:
    """Threads that take steps in their order, each whole. An executor of the standard library takes half as long again, which
    whoever types would feel; and these do not hold up the end of the process when a disk hangs."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._steps: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._started = False

    def put(self, step: Callable[[], object]) -> None:
        """Have a step taken soon; it must not raise."""
        if not self._started:
            self._started = True
            for number in range(self._count):
                threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True).start()
        self._steps.put(step)

    def close(self) -> None:
        """Let the threads end after the steps that are waiting."""
        for _ in range(self._count):
            self._steps.put(None)

    def _run(self) -> None:
        while (step := self._steps.get()) is not None:
            step()


class _Step:
    """One call in a thread, and word of its end in the event loop."""

    def __init__(self, act: Callable[..., Any], args: tuple[object, ...]) -> None:
        self.result: Any = None
        self.failure: BaseException | None = None
        self.over = False
        self._act = act
        self._args = args
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bool] | None = None

    def take(self) -> None:
        """Make the call; in a thread."""
        try:
            self.result = self._act(*self._args)
        except BaseException as error:  # whatever it is, the caller is told
            self.failure = error
        self.over = True
        if self._waiter is not None:
            with suppress(RuntimeError):  # the event loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._tell, True)

    async def wait(self, seconds: float) -> None:
        """Return once it is over; raise TimeoutError. It goes on whatever becomes of the caller."""
        self._waiter = self._loop.create_future()
        if self.over:  # looked at after there is somebody to tell: the thread does it the other way round
            return
        timer = self._loop.call_later(seconds, self._tell, False)
        try:
            if not await self._waiter:
                raise TimeoutError
        finally:
            timer.cancel()

    def _tell(self, over: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(over)


class Disk:
    """One record's work: one step after another, each within ``timeout`` seconds. Once one has failed there are no more."""

    def __init__(self, name: str, threads: DiskThreads, timeout: float) -> None:
        self.failure = ""
        """Why a step failed, "" as long as none has."""
        self._name = name
        self._threads = threads
        self._timeout = timeout
        self._last: _Step | None = None

    @property
    def failed(self) -> bool:
        """Whether a step has failed, though nobody may have been told yet."""
        return bool(self.failure) or (self._last is not None and self._last.failure is not None)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and all so far went well."""
        return not self.failed and (self._last is None or self._last.over)

    async def run(self, act: Callable[..., _T], *args: object) -> _T:
        """Do a step and return what it does. One that is under way still, of ``later`` or of a caller that was cancelled, is
        waited for, and its failure is this one's. Raise RecordingUnavailable."""
        await self.settled()
        with self._failing():
            self._last = step = _Step(act, args)
            self._threads.put(step.take)
            await self._settled(step)
        result: _T = step.result
        return result

    async def settled(self) -> None:
        """Return once nothing is under way; the next step is then begun at once. Raise RecordingUnavailable where the last one failed."""
        if self.failure:
            raise RecordingUnavailable(self.failure)
        with self._failing():
            seen = None
            while (last := self._last) is not seen and last is not None:  # another may begin while this one is waited for
                seen = last
                await self._settled(last)

    def later(self, act: Callable[..., object], *args: object) -> None:
        """Begin a step and wait for nothing; while it is ``idle``. The next step tells of its failure."""
        self._last = step = _Step(act, args)
        self._threads.put(step.take)

    async def _settled(self, step: _Step) -> None:
        await step.wait(self._timeout)
        if step.failure is not None:
            raise step.failure

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, TimeoutError) as error:
            self.failure = f"recording {self._name}: {str(error) or 'timed out'}"
            raise RecordingUnavailable(self.failure) from error

    def give_up(self, act: Callable[[], object]) -> None:
        """Do a last step that nobody waits for, after a failure."""

        def last() -> None:
            with suppress(OSError):
                act()

        self._threads.put(last)
