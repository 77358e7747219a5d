"""Counts of what has happened since the gateway started, taken from the lines of the audit trail as they are written."""

from __future__ import annotations

from collections import Counter

from octopus.core.types import AuditEvent

METHODS = frozenset({"password", "keyboard-interactive", "publickey", "certificate"})


class Tallies:
    """Plain counters. ``events`` by event, ``logins`` by result and method."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.logins: Counter[tuple[str, str]] = Counter()
        self.bytes_in = 0
        self.bytes_out = 0

    def note(self, event: AuditEvent) -> None:
        """Count an event that is on the trail."""
        self.events[event.event] += 1
        if event.event in {"auth.accepted", "auth.refused"}:
            method = event.data.get("method")
            self.logins[event.event.removeprefix("auth."), method if method in METHODS else "other"] += 1
        elif event.is_terminal:
            self.bytes_in += _whole(event.data.get("bytes_in"))
            self.bytes_out += _whole(event.data.get("bytes_out"))


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
