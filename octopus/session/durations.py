"""Durations and ages in words."""

from __future__ import annotations

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def spoken(seconds: float) -> str:
    """Return a duration as configured: ``30m``, ``1h30m``, ``90s`` as ``1m30s``; less than a second as ``0.5s``."""
    if seconds < 1:
        return f"{seconds:g}s"
    rest = int(seconds)
    parts = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def age(since: float, now: float) -> str:
    """Return how long ago ``since`` was, in its largest unit (``3d``); "" when unknown (0)."""
    if not since:
        return ""
    seconds = max(0.0, now - since)
    unit, size = next((unit for unit in _UNITS if seconds >= unit[1]), _UNITS[-1])
    return f"{int(seconds // size)}{unit}"
