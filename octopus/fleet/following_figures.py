"""Figures of what the UNIQUE daemon did, and of Marathon's events."""

from __future__ import annotations

from collections.abc import Iterator

from octopus.core.unique_actions import FAILURES, Counters, Did, Lead
from octopus.fleet.figures import Family, labelled, single
from octopus.fleet.history import EventHistory


def unique_families(counters: Counters, lead: Lead) -> Iterator[Family]:
    """Yield the figures of the daemon, all of this process since its start."""
    yield single("unique_looks_total", counters.looks, "times the UNIQUE daemon judged all its apps", counter=True)
    done = {Did.SCALED: counters.scaled, Did.WOULD_SCALE: counters.would_scale, Did.REFUSED: counters.refused}
    actions = {did.value: float(count) for did, count in done.items()}
    yield labelled("unique_actions_total", "action", actions, "apps it scaled, would scale, refused to (once a reason)", counter=True)
    counts = {**dict.fromkeys(FAILURES, 0), **counters.failures}  # from 0 on, or nobody would see the first one as a rise
    failures = {kind.replace(" ", "_"): float(count) for kind, count in sorted(counts.items())}
    yield labelled("unique_failures_total", "kind", failures, "tries and checks of it that went wrong", counter=True)
    yield single("unique_leading", float(lead.mine), "whether this gateway is the one that may scale")


def event_families(history: EventHistory) -> Iterator[Family]:
    """Yield how many events Marathon told of, and tasks that went wrong, since the start."""
    events = {name: float(count) for name, count in sorted(history.counts.items())}
    yield labelled("marathon_events_total", "event", events, "events of Marathon's stream", counter=True)
    failures = {state: float(count) for state, count in sorted(history.failures.items())}
    yield labelled("marathon_task_failures_total", "state", failures, "tasks that went wrong, by what became of them", counter=True)
