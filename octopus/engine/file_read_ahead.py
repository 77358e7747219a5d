"""Attributes read ahead: who asks for one file after another, in the order of the listing just given, is answered from a batch."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from octopus.core.errors import OctopusError
from octopus.core.files import FileAttributes

ROW = 2
"""So many in a row make it likely that the next name will be asked for as well."""
WINDOW = 4096
"""Names among which one that is not the next is looked for: less time than asking for one file takes."""
_PLAIN = re.compile(rb"[ -\[\]-~]+")
"""Names that a shell takes as they are. Each of the others costs it a process, so that asking for many at once gains nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is at ``path``, which is without links but for its last name."""

    path: bytes
    attributes: FileAttributes


Look = Callable[[bytes, Sequence[bytes]], Awaitable[Mapping[bytes, Found]]]
"""Returns what has these names in a directory, links themselves, without those of which it cannot be told. Raise OctopusError."""


class ReadAhead:
    """Knows the last directory that was listed, up to ``names`` in it, and asks for up to ``most`` of them at once.

    What it answers was asked for no more than ``fresh`` seconds before, by ``clock``: less than anybody could tell from an answer
    that was long on its way. Nothing is answered here after the session itself has changed something, until a new row has begun.
    """

    def __init__(self, look: Look, clock: Callable[[], float], *, fresh: float, most: int, names: int) -> None:
        self._look = look
        self._clock = clock
        self._fresh = fresh
        self._most = most
        self._most_names = names
        self._folder = b""
        self._names: list[bytes] = []
        self._at = 0  # the place in the listing of the name after the one that was asked for last
        self._until = 0  # up to there it was asked for
        self._batch = 0
        self._row = 0
        self._pace = 0.0  # seconds from one question to the next
        self._last = 0.0
        self._answers: dict[bytes, tuple[float, Found]] = {}
        self._task: asyncio.Task[None] | None = None
        self._turn = 0
        self._changes = 0

    def listing(self, folder: bytes) -> None:
        """Forget the directory before: this one is being listed."""
        self.drop()
        self._folder = posixpath.normpath(folder)
        self._names, self._at, self._until = [], 0, 0

    def listed(self, folder: bytes, names: Iterable[bytes]) -> None:
        """Note more names in it, in the order in which the client learns them."""
        if posixpath.normpath(folder) == self._folder:
            self._names += names
            if len(self._names) > self._most_names:
                self.listing(b"/")

    def drop(self) -> None:
        """Forget what was read ahead, and what is being read."""
        self._turn += 1
        self._answers = {}
        self._row, self._until = 0, self._at

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Answer nothing, and read nothing ahead, while the session changes something."""
        self.drop()
        self._changes += 1
        try:
            yield
        finally:
            self._changes -= 1

    async def find(self, path: bytes, *, follow: bool) -> Found | None:
        """Return what is there, None where it has to be asked for by itself."""
        folder, name = posixpath.split(path)
        if folder != self._folder or self._changes or not self._in_a_row(name):
            return None
        if self._at > self._until:
            self._ask(self._at - 1)
        if self._task and name not in self._answers:
            await asyncio.wait({self._task})
        asked, found = self._answers.get(name, (0.0, None))
        if found and self._clock() - asked > self._fresh:
            self._answers, self._until, found = {}, self._at, None
        elif self._until - self._at <= self._batch // 2:
            self._ask(max(self._until, self._at))
        return None if found and follow and found.attributes.symlink else found

    async def aclose(self) -> None:
        """Read nothing ahead any more."""
        self.listing(b"/")
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _in_a_row(self, name: bytes) -> bool:
        """Note that this one is asked for; tell whether those before it in the listing were so just before."""
        now = self._clock()
        passed, self._last = now - self._last, now
        if self._names[self._at : self._at + 1] == [name]:
            self._row += 1
            self._pace = passed if self._row <= ROW else self._pace + (passed - self._pace) / 8
            self._at += 1
        else:
            self.drop()
            at = self._index(name, self._at)
            self._row, self._at = (0, self._at) if at is None else (1, at + 1)
            self._until = self._at
        return self._row >= ROW

    def _index(self, name: bytes, start: int) -> int | None:
        for begin in (start, 0):
            try:
                return self._names.index(name, begin, begin + WINDOW)
            except ValueError:
                continue
        return None

    def _ask(self, start: int) -> None:
        """Have a batch read: as many as the client will have asked for in half the time for which the answers hold."""
        most = min(self._most, int(self._fresh / 2 / max(self._pace, 1e-6)))
        if self._task or self._row < ROW or most < ROW:
            return
        names = [name for name in islice(self._names, start, start + most) if _PLAIN.fullmatch(name)]
        self._until, self._batch = start + most, most
        if names:
            self._task = asyncio.get_running_loop().create_task(self._read(self._folder, names), name="attributes ahead")
            self._task.add_done_callback(self._ended)

    async def _read(self, folder: bytes, names: Sequence[bytes]) -> None:
        turn, now = self._turn, self._clock()
        try:
            found = await self._look(folder, names)
        except OctopusError:
            # Whoever asks for one of them by itself is told why.
            if turn == self._turn:
                self.listing(b"/")
            return
        if turn == self._turn:
            kept = {name: answer for name, answer in self._answers.items() if now - answer[0] <= self._fresh}
            self._answers = kept | {name: (now, one) for name, one in found.items()}

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
