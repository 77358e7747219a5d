"""Figures of the gateway itself: sessions, logins, bytes, workers, feeds, the audit trail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from octopus.core.inventory import FeedStatus
from octopus.fleet.figures import Family, labelled, single

ENDS = ("ended", "failed", "denied")


class GatewayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the control plane counts. ``events`` counts lines of the trail by event, ``logins`` by result and method.

    ``written`` is whether the trail can be written; ``worker_rate`` in bytes per second, all workers together.
    """

    live: int = 0
    events: Mapping[str, int] = {}
    logins: Mapping[tuple[str, str], int] = {}
    bytes_in: int = 0
    bytes_out: int = 0
    written: bool = True
    workers: int = 0
    connections: int = 0
    worker_rate: float = 0.0


def gateway_families(found: GatewayFigures) -> Iterator[Family]:
    """Yield the figures of the gateway, all of this process since its start."""
    yield single("sessions_live", found.live, "sessions that are in")
    ends = {end: float(found.events.get(f"session.{end}", 0)) for end in ENDS}
    yield labelled("sessions_total", "end", ends, "sessions by how they ended", counter=True)
    started = found.events.get("session.started", 0)
    yield single("sessions_started_total", started, "sessions that began in a container", counter=True)
    logins = tuple((key, float(count)) for key, count in sorted(found.logins.items()))
    yield Family(name="logins_total", help="attempts to log in", labels=("result", "method"), counter=True, samples=logins)
    moved = {"in": float(found.bytes_in), "out": float(found.bytes_out)}
    yield labelled("session_bytes_total", "direction", moved, "bytes of sessions that are over", counter=True)
    yield single("workers", found.workers, "session worker processes of this gateway")
    yield single("connections", found.connections, "SSH connections in them")
    yield single("worker_bytes_per_second", found.worker_rate, "what they move, both ways")
    yield single("audit_writable", float(found.written), "whether the audit trail can be written")
    events = {name: float(count) for name, count in sorted(found.events.items())}
    yield labelled("audit_events_total", "event", events, "lines written to the audit trail", counter=True)
    yield single("audit_lines_total", sum(events.values()), "lines written to the audit trail", counter=True)


def state_families(feeds: Sequence[FeedStatus], *, complete: bool) -> Iterator[Family]:
    """Yield how good the state of the cluster is: always there, also where nothing else is."""
    yield single("state_complete", float(complete), "1 when every source works and no agent is awaited after a failover")
    known = {feed.name: feed.age for feed in feeds if feed.age >= 0}
    yield labelled("feed_age_seconds", "feed", known, "seconds since a source last told something")
    yield labelled("feed_works", "feed", {feed.name: float(not feed.error) for feed in feeds}, "whether a source works now")
    if feeds and len(known) == len(feeds):
        yield single("state_age_seconds", max(known.values()), "seconds since the oldest source last told something")
