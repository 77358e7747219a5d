"""What happened in Marathon of late: its events, some kept and all counted, so that monitoring needs no callback of its own."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from octopus.core.marathon_events import FAILED, MarathonEvent, is_kept, read_event

MAX_EVENTS = 1000


class EventHistory:
    """The last ``size`` events that are worth keeping, and how many of each there were since the start. ``clock``: seconds since 1970.

    It hears what the feed hears: nothing of a Marathon before 0.9, which has no stream, nor of what happens while there is none.
    """

    def __init__(self, clock: Callable[[], float], *, size: int = MAX_EVENTS) -> None:
        self.events: deque[MarathonEvent] = deque(maxlen=size)
        self.counts: Counter[str] = Counter()
        """By Marathon's name of the event; a fixed set of them."""
        self.failures: Counter[str] = Counter()
        """Tasks that went wrong, by state."""
        self._clock = clock

    def hear(self, name: str, data: bytes) -> None:
        """Take note of an event of the stream. Never raises."""
        event = read_event(name, data, self._clock())
        if event is None:
            return
        self.counts[event.name] += 1
        if event.state in FAILED:
            self.failures[event.state] += 1
        if is_kept(event):
            self.events.append(event)
