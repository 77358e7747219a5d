"""Where a position in the trail is remembered: a small file, replaced as a whole. Blocking."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from octopus.core.types import Value
from octopus.shipping.trail_reader import Position

_Kind = TypeVar("_Kind", bound=Value)

FOLDER = "shipping"
"""Where these files are, in the audit directory."""


class Shipped(Value, frozen=True, kw_only=True):
    """How far it went; ``unsure`` while the last of it may not have arrived."""

    position: Position = Position()
    unsure: bool = False


class Resumable(Value, frozen=True, kw_only=True):
    """An upload that is under way: of what, under which id of the store's, in parts of how many bytes."""

    key: str = ""
    sha256: str = ""
    upload: str = ""
    part_size: int = 0


class StateFile:
    """One value in one file (0600, its directory 0700)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def shipped(self) -> Shipped:
        """Return how far it went; nowhere where the file is not there or cannot be read. Raise OSError."""
        return self._load(Shipped) or Shipped()

    def resumable(self) -> Resumable:
        """Return the upload under way, an empty one for none. Raise OSError."""
        return self._load(Resumable) or Resumable()

    def save(self, value: Value) -> None:
        """Return once it is durable. Raise OSError."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(file, "wb") as out:
            out.write(msgspec.json.encode(value))
            out.flush()
            os.fsync(file)
        new.rename(self._path)

    def clear(self) -> None:
        """Remove the file. Raise OSError."""
        self._path.unlink(missing_ok=True)

    def _load(self, kind: type[_Kind]) -> _Kind | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=kind)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None
