"""Reads the trail's files from a remembered position on, over rotations, and never a line that is not durable yet. Blocking."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from octopus.core.chain import CURRENT, first_seq
from octopus.core.types import Value

AT_ONCE = 65_536
"""About how many bytes are read at once: more only where a line is longer."""
_NUMBER = re.compile(rb'\{"seq":([0-9]{1,18}),')


class Position(Value, frozen=True, kw_only=True):
    """A place in the trail: ``offset`` in the file whose first line has the number ``first``; ``seq`` is the last line before it.

    The default is before all there is.
    """

    first: int = 0
    offset: int = 0
    seq: int = 0


class Batch(Value, frozen=True, kw_only=True):
    """Lines, newline and all, and the position ``after`` them.

    ``finished`` is the file they are the last lines of, "" where it goes on; ``missed`` lines before them are not there any more.
    """

    lines: tuple[bytes, ...] = ()
    after: Position
    finished: str = ""
    missed: int = 0


class _File(NamedTuple):
    first: int
    path: Path
    over: bool


class TrailReader:
    """``durable`` tells the number of the last line that is certain to stay."""

    def __init__(self, directory: Path, durable: Callable[[], int]) -> None:
        self._directory = directory
        self._durable = durable

    def read(self, at: Position, size: int = AT_ONCE) -> Batch:
        """Return what follows; nothing, and the same position, at the end. Raise OSError."""
        place = self._find(at)
        if place is None:
            return Batch(after=at)
        with place.path.open("rb") as file:
            if _first(file) != place.first:  # It was finished this very moment, and another begun.
                return Batch(after=at)
            return self._read(file, place, at, size)

    def back(self, at: Position, size: int) -> Position:
        """Return the position of a line about ``size`` bytes before ``at``. Raise OSError."""
        files = [one for one in self._files() if one.first <= at.first]
        if not files or files[-1].first != at.first:
            return at
        while at.offset < size and len(files) > 1:
            before = files[-2]
            at, size = Position(first=before.first, offset=before.path.stat().st_size, seq=at.first - 1), size - at.offset
            files.pop()
        with files[-1].path.open("rb") as file:
            file.seek(max(0, at.offset - size))
            if at.offset > size:
                file.readline()
            offset = file.tell()
            return Position(first=at.first, offset=offset, seq=_number(file.readline()) - 1) if offset < at.offset else at

    def waiting(self, at: Position) -> int:
        """Return how many bytes follow. Raise OSError."""
        sizes = {one.first: one.path.stat().st_size for one in self._files()}
        return sum(size - (at.offset if first == at.first else 0) for first, size in sizes.items() if first >= at.first)

    def _read(self, file: BinaryIO, place: _File, at: Position, size: int) -> Batch:
        offset, seq = (at.offset if place.first == at.first else 0), at.seq
        missed = max(0, place.first - at.seq - 1) if at.first else 0
        file.seek(offset)
        last = self._durable()
        lines: list[bytes] = []
        for line in file.readlines(size):
            number = _number(line)
            if not place.over and (number > last or not line.endswith(b"\n")):
                return Batch(lines=tuple(lines), after=Position(first=place.first, offset=offset, seq=seq), missed=missed)
            offset += len(line)
            if not number or number > at.seq:
                lines.append(line)
            seq = max(seq, number)
        if place.over and not file.read(1):
            return Batch(lines=tuple(lines), after=Position(first=seq + 1, seq=seq), finished=place.path.name, missed=missed)
        return Batch(lines=tuple(lines), after=Position(first=place.first, offset=offset, seq=seq), missed=missed)

    def _find(self, at: Position) -> _File | None:
        return next((one for one in self._files() if one.first >= at.first), None)

    def _files(self) -> list[_File]:
        """Return the files, oldest first. The current one comes first of all: meanwhile it may be finished, and found once."""
        try:
            with (self._directory / CURRENT).open("rb") as file:
                current = _first(file)
        except FileNotFoundError:
            current = 0
        found = {current: _File(current, self._directory / CURRENT, over=False)} if current else {}
        for path in self._directory.iterdir():
            if number := first_seq(path.name):
                found[number] = _File(number, path, over=True)
        return sorted(found.values())


def _first(file: BinaryIO) -> int:
    return _number(file.read(32))


def _number(line: bytes) -> int:
    """Return the number of a line, 0 where somebody altered it so that it has none."""
    match = _NUMBER.match(line)
    return int(match[1]) if match else 0
