"""Equal requests at the same time."""

from __future__ import annotations

import asyncio

import pytest

from octopus.core.errors import NoSuchTarget
from octopus.identity.single_flight import SingleFlight


async def test_who_comes_meanwhile_gets_the_same_result() -> None:
    """Ten equal requests are one piece of work; another key is another; nothing is kept afterwards."""
    flights, gate, done = SingleFlight[int](), asyncio.Event(), []

    async def work() -> int:
        await gate.wait()
        done.append(1)
        return len(done)

    async with asyncio.TaskGroup() as tasks:
        same = [tasks.create_task(flights.run("a", work)) for _ in range(10)]
        other = tasks.create_task(flights.run("b", work))
        await asyncio.sleep(0)
        gate.set()
    assert {task.result() for task in same} == {1}
    assert other.result() == 2
    assert await flights.run("a", work) == 3


async def test_who_comes_meanwhile_gets_the_same_error_of_ours() -> None:
    """A refusal is shared as a result is."""
    flights, gate, asked = SingleFlight[int](), asyncio.Event(), []

    async def work() -> int:
        asked.append(1)
        await gate.wait()
        raise NoSuchTarget("nobody here")

    waiting = [asyncio.create_task(flights.run("a", work)) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.wait(waiting)
    assert [type(task.exception()) for task in waiting] == [NoSuchTarget] * 3
    assert asked == [1]


async def test_when_the_first_is_cancelled_the_next_does_the_work() -> None:
    """Nobody is left waiting for one who has gone."""
    flights, gate, started = SingleFlight[int](), asyncio.Event(), []

    async def work() -> int:
        started.append(1)
        await gate.wait()
        return 7

    first = asyncio.create_task(flights.run("a", work))
    second = asyncio.create_task(flights.run("a", work))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.set()
    assert await second == 7
    assert started == [1, 1]
