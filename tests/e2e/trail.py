"""The audit trail as an auditor reads it: followed while the gateway writes it, and put together session by session."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.parts.tools import need

TERMINAL = frozenset({"session.denied", "session.ended", "session.failed"})
"""With one of these a session ends; it has exactly one."""

PATIENCE = 30.0
"""Seconds an event may take to be on the trail."""

Event = Mapping[str, Any]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Story:
    """One session's events, in their order."""

    events: tuple[Event, ...]

    @property
    def names(self) -> list[str]:
        """Return what happened."""
        return [event["event"] for event in self.events]

    @property
    def end(self) -> Event:
        """Return the terminal event."""
        return self.events[-1]

    @property
    def id(self) -> str:
        """Return the session."""
        return str(self.end["session"])


class Trail:
    """The lines of one ``audit.jsonl``; ``events`` grows as they are written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []
        self._grown = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[Trail]:
        """Keep ``events`` up to date meanwhile."""
        process = await asyncio.create_subprocess_exec(
            *(need("tail", "coreutils"), "--lines=+1", "--follow=name", "--retry", str(self.path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=1 << 20,
        )
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(self._read(process))
            try:
                yield self
            finally:
                process.terminate()
                await process.wait()
                await reader

    async def until(self, find: Callable[[Sequence[Event]], Found | None], since: int = 0) -> Found:
        """Return what ``find`` finds in the events after the first ``since``, once it finds something."""
        try:
            async with asyncio.timeout(PATIENCE), self._grown:
                while (found := find(self.events[since:])) is None:
                    await self._grown.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"not on the trail: {[event['event'] for event in self.events[since:]]}") from None

    def from_now(self) -> Chapter:
        """Return what is to come."""
        return Chapter(self, len(self.events))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            async with self._grown:
                self.events.append(json.loads(line))
                self._grown.notify_all()


class Chapter:
    """The trail from one moment on."""

    def __init__(self, trail: Trail, since: int) -> None:
        self._trail = trail
        self._since = since

    async def sessions(self, count: int = 1) -> list[Story]:
        """Return the sessions, once ``count`` are over; check that no others are."""

        def over(events: Sequence[Event]) -> list[Story] | None:
            ended = [story for story in stories(events) if story.end["event"] in TERMINAL]
            return ended if len(ended) >= count else None

        ended = await self._trail.until(over, self._since)
        assert len(ended) == count, [story.names for story in ended]
        return ended

    async def session(self) -> Story:
        """Return the one session, once it is over."""
        [story] = await self.sessions()
        return story

    async def event(self, name: str, **fields: object) -> Event:
        """Return the first event of that name, with these values, once it is there."""

        def fits(events: Sequence[Event]) -> Event | None:
            return next((one for one in events if one["event"] == name and fields.items() <= one.items()), None)

        return await self._trail.until(fits, self._since)

    @property
    def names(self) -> list[str]:
        """Return what happened up to now."""
        return [event["event"] for event in self._trail.events[self._since :]]


def stories(events: Iterable[Event]) -> list[Story]:
    """Return the events of each session, in the order of their first."""
    found: dict[str, list[Event]] = {}
    for event in events:
        if event["session"]:
            found.setdefault(event["session"], []).append(event)
    return [Story(tuple(one)) for one in found.values()]


def faults(text: str) -> list[str]:
    """Return what is wrong with a whole trail: lines that do not parse, gaps, sessions without exactly one end, or going on after it."""
    lines = text.splitlines()
    events = [json.loads(line) for line in lines]
    wrong = [f"line {place}: seq {event['seq']}" for place, event in enumerate(events, 1) if event["seq"] != place]
    for story in stories(events):
        ends = [name for name in story.names if name in TERMINAL]
        if len(ends) != 1 or story.names[-1] not in TERMINAL:
            wrong.append(f"session {story.id}: {story.names}")
    return wrong
