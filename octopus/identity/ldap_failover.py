"""Which of several LDAP servers is asked, and in which thread: a bounded pool that no hung server can hold for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable
from octopus.identity.unsettled import PasswordUnsettled

S = TypeVar("S")
T = TypeVar("T")


class ServerOrder(Generic[S]):
    """Servers in the order to ask them: as configured, but those that failed lately last."""

    def __init__(self, servers: Sequence[S], *, retry_after: float, clock: Callable[[], float]) -> None:
        self._servers = tuple(servers)
        self._retry_after = retry_after
        self._clock = clock
        self._failed_until = [0.0] * len(self._servers)

    def now(self) -> tuple[S, ...]:
        """Return all of them, the one to ask first first."""
        now = self._clock()
        order = sorted(range(len(self._servers)), key=lambda n: (self._failed_until[n] > now, n))
        return tuple(self._servers[n] for n in order)

    def failed(self, server: S) -> None:
        """Ask this one last for a while."""
        self._failed_until[self._servers.index(server)] = self._clock() + self._retry_after

    def answered(self, server: S) -> None:
        """Ask this one in its turn again."""
        self._failed_until[self._servers.index(server)] = 0.0


class Failover(Generic[S]):
    """Runs blocking questions against the first server that answers.

    A question must end by itself ``within`` seconds of its start; it may wait as long for a thread, and each server gets the time
    anew. At most ``max_waiting`` questions wait or are under way; ``aclose`` ends the threads.
    """

    def __init__(
        self,
        servers: Sequence[S],
        *,
        retry_after: float = 30.0,
        threads: int = 8,
        max_waiting: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not servers:
            raise ValueError("at least one server is needed")
        self._order = ServerOrder(servers, retry_after=retry_after, clock=clock)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="ldap")
        self._free = asyncio.Semaphore(threads)
        self._max_waiting = max_waiting
        self._waiting = 0

    async def ask(self, question: Callable[[S], T], *, within: float) -> T:
        """Return the first answer. Raise AuthenticationFailed as the server that was asked did; DirectoryUnavailable."""
        failures: list[DirectoryUnavailable] = []
        for server in self._order.now():
            try:
                answer = await self.ask_one(server, question, within=within)
            # After these two no other server is asked: each bind with a wrong password counts towards locking the account.
            except AuthenticationFailed:
                self._order.answered(server)
                raise
            except PasswordUnsettled:
                self._order.failed(server)
                raise
            except DirectoryUnavailable as error:
                self._order.failed(server)
                failures.append(error)
            else:
                self._order.answered(server)
                return answer
        raise DirectoryUnavailable("; ".join(map(str, failures))) from failures[-1]

    async def ask_one(self, server: S, question: Callable[[S], T], *, within: float) -> T:
        """Return one server's answer. Raise what the question raises; DirectoryUnavailable when no thread is free in time."""
        if self._waiting >= self._max_waiting:
            raise DirectoryUnavailable(f"{self._waiting} questions are waiting for the directory")
        self._waiting += 1
        try:
            async with self._thread(within):
                return await asyncio.get_running_loop().run_in_executor(self._pool, question, server)
        finally:
            self._waiting -= 1

    @asynccontextmanager
    async def _thread(self, within: float) -> AsyncIterator[None]:
        """Wait for a free thread, but not while it works: only the question knows whether a password is on its way."""
        try:
            async with asyncio.timeout(within):
                await self._free.acquire()
        except TimeoutError as error:
            raise DirectoryUnavailable(f"no thread was free within {within:g} s") from error
        try:
            yield
        finally:
            self._free.release()

    async def aclose(self) -> None:
        """Start no more questions; those under way end at their own deadline."""
        self._pool.shutdown(wait=False, cancel_futures=True)
