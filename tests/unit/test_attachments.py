"""Commands reach the worker they are for, by its latest stream."""

from __future__ import annotations

import asyncio

from octopus.control.attachments import Attachments
from octopus.control.plane import Attached, KillSession, StopWorker

KILL = KillSession(session="s-1", reason="asked")
STOP = StopWorker(reason="stopping")


async def test_a_command_waits_for_its_reader() -> None:
    """What was sent between two reads is there, in order."""
    attachments = Attachments()
    commands = attachments.commands("w-1")
    assert await anext(commands) == Attached()
    assert attachments.send("w-1", KILL)
    assert not attachments.send("w-2", KILL)
    attachments.stop_all(STOP)
    assert [await anext(commands), await anext(commands)] == [KILL, STOP]


async def test_the_latest_stream_is_the_one() -> None:
    """A worker that attaches again gets its commands there; its older stream ends."""
    attachments = Attachments()
    older, newer = attachments.commands("w-1"), attachments.commands("w-1")
    await anext(older)
    await anext(newer)
    assert attachments.send("w-1", KILL)
    assert await anext(older, None) is None
    assert await anext(newer) == KILL
    assert attachments.send("w-1", KILL)


async def test_a_worker_that_attaches_late_is_stopped_too() -> None:
    """A stop holds for all that come after it."""
    attachments = Attachments()
    attachments.stop_all(STOP)
    commands = attachments.commands("w-1", (KILL,))
    assert [await anext(commands) for _ in range(3)] == [Attached(), KILL, STOP]


async def test_what_may_wait_is_bounded() -> None:
    """A worker that does not read gets no more, and its sender knows."""
    attachments = Attachments(max_commands=1)
    commands = attachments.commands("w-1")
    await anext(commands)
    assert attachments.send("w-1", KILL)
    assert not attachments.send("w-1", KILL)


async def test_close_ends_every_stream() -> None:
    """Also one whose reader waits, and one that is full."""
    attachments = Attachments(max_commands=1)
    waiting, full = attachments.commands("w-1"), attachments.commands("w-2")
    await anext(waiting)
    await anext(full)
    attachments.send("w-2", KILL)
    reading = asyncio.create_task(anext(waiting, None))
    await asyncio.sleep(0)
    attachments.close()
    assert await reading is None
    assert await anext(full) == KILL
    assert await anext(full, None) is None
