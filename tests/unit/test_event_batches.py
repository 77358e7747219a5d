"""Events that go to the control plane together: in their order, within limits, and each told what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from octopus.core.errors import AuditUnavailable, BadUpstream, ControlUnavailable, InvalidRequest, OctopusError
from octopus.core.types import AuditEvent
from octopus.session.event_batches import EventBatches
from tests.streams import until

HOUR = 3600.0


class Trail:
    """Takes calls, one after the other, each once it is let through (``free``: at once); keeps what each brought."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.under_way = self.most_under_way = 0
        self.free = False
        self.failure: OctopusError | None = None
        self.refused: dict[str, OctopusError] = {}
        self.short = 0
        self._through = asyncio.Semaphore(0)

    async def post(self, events: tuple[AuditEvent, ...]) -> Sequence[OctopusError | None]:
        """Take events; fail, refuse some or answer too little where that is asked for."""
        self.calls.append([event.key for event in events])
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        if not self.free:
            await self._through.acquire()
        self.under_way -= 1
        if self.failure:
            raise self.failure
        return [self.refused.get(event.key) for event in events][self.short :]

    def let_through(self) -> None:
        """Answer the call that waits."""
        self._through.release()

    async def called(self, times: int) -> None:
        """Wait until so many calls have come."""
        await until(lambda: len(self.calls) >= times)


@asynccontextmanager
async def batches(trail: Trail, *, most: int = 256, lull: float = 0.0, pause: float = HOUR) -> AsyncIterator[EventBatches]:
    """Give batches that go to ``trail``; on leaving, what was handed over has its answer."""
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        yield EventBatches(trail.post, tasks, most=most, lull=lull, pause=pause)


def recorded(here: EventBatches, *keys: str) -> list[asyncio.Task[None]]:
    """Hand over events in this order."""
    return [asyncio.create_task(here.record(AuditEvent(event="file.listed", key=key))) for key in keys]


async def test_what_comes_meanwhile_goes_together_in_its_order() -> None:
    """One call at a time, and nobody is told before theirs has its answer."""
    trail = Trail()
    async with batches(trail) as here:
        first = recorded(here, "a")
        await trail.called(1)
        others = recorded(here, "b", "c", "d")
        await asyncio.sleep(0)
        assert (trail.calls, any(task.done() for task in [*first, *others])) == ([["a"]], False)
        trail.let_through()
        await asyncio.gather(*first)
        await trail.called(2)
        assert not any(task.done() for task in others)
        trail.let_through()
        await asyncio.gather(*others)
    assert (trail.calls, trail.most_under_way) == ([["a"], ["b", "c", "d"]], 1)


async def test_a_call_has_its_limit() -> None:
    """What is more goes with the next ones, in order still."""
    trail = Trail()
    async with batches(trail, most=2) as here:
        tasks = recorded(here, "a")
        await trail.called(1)
        tasks += recorded(here, "b", "c", "d", "e", "f")
        await asyncio.sleep(0)
        trail.free = True
        trail.let_through()
        await asyncio.gather(*tasks)
    assert trail.calls == [["a"], ["b", "c"], ["d", "e"], ["f"]]


async def test_a_call_waits_for_those_behind_it_and_no_longer_than_it_may() -> None:
    """It begins in a lull, however long it might wait; without a lull when its time is over."""
    for lull, pause in ((0.0, HOUR), (HOUR, 0.01)):
        trail = Trail()
        trail.free = True
        async with batches(trail, lull=lull, pause=pause) as here:
            await asyncio.gather(*recorded(here, "a"))
            await asyncio.gather(*recorded(here, "b"))
        assert trail.calls == [["a"], ["b"]]


async def test_each_is_told_what_became_of_it() -> None:
    """One that is refused takes no other along; a call that fails tells all it brought, and the next one is tried."""
    trail = Trail()
    trail.free = True
    trail.refused = {"b": InvalidRequest("b")}
    async with batches(trail) as here:
        await asyncio.gather(*recorded(here, "-"))
        told = await asyncio.gather(*recorded(here, "a", "b", "c"), return_exceptions=True)
        assert told == [None, trail.refused["b"], None]
        for failure in (ControlUnavailable("away"), AuditUnavailable("full")):
            trail.failure = failure
            assert await asyncio.gather(*recorded(here, "d", "e"), return_exceptions=True) == [failure, failure]
        trail.failure = None
        assert await asyncio.gather(*recorded(here, "f")) == [None]
    assert [key for call in trail.calls for key in call] == ["-", "a", "b", "c", "d", "e", "d", "e", "f"]


async def test_an_answer_too_few_is_no_answer() -> None:
    """Of none it is known then that it is durable."""
    trail = Trail()
    trail.free, trail.short = True, 1
    async with batches(trail) as here:
        with pytest.raises(BadUpstream, match="not an answer to each event"):
            await here.record(AuditEvent(event="file.listed", key="a"))


async def test_who_leaves_holds_up_nobody() -> None:
    """What they handed over goes on all the same, and the others hear of theirs."""
    trail = Trail()
    async with batches(trail) as here:
        first = recorded(here, "a")
        await trail.called(1)
        gone, stays = recorded(here, "b", "c")
        await asyncio.sleep(0)
        gone.cancel()
        first[0].cancel()
        trail.free = True
        trail.let_through()
        await stays
    assert trail.calls == [["a"], ["b", "c"]]


async def test_it_closes_with_everything_handed_over() -> None:
    """Whoever leaves its tasks leaves nothing behind."""
    trail = Trail()
    trail.free = True
    async with batches(trail) as here:
        tasks = recorded(here, "a", "b")
        await asyncio.sleep(0)
    assert await asyncio.gather(*tasks) == [None, None]
    assert trail.calls == [["a", "b"]]
