"""Keeps a Cluster up to date from a Mesos master: by the v1 event stream where there is one, else by polling ``/state``."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

from octopus.core.cluster import Cluster
from octopus.core.decoders import MAX_HEADER, RecordIO, record_length
from octopus.core.errors import BadUpstream, OctopusError, OrchestratorUnavailable
from octopus.core.inventory import FeedStatus, Snapshot
from octopus.core.mesos_events import decode_event
from octopus.core.mesos_state import decode_tasks
from octopus.feeds.health import Backoff, FeedHealth
from octopus.feeds.http import Http, in_time
from octopus.feeds.look_ups import LookUps
from octopus.feeds.masters import Leader, LeaderWalk, Masters, last_error
from octopus.feeds.snapshots import read_snapshot

STATE_PATHS = ("/state", "/state.json")
"""The second for Mesos before 0.25; from 1.8 there is only the first."""

SUBSCRIBE = b'{"type":"SUBSCRIBE"}'
STREAM_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
NO_STREAM = frozenset({400, 401, 403, 404, 405, 406, 415, 501})
"""Answers to SUBSCRIBE after which the state is polled; a master may guard its API and leave ``/state`` open."""


class _NoStream(Exception):
    """The master has no event stream."""


class MesosFeed:
    """The feed of one Mesos cluster. Times in seconds, sizes in bytes.

    ``poll_interval`` between two readings of ``/state``; ``resync_interval`` after which a stream is begun anew, since it says nothing
    of some changes; ``silence`` on a stream that counts as its end (heartbeats come every 15 s from Mesos 1.5);
    ``fetch_timeout`` for one reading in all; ``max_body`` of one, inflated: 100,000 tasks are about 130 MB in v0, 260 MB in v1.
    ``look_ups`` bounds what people can make us ask.
    """

    def __init__(
        self,
        cluster: Cluster,
        http: Http,
        masters: Masters,
        *,
        poll_interval: float = 15.0,
        resync_interval: float = 900.0,
        silence: float = 60.0,
        fetch_timeout: float = 120.0,
        max_body: int = 400_000_000,
        max_event: int = 4 * 1024 * 1024,
        look_ups: LookUps | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.time,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._cluster = cluster
        self._leader = Leader(http, masters)
        self._poll_interval = poll_interval
        self._resync_interval = resync_interval
        self._silence = silence
        self._fetch_timeout = fetch_timeout
        self._max_body = max_body
        self._max_event = max_event
        self._look_ups = look_ups or LookUps()
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._rng = rng
        self._health = FeedHealth("mesos", clock)
        self._reading = asyncio.Lock()
        self._readings = 0
        self._paths: dict[str, str] = {}
        self._streams = True
        self._source = ""

    async def run(self) -> None:
        """Keep the Cluster up to date for ever. Nothing a master does ends this."""
        while True:
            await self._wait(await self._turn())

    async def tried(self) -> None:
        """Return once it has been read, or could not be."""
        await self._health.tried()

    def status(self) -> FeedStatus:
        """Return how the feed is doing."""
        return self._health.status()

    async def refresh(self) -> None:
        """Read the whole state once; whoever asks meanwhile shares the answer. Raise BadUpstream, OrchestratorUnavailable."""
        before = self._readings
        async with self._reading:
            if self._readings != before:
                return
            async with in_time(self._fetch_timeout, "Mesos /state"):
                base, snapshot = await self._read_state()
            await self._apply(base, snapshot)
            self._readings += 1

    async def look_up(self, task_id: str) -> bool:
        """Look for one task that is too new to be known, and add it. False when there is none, or too much was asked lately.

        Mesos 1.4 answers for one task; before, and where no stream keeps us up to date, the whole state is read. Never raises.
        """

        async def ask() -> None:
            if not (await self._ask_for(task_id) or self._streams):
                await self.refresh()

        return await self._look_ups.find(task_id, lambda: bool(self._cluster.tasks.running(task_id)), ask)

    async def _turn(self) -> float:
        """Read once, or follow the stream to its end; return how long to wait before the next turn."""
        try:
            if self._streams:
                await self._follow()
                return 0.0
            await self.refresh()
        except _NoStream:
            self._streams = False
            return 0.0
        except (BadUpstream, OrchestratorUnavailable) as error:
            self._health.failed(error)
            return self._backoff.failed()
        return self._poll_interval * (0.9 + self._rng() / 5)

    async def _wait(self, seconds: float) -> None:
        changed = self._leader.masters.changed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await changed.wait()
        changed.clear()

    async def _apply(self, base: str, snapshot: Snapshot) -> None:
        for _ in self._cluster.replacing(snapshot, self._clock()):
            await asyncio.sleep(0)
        self._leader.found(base)
        self._streams = self._streams or (self._source not in {"", base})
        self._source = base
        self._backoff.worked()
        self._health.worked(base, complete=not self._cluster.awaited, skipped=snapshot.skipped)

    async def _read_state(self) -> tuple[str, Snapshot]:
        errors: list[OctopusError] = []
        for walk in await self._leader.walks():
            try:
                return await self._state_of_leader(walk)
            except (BadUpstream, OrchestratorUnavailable) as error:
                errors.append(error)
        raise last_error(errors)

    async def _state_of_leader(self, walk: LeaderWalk) -> tuple[str, Snapshot]:
        """Return the leader's state: a standby before 0.28 answers with an empty one of its own, which names the leader."""
        while True:
            snapshot = await self._state_at(walk)
            if snapshot.leader and snapshot.leader == snapshot.pid:
                return walk.base, snapshot
            walk.told(snapshot.leader)

    async def _state_at(self, walk: LeaderWalk) -> Snapshot:
        known = self._paths.get(walk.base)
        for path in (known,) if known else STATE_PATHS:
            async with self._leader.ask(walk, "GET", path) as answer:
                if answer.status == 200:
                    self._paths = {**self._paths, walk.base: path} if len(self._paths) < 100 else {walk.base: path}
                    return await read_snapshot("state", answer.pieces(self._max_body), answer.url)
                self._paths.pop(walk.base, None)
                if answer.status != 404:
                    raise self._leader.refusal(answer)
        raise OrchestratorUnavailable(f"{walk.base}: no state at {' or '.join(STATE_PATHS)}: not a Mesos master?")

    async def _follow(self) -> None:
        """Follow the event stream of the leader until it is time to begin anew. Raise _NoStream, BadUpstream, OrchestratorUnavailable."""
        errors: list[OctopusError] = []
        for walk in await self._leader.walks():
            begun = self._readings
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._resync_interval * (0.9 + self._rng() / 5)):
                        await self._stream(walk)
            except (BadUpstream, OrchestratorUnavailable) as error:
                errors.append(error)
                if self._readings == begun:
                    continue
                raise
            return
        raise last_error(errors)

    async def _stream(self, walk: LeaderWalk) -> None:
        asked = self._leader.ask(walk, "POST", "/api/v1", headers=STREAM_HEADERS, content=SUBSCRIBE, read_timeout=self._silence)
        async with asked as answer:
            if answer.status in NO_STREAM:
                raise _NoStream
            if answer.status != 200:
                raise self._leader.refusal(answer)
            chunks = _Chunks(answer.pieces(), answer.url)
            async with in_time(self._fetch_timeout, answer.url):
                length = record_length(await chunks.line(), self._max_body, answer.url)
                snapshot = await read_snapshot("subscribed", chunks.take(length), answer.url)
            await self._apply(walk.base, snapshot)
            self._readings += 1
            await self._events(chunks, answer.url)

    async def _events(self, chunks: _Chunks, url: str) -> None:
        """Apply events until the stream ends, or until the last agent is back after a failover: then the whole is read anew."""
        records = RecordIO(self._max_event, url)
        waiting = bool(self._cluster.awaited)
        async for chunk in chunks.rest():
            for record in records.feed(chunk):
                event = decode_event(record, url)
                if event is not None:
                    self._cluster.apply(event)
            self._health.alive()
            if waiting and not self._cluster.awaited:
                return
        raise OrchestratorUnavailable(f"{url}: the event stream ended")

    async def _ask_for(self, task_id: str) -> bool:
        """Ask the leader for one task. Before 1.4 the filter is ignored, so only a task of that id counts."""
        for walk in await self._leader.walks():
            async with self._leader.ask(walk, "GET", f"/tasks?task_id={quote(task_id, safe='')}") as answer:
                if answer.status == 200:
                    tasks = [task for task in decode_tasks(await answer.body(), answer.url) if task.id == task_id]
                    self._cluster.learn(tasks)
                    return any(task.running for task in tasks)
        return False


class _Chunks:
    """A stream of bytes, read first by line and length, then as it comes."""

    def __init__(self, pieces: AsyncIterator[bytes], source: str) -> None:
        self._pieces = pieces
        self._source = source
        self._held = b""

    async def line(self) -> bytes:
        """Return the first line without its newline. Raise BadUpstream when it is too long to be a record's length."""
        while b"\n" not in self._held and len(self._held) <= MAX_HEADER:
            self._held += await self._next()
        line, _, self._held = self._held.partition(b"\n")
        return line

    async def take(self, length: int) -> AsyncIterator[bytes]:
        """Yield exactly the next ``length`` bytes as they come. Raise BadUpstream when the stream ends before."""
        while length > 0:
            piece = self._held or await self._next()
            taken, self._held = piece[:length], piece[length:]
            length -= len(taken)
            yield taken

    async def rest(self) -> AsyncIterator[bytes]:
        """Yield what remains until the end."""
        if self._held:
            yield self._held
        async for piece in self._pieces:
            yield piece

    async def _next(self) -> bytes:
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            raise BadUpstream(self._source, "the stream ended in its first record") from None
