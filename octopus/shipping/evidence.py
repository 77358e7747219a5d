"""Ships recordings as soon as their sessions are over, and files of the trail when they are finished, to an object store. Blocking."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from octopus.core.types import Value
from octopus.shipping.position_file import Shipped, StateFile
from octopus.shipping.trail_reader import TrailReader

_KINDS = frozenset({".cast", ".copy"})
"""Recordings of terminals, and copies of files."""

_log = structlog.get_logger(__name__)


class Store(Protocol):
    """Where objects are kept. All calls raise ShippingUnavailable, OSError."""

    def holds(self, key: str, sha256: str, size: int) -> bool:
        """Tell whether the object is there, with that content."""
        ...

    def put(self, key: str, path: Path, sha256: str, stopping: threading.Event) -> None:
        """Return once the file is there; raise when told to stop before."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class _Recording(Value, frozen=True):
    path: str = ""
    sha256: str = ""


class _Recorded(Value, frozen=True):
    recordings: tuple[_Recording, ...] = ()


class EvidenceShipper:
    """The trail says what there is: ``state`` remembers up to where all of it is in the store.

    Keys are ``prefix`` and the path below the audit directory. Doing it twice does no harm: what is there is not sent again.
    """

    def __init__(self, directory: Path, reader: TrailReader, store: Store, state: StateFile, *, prefix: str = "") -> None:
        self._directory = directory
        self._reader = reader
        self._store = store
        self._state = state
        self._prefix = prefix
        self._at = state.shipped().position

    def step(self, stopping: threading.Event) -> bool:
        """Ship what some lines of the trail speak of; False when there are none. Raise ShippingUnavailable, OSError."""
        batch = self._reader.read(self._at)
        if batch.after == self._at:
            return False
        for line in batch.lines:
            for one in _recordings(line):
                self._ship(f"recordings/{one.path}", one.sha256, stopping)
        if batch.finished:
            self._ship(batch.finished, "", stopping)
        self._at = batch.after
        self._state.save(Shipped(position=self._at))
        return True

    def close(self) -> None:
        """Close the connections to the store."""
        self._store.close()

    def waiting(self) -> int:
        """Return how many bytes of the trail were not gone through yet. Raise OSError."""
        return self._reader.waiting(self._at)

    def _ship(self, name: str, claimed: str, stopping: threading.Event) -> None:
        path = self._directory / name
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
        except FileNotFoundError:
            _log.error("a file that the trail speaks of is not there to be shipped", path=name)
            return
        if claimed and claimed != sha256:
            # What the trail does not vouch for takes nobody's place in the store.
            _log.error("a recording is another than the trail says, and is not shipped", path=name)
            return
        if not self._store.holds(self._prefix + name, sha256, size):
            self._store.put(self._prefix + name, path, sha256, stopping)


def _recordings(line: bytes) -> Iterator[_Recording]:
    if b'"recordings":[{' not in line:
        return
    try:
        found = msgspec.json.decode(line, type=_Recorded).recordings
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    for one in found:
        path = Path(one.path)
        if path.suffix in _KINDS and not path.is_absolute() and ".." not in path.parts and "\0" not in one.path:
            yield one
