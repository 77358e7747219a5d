"""Ships every line of the trail to a collector, from where it was left: at least once, in order. Blocking."""

from __future__ import annotations

import threading

import structlog

from octopus.core.errors import ShippingUnavailable
from octopus.shipping.position_file import Shipped, StateFile
from octopus.shipping.syslog import Collector
from octopus.shipping.trail_reader import TrailReader

OVERLAP = 8 << 20
"""Bytes that are sent once more where a connection broke: more than the collector's machine takes before it is read (tcp(7), tcp_rmem)."""

_log = structlog.get_logger(__name__)


class LineShipper:
    """``state`` remembers how far it went. What a collector gets twice it can tell by ``seq``."""

    def __init__(self, reader: TrailReader, collector: Collector, state: StateFile, *, overlap: int = OVERLAP) -> None:
        self._reader = reader
        self._collector = collector
        self._state = state
        self._overlap = overlap
        self._shipped = state.shipped()
        self._at = self._shipped.position

    def step(self, stopping: threading.Event) -> bool:
        """Ship some lines; False when there are none. Raise ShippingUnavailable, OSError."""
        self._collector.check()
        batch = self._reader.read(self._at)
        if batch.after == self._at:
            return False
        if not self._collector.connected:
            self._connect()
            return True
        if batch.missed:
            _log.error("lines of the trail were removed before they were shipped", lines=batch.missed, before=batch.after.seq)
        self._collector.deliver(batch.lines)
        self._at = batch.after
        self._remember(unsure=not self._collector.sure)
        return True

    def close(self) -> None:
        """Leave the collector in good order."""
        if self._collector.connected and self._collector.leave():
            self._remember(unsure=False)

    def waiting(self) -> int:
        """Return how many bytes of the trail were not shipped yet. Raise OSError."""
        return self._reader.waiting(self._at)

    def _connect(self) -> None:
        self._collector.connect()
        position = self._shipped.position
        self._at = self._reader.back(position, self._overlap) if self._shipped.unsure else position

    def _remember(self, *, unsure: bool) -> None:
        if self._at.seq < self._shipped.position.seq:  # What was sent is being sent once more.
            return
        shipped = Shipped(position=self._at, unsure=unsure)
        try:
            self._state.save(shipped)
        except OSError as error:
            raise ShippingUnavailable(f"how far it went cannot be remembered: {error}") from error
        self._shipped = shipped
