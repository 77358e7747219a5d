"""Keeps a Cluster's apps up to date from Marathon: a full reading after each event that matters, and from time to time."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence

from octopus.core.cluster import Cluster
from octopus.core.decoders import EventStream
from octopus.core.errors import BadUpstream, OctopusError, OrchestratorUnavailable
from octopus.core.inventory import FeedStatus, MarathonSnapshot
from octopus.core.marathon_events import HEARD
from octopus.core.marathon_state import decode_marathon
from octopus.feeds.health import Backoff, FeedHealth
from octopus.feeds.http import MAX_BODY, Http, in_time, origin
from octopus.feeds.look_ups import LookUps
from octopus.feeds.masters import REDIRECTS, LeaderWalk, last_error

JSON = {"Accept": "application/json"}
"""Before 1.10 ``/v2/tasks`` answers in plain text unless asked for JSON."""

POD_PATHS = ("/v2/pods::status", "/v2/pods/::status")
EVENTS = frozenset(
    {
        "status_update_event",
        "instance_changed_event",
        "unknown_instance_terminated_event",
        "deployment_success",
        "app_terminated_event",
        "pod_created_event",
        "pod_updated_event",
        "pod_deleted_event",
        "api_post_event",
        "group_change_success",
    }
)
"""Events after which tasks, apps or labels may be others."""

EVENTS_PATH = "/v2/events?plan-format=light&" + "&".join(f"event_type={name}" for name in sorted(EVENTS | HEARD))
"""Filters and light plans are ignored by a Marathon that does not know them."""

EVENT_STREAM = {"Accept": "text/event-stream"}


class MarathonFeed:
    """The feed of one Marathon. ``urls`` are tried in order, the last that worked first; each may be given the credentials.

    Times in seconds, sizes in bytes. ``poll_interval`` between readings where no events come (Marathon 0.8), ``full_interval`` where
    they do; an event brings a reading after ``debounce``; ``silence`` on the stream that counts as its end.
    ``max_body`` bounds what one reading holds in all, ``look_ups`` what people can make us ask.
    ``hear`` is told the name and the data of each event, b"" for too much data. ``default_roles`` are those of apps that name none.
    """

    def __init__(
        self,
        cluster: Cluster,
        http: Http,
        urls: Sequence[str],
        *,
        poll_interval: float = 15.0,
        full_interval: float = 120.0,
        debounce: float = 0.5,
        silence: float = 300.0,
        fetch_timeout: float = 60.0,
        max_body: int = 256 * 1024 * 1024,
        look_ups: LookUps | None = None,
        hear: Callable[[str, bytes], None] = lambda name, data: None,
        default_roles: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
        rng: Callable[[], float] = random.random,
    ) -> None:
        if not urls:
            raise ValueError("a Marathon has a URL")
        self._cluster = cluster
        self._http = http
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._poll_interval = poll_interval
        self._full_interval = full_interval
        self._debounce = debounce
        self._silence = silence
        self._fetch_timeout = fetch_timeout
        self._max_body = max_body
        self._look_ups = look_ups or LookUps()
        self._rng = rng
        self._hear = hear
        self._default_roles = tuple(default_roles)
        self._health = FeedHealth("marathon", clock)
        self._reading = asyncio.Lock()
        self._readings = 0
        self._last = self._urls[0]
        self._stale = asyncio.Event()
        self._streaming = False

    async def run(self) -> None:
        """Keep the Cluster's apps up to date for ever. Nothing Marathon does ends this."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_for_ever())
            group.create_task(self._listen_for_ever())

    async def tried(self) -> None:
        """Return once it has been read, or could not be."""
        await self._health.tried()

    def status(self) -> FeedStatus:
        """Return how the feed is doing."""
        return self._health.status()

    async def refresh(self) -> None:
        """Read apps, tasks and pods once; whoever asks meanwhile shares the answer. Raise BadUpstream, OrchestratorUnavailable."""
        before = self._readings
        async with self._reading:
            if self._readings != before:
                return
            url, snapshot = await self._read_any()
            for _ in self._cluster.replacing_marathon(snapshot):
                await asyncio.sleep(0)
            self._last = url
            self._readings += 1
            self._health.worked(url, skipped=snapshot.skipped)

    async def look_up(self, task_id: str) -> bool:
        """Read Marathon for a task it has not confirmed yet. False when too much was asked lately, or it is not there. Never raises."""
        running = self._cluster.tasks.running
        return await self._look_ups.find(task_id, lambda: any(task.confirmed for task in running(task_id)), self.refresh)

    async def _read_for_ever(self) -> None:
        backoff = Backoff(rng=self._rng)
        while True:
            try:
                self._stale.clear()
                await self.refresh()
                backoff.worked()
                wait = (self._full_interval if self._streaming else self._poll_interval) * (0.9 + self._rng() / 5)
            except (BadUpstream, OrchestratorUnavailable) as error:
                self._health.failed(error)
                wait = backoff.failed()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stale.wait()
                    await asyncio.sleep(self._debounce)

    async def _listen_for_ever(self) -> None:
        backoff = Backoff(longest=self._poll_interval * 4, rng=self._rng)
        while True:
            # Failures here are not told: the readings tell whether Marathon works.
            with contextlib.suppress(BadUpstream, OrchestratorUnavailable):
                await self._listen(LeaderWalk(self._last), backoff)
            if self._streaming:
                # The reader may sleep for long, sure of being called: without events it polls, from now on.
                self._streaming = False
                self._stale.set()
            await asyncio.sleep(backoff.failed())

    async def _listen(self, walk: LeaderWalk, backoff: Backoff) -> None:
        """Read events until the stream ends: each only says that something changed, for there is no guarantee on their order."""
        url = walk.base + EVENTS_PATH
        opened = self._http.open("GET", url, trusted=self._trusted(url), headers=EVENT_STREAM, read_timeout=self._silence)
        async with opened as answer:
            if answer.status in REDIRECTS:
                # A standby from 1.7 on sends listeners to the leader.
                walk.redirected(answer.headers.get("Location", ""))
                return await self._listen(walk, backoff)
            if answer.status != 200 or not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                return
            self._streaming = True
            backoff.worked()
            self._stale.set()
            events = EventStream()
            async for piece in answer.pieces():
                for name, data in events.feed(piece):
                    if name in EVENTS:
                        self._stale.set()
                    self._hear(name, data)

    def _trusted(self, url: str) -> bool:
        return any(origin(url) == origin(known) for known in self._urls)

    async def _read_any(self) -> tuple[str, MarathonSnapshot]:
        errors: list[OctopusError] = []
        for url in dict.fromkeys([self._last, *self._urls]):
            try:
                async with in_time(self._fetch_timeout, url):
                    return url, await self._read(url)
            except (BadUpstream, OrchestratorUnavailable) as error:
                errors.append(error)
        raise last_error(errors)

    async def _read(self, base: str) -> MarathonSnapshot:
        info = await self._get(base, "/v2/info", MAX_BODY, needed=False) or b"{}"
        apps = await self._get(base, "/v2/apps", self._max_body) or b""
        tasks = await self._get(base, "/v2/tasks", self._max_body - len(apps)) or b""
        pods = b"[]"
        for path in POD_PATHS:
            if found := await self._get(base, path, self._max_body - len(apps) - len(tasks), needed=False):
                pods = found
                break
        # Entries are read one by one, so that a thread leaves the event loop its turns; only the first scan holds it up (about 1 ms a MB).
        return await asyncio.to_thread(decode_marathon, apps, tasks, pods, info, base, self._default_roles)

    async def _get(self, base: str, path: str, limit: int, *, needed: bool = True) -> bytes | None:
        """Return a body of at most ``limit`` bytes; None where there is no such thing and none is needed (404)."""
        status, body = await self._http.get(base + path, trusted=True, limit=limit, headers=JSON)
        if status == 200:
            return body
        if status == 404 and not needed:
            return None
        hint = " (wrong username or password?)" if status == 401 else ""
        raise OrchestratorUnavailable(f"{base}{path}: HTTP {status}{hint}")
