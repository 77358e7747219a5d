"""Choosing one of several tasks on a terminal: a state machine from keys to a screen. Pure, plain ANSI, from 20 x 3 cells up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum

from octopus.control.plane import Candidate
from octopus.core.types import TermSize
from octopus.session.durations import age
from octopus.session.listing import plain, short_id

MAX_QUERY = 100
ENTER_SCREEN = "\x1b[?1049h"
LEAVE_SCREEN = "\x1b[?25h\x1b[?1049l"

_SEQUENCE = re.compile(rb"\x1b(?:\[[0-9;]*[ -/]*[@-~]|O[@-~])")
_STARTED = re.compile(rb"\x1b(?:\[[0-9;]*[ -/]*|O)?")


class Key(Enum):
    """Keys that do something; all other characters are typed into the search."""

    UP = "up"
    DOWN = "down"
    PAGE_UP = "page up"
    PAGE_DOWN = "page down"
    ENTER = "enter"
    CANCEL = "cancel"
    ERASE = "erase"
    CLEAR = "clear"


_KEYS = {
    **dict.fromkeys((b"\x1b[A", b"\x1bOA", b"\x10"), Key.UP),
    **dict.fromkeys((b"\x1b[B", b"\x1bOB", b"\x0e"), Key.DOWN),
    **dict.fromkeys((b"\x1b[5~", b"\x02"), Key.PAGE_UP),
    **dict.fromkeys((b"\x1b[6~", b"\x06"), Key.PAGE_DOWN),
    **dict.fromkeys((b"\r", b"\n"), Key.ENTER),
    **dict.fromkeys((b"\x1b", b"\x03", b"\x04"), Key.CANCEL),
    **dict.fromkeys((b"\x7f", b"\x08"), Key.ERASE),
    **dict.fromkeys((b"\x15", b"\x17"), Key.CLEAR),
}


class KeyDecoder:
    """Takes keys out of bytes that may be cut anywhere; escape sequences of no meaning here are swallowed whole."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def waiting(self) -> bool:
        """Whether a lone Esc, or the start of a sequence, waits for what follows."""
        return bool(self._rest)

    @property
    def rest(self) -> bytes:
        """What no key was taken out of yet."""
        return self._rest

    def feed(self, data: bytes) -> list[Key | str]:
        """Return the keys that are complete."""
        return list(self.each(data))

    def each(self, data: bytes) -> Iterator[Key | str]:
        """Yield them one by one: what follows the last that was asked for stays in ``rest``."""
        self._rest += data
        return self._complete()

    def flush(self) -> list[Key | str]:
        """Return what waited, as nothing follows: a lone Esc is the key."""
        rest, self._rest = self._rest, b""
        return [Key.CANCEL] if rest == b"\x1b" else []

    def _complete(self) -> Iterator[Key | str]:
        while self._rest:
            if _STARTED.fullmatch(self._rest) and len(self._rest) < 32:
                return
            sequence = _SEQUENCE.match(self._rest)
            taken = sequence.group() if sequence else self._rest[:1]
            self._rest = self._rest[len(taken) :]
            if key := _KEYS.get(taken):
                yield key
            elif len(taken) == 1 and 0x20 <= taken[0] < 0x7F:
                yield taken.decode("ascii")


class Picker:
    """What is found, what is marked and what has been chosen. ``now`` in seconds since 1970."""

    def __init__(self, candidates: Sequence[Candidate], size: TermSize, *, now: float, title: str = "") -> None:
        self.query = ""
        self.size = size
        self.chosen: Candidate | None = None
        self.cancelled = False
        self._candidates = tuple(candidates)
        self._now = now
        self._title = title
        self._marked = 0
        self._top = 0

    @property
    def found(self) -> tuple[Candidate, ...]:
        """The candidates that hold every word of the search, in app, task or agent."""
        words = self.query.lower().split()
        return tuple(one for one in self._candidates if all(word in f"{one.app} {one.task} {one.agent}".lower() for word in words))

    @property
    def done(self) -> bool:
        """Whether the person has decided."""
        return self.cancelled or self.chosen is not None

    def offer(self, candidates: Sequence[Candidate]) -> None:
        """Search among other candidates from now on."""
        self._candidates = tuple(candidates)
        self._mark(self._marked)

    def press(self, key: Key | str) -> None:
        """Act on one key."""
        page = self._list_rows
        match key:
            case Key.UP:
                self._mark(self._marked - 1)
            case Key.DOWN:
                self._mark(self._marked + 1)
            case Key.PAGE_UP:
                self._mark(self._marked - page)
            case Key.PAGE_DOWN:
                self._mark(self._marked + page)
            case Key.ENTER:
                self.chosen = self._at_mark()
            case Key.CANCEL:
                self.cancelled = True
            case Key.ERASE:
                self._search(self.query[:-1])
            case Key.CLEAR:
                self._search("")
            case str():
                self._search((self.query + key)[:MAX_QUERY])

    def screen(self) -> str:
        """Return the whole screen as one write: each line is overwritten in place, so that nothing flickers."""
        found = self.found
        self._scroll(len(found))
        rows = [self._row(one, marked=self._top + at == self._marked) for at, one in enumerate(found[self._top :][: self._list_rows])]
        rows += [""] * (self._list_rows - len(rows))
        prompt = f"{plain(self._title)}> {self.query}"
        prompt = prompt[max(0, len(prompt) - self.size.cols + 1) :]
        lines = [prompt, *rows, plain(self._footer(len(found)), self.size.cols - 1)][: self.size.rows]
        drawn = "".join(f"\x1b[{at};1H{text}\x1b[K" for at, text in enumerate(lines, 1))
        return f"\x1b[?25l{drawn}\x1b[1;{len(prompt) + 1}H\x1b[?25h"

    @property
    def _list_rows(self) -> int:
        return max(1, self.size.rows - 2)

    def _at_mark(self) -> Candidate | None:
        found = self.found
        return found[self._marked] if self._marked < len(found) else None

    def _mark(self, at: int) -> None:
        self._marked = max(0, min(at, len(self.found) - 1))

    def _search(self, query: str) -> None:
        self.query = query
        self._marked = 0

    def _scroll(self, count: int) -> None:
        self._top = min(self._top, self._marked, max(0, count - self._list_rows))
        self._top = max(self._top, self._marked - self._list_rows + 1, 0)

    def _row(self, one: Candidate, *, marked: bool) -> str:
        # The app matters most: it has what the others leave, and on narrow screens they go one by one.
        width = max(0, self.size.cols - 3)
        cells = [(short_id(one.task), 8), (one.agent, min(24, width // 4)), (age(one.started, self._now), 5)]
        while cells and width - sum(size + 1 for _, size in cells) < 16:
            cells.pop()
        rest = sum(size + 1 for _, size in cells)
        text = " ".join([plain(one.app, width - rest).ljust(width - rest), *(plain(cell, size).ljust(size) for cell, size in cells)])
        line = f"{'>' if marked else ' '} {text}"[: self.size.cols - 1]
        return f"\x1b[7m{line}\x1b[0m" if marked else line

    def _footer(self, count: int) -> str:
        at = f"{min(self._marked + 1, count)}/{count}"
        return f"{at}  type to search, arrows, Enter; Esc leaves" if count else "nothing found; Esc leaves"
