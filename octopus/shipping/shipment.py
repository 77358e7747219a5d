"""One way off the machine, in a thread of its own: it waits out every outage, and nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

import structlog

from octopus.core.errors import ShippingUnavailable

_log = structlog.get_logger(__name__)


class Shipper(Protocol):
    """Ships by steps. Blocking, for one thread."""

    def step(self, stopping: threading.Event) -> bool:
        """Ship a little, or stop soon when told to; False when there is nothing. Raise ShippingUnavailable, OSError."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...

    def waiting(self) -> int:
        """Return how many bytes of the trail were not shipped yet. Raise OSError."""
        ...


class Shipment:
    """Looks for something to ship every ``interval`` seconds; after a failure it waits twice as long each time, up to ``max_wait``.

    ``problem`` says what is wrong, "" when all is well.
    """

    def __init__(self, name: str, shipper: Shipper, *, interval: float = 1.0, max_wait: float = 60.0, patience: float = 5.0) -> None:
        self.name = name
        self.problem = ""
        self._shipper = shipper
        self._interval = interval
        self._max_wait = max_wait
        self._patience = patience
        self._stopping = threading.Event()

    async def run(self) -> None:
        """Ship until cancelled; then what is under way gets ``patience`` seconds to be left in good order."""
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        # A daemon: a peer that hangs must not keep the process from ending.
        thread = threading.Thread(target=self._work, args=(loop, over), name=f"shipping-{self.name}", daemon=True)
        thread.start()
        try:
            await over.wait()
        finally:
            self._stopping.set()
            try:
                async with asyncio.timeout(self._patience):
                    await over.wait()
            except TimeoutError:
                _log.warning("shipping did not stop in time", to=self.name)

    def waiting(self) -> int:
        """Return how many bytes of the trail were not shipped yet. Raise OSError."""
        return self._shipper.waiting()

    def _work(self, loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
        try:
            self._ship()
            self._try(self._shipper.close)
        finally:
            try:
                loop.call_soon_threadsafe(over.set)
            except RuntimeError:
                return  # Nobody waits any more.

    def _ship(self) -> None:
        wait, failures = 0.0, 0
        while not self._stopping.wait(wait):
            more = self._try(lambda: self._shipper.step(self._stopping))
            failures = failures + 1 if self.problem else 0
            wait = min(self._interval * 2 ** min(failures, 16), self._max_wait) if failures else 0.0 if more else self._interval

    def _try(self, act: Callable[[], bool | None]) -> bool:
        before = self.problem
        try:
            more = act()
        except (ShippingUnavailable, OSError) as error:
            self.problem = str(error)
            if not before:
                _log.warning("shipping waits", to=self.name, error=self.problem)
            return False
        except Exception:
            self.problem = "internal error"
            _log.exception("bug while shipping", to=self.name)
            return False
        self.problem = ""
        if before and not self._stopping.is_set():  # else it was only the closing that went well
            _log.info("shipping goes on", to=self.name)
        return bool(more)
