"""Figures worked out by a real child process, as in the parent; nobody waits for one that hangs or dies."""

from __future__ import annotations

import asyncio

import pytest

from octopus.core.errors import InvalidDocument, NoSuchTarget, OrchestratorUnavailable
from octopus.fleet.report import coverages, report, unique_lines
from octopus.fleet.seen import Moment, Seen
from octopus.fleet.simulation import Question, answer
from octopus.fleet.working import STALE, ReportQuestion, reported, simulated
from tests.unit.test_forecast import cluster


async def test_what_the_child_says_is_what_we_would() -> None:
    """A report and a simulation of 2500 agents, which go in several parts."""
    known = cluster(agents=2500)
    seen = Seen(known)
    found = await reported(known, ReportQuestion(now=1e9))
    assert found.sums == report(seen).sums
    assert found.unique == unique_lines(coverages(seen, 1e9))
    assert await simulated(known, Question(id="/a", more=5)) == answer(seen, Question(id="/a", more=5))


async def test_a_state_that_is_not_sound_is_said() -> None:
    """While a source does not answer, what is told is of before."""
    found = await simulated(cluster(), Question(id="/a", more=1), sound=False)
    assert (found.complete, found.notes) == (False, (STALE,))
    assert found.outcomes[0].placement.least == 1


async def test_faults_come_back_as_they_are() -> None:
    """A wrong document, a name nobody has."""
    with pytest.raises(InvalidDocument, match=r"/mem: error\.expected\.jsnumber"):
        await simulated(Moment(), Question(document=b'{"id": "/a", "mem": "1"}'))
    with pytest.raises(NoSuchTarget, match="no app"):
        await simulated(Moment(), Question(id="/a"))


async def test_a_child_that_takes_too_long_is_ended() -> None:
    """Nothing of it is left, and it is said."""
    with pytest.raises(OrchestratorUnavailable, match="within"):
        await simulated(cluster(agents=2000), Question(id="/a"), patience=0.01)


async def test_who_asks_may_leave() -> None:
    """The child is ended with the task that waits for it."""
    asking = asyncio.create_task(reported(cluster(agents=2000), ReportQuestion(now=1e9)))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_failover_that_begins_meanwhile_is_seen() -> None:
    """Agents awaited by the time the state was taken make it incomplete."""
    known = cluster(agents=3000)
    found = asyncio.create_task(reported(known, ReportQuestion(now=1e9)))
    await asyncio.sleep(0)
    known.awaited.add("S1")
    assert (await found).complete is False
