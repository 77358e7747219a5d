"""Large answers are decoded in a child process, with the same result, and nothing is left of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from octopus.core.errors import BadUpstream, OrchestratorUnavailable
from octopus.core.mesos_events import decode_subscribed
from octopus.core.mesos_state import decode_state
from octopus.feeds.snapshots import read_snapshot
from tests.wire_data import mesos

LARGE = mesos("master-state-0.22.0-large.json")


async def _pieces(body: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]
        await asyncio.sleep(0)


def _children() -> int:
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        return len(children.read().split())


@pytest.mark.parametrize(("kind", "body"), [("state", LARGE), ("subscribed", mesos("subscribe-hello-world.jsonl").splitlines()[0])])
async def test_the_child_and_the_loop_read_the_same(kind: str, body: bytes) -> None:
    """Inline, in a child, and by the decoder itself: equal snapshots."""
    decode = decode_state if kind == "state" else decode_subscribed
    before = _children()
    inline = await read_snapshot(kind, _pieces(body), "test", inline=10_000_000)
    apart = await read_snapshot(kind, _pieces(body, 1000), "test", inline=2000)
    assert inline == apart == decode(body)
    assert _children() == before


async def test_what_the_child_refuses_is_bad_upstream() -> None:
    """Half a document is found out there, and the reason comes back in words."""
    with pytest.raises(BadUpstream, match="not the JSON expected"):
        await read_snapshot("state", _pieces(LARGE[:-1000]), "test", inline=1000)


@pytest.mark.parametrize("body", [b"<html>" + b"x" * 5000, b" \n [1]" + b" " * 5000, b"\x00" * 5000])
async def test_what_does_not_begin_like_json_is_refused_at_once(body: bytes) -> None:
    """Without reading on and without a child."""
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        for at in range(0, len(body), 100):
            taken += 1
            yield body[at : at + 100]

    with pytest.raises(BadUpstream, match="not JSON"):
        await read_snapshot("state", pieces(), "test", inline=1000)
    assert taken == 1


async def test_an_error_of_the_source_comes_through_and_the_child_is_ended() -> None:
    """A stream that breaks in the middle leaves no process behind."""

    async def breaking() -> AsyncIterator[bytes]:
        async for piece in _pieces(LARGE[:500_000]):
            yield piece
        raise BadUpstream("there", "half an answer")

    before = _children()
    with pytest.raises(BadUpstream, match="half an answer"):
        await read_snapshot("state", breaking(), "test", inline=1000)
    assert _children() == before


async def test_a_cancelled_reading_ends_the_child() -> None:
    """Also when whoever asked does not want it any more."""
    begun = asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield LARGE[:5000]
        begun.set()
        await asyncio.Event().wait()

    before = _children()
    task = asyncio.create_task(read_snapshot("state", hanging(), "test", inline=1000))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _children() == before


async def test_a_child_that_cannot_decode_the_kind_is_unavailable() -> None:
    """Its death is an error of ours, not a hang."""
    with pytest.raises(OrchestratorUnavailable):
        await read_snapshot("nonsense", _pieces(LARGE), "test", inline=1000)
