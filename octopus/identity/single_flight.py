"""Equal requests at the same time are made once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from octopus.core.errors import OctopusError

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Lets whoever asks first do the work; those who ask meanwhile get the same result, or the same error of ours."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, asyncio.Future[T | OctopusError]] = {}

    async def run(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return what ``work`` returns. When the one who works is cancelled or fails on a bug, the next does it anew."""
        while (flight := self._flights.get(key)) is not None:
            await asyncio.wait([flight])
            if not flight.cancelled():
                return _unpacked(flight.result())
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            outcome = await _packed(work)
            flight.set_result(outcome)
        finally:
            del self._flights[key]
            flight.cancel()
        return _unpacked(outcome)


async def _packed(work: Callable[[], Awaitable[T]]) -> T | OctopusError:
    try:
        return await work()
    except OctopusError as error:
        return error


def _unpacked(outcome: T | OctopusError) -> T:
    if isinstance(outcome, OctopusError):
        raise outcome
    return outcome
