"""``octopus replay``: a recording on this terminal, with keys to move in it; as a transcript; or searched."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import time
import tty
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pyte

from octopus.core.cast_reading import Cast, Match, read, search
from octopus.core.errors import InvalidRequest, NoSuchTarget, printable

MAX_RECORDING = 1 << 30
"""Bytes of a recording that is replayed."""
MAX_LINE = 10_000
MAX_TYPED = 1024
"""Bytes of keys that are read at once."""
STEP = 10.0
"""Seconds that the arrow keys move by."""
_RESET = "\x1bc"
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_KEYS = {"\x1b[C": "right", "\x1b[D": "left", "\x1bOC": "right", "\x1bOD": "left", "\x03": "end", "\x04": "end"}


class Screen(Protocol):
    """Where a recording is played: shows text, and says which key was pressed."""

    def show(self, text: str) -> None:
        """Show it at once."""
        ...

    def key(self, timeout: float | None) -> str:
        """Return the key pressed within ``timeout`` seconds (None: for ever), "" for none: ``left``, ``right``, ``end`` or a character."""
        ...

    def ask(self, prompt: str) -> str:
        """Return the line that is typed."""
        ...


def find(recordings: Path, session: str) -> Path:
    """Return the recording of a session, finished or not. Raise NoSuchTarget, InvalidRequest."""
    try:
        os.scandir(recordings).close()
        found = sorted(recordings.glob(f"*/*/*/{session}.cast*")) if _SESSION.fullmatch(session) else []
    except FileNotFoundError:
        found = []
    except OSError as error:  # glob would pass over it
        raise InvalidRequest(f"{recordings}: cannot be read: {error.strerror}") from error
    if not found:
        raise NoSuchTarget(f"{printable(session)}: no such file, and no session with a recording below {recordings}")
    return found[0]


def load(path: Path, *, idle_limit: float = 0.0) -> Cast:
    """Return a recording. Raise InvalidRequest, InvalidRecording."""
    try:
        if path.stat().st_size > MAX_RECORDING:
            raise InvalidRequest(f"{path}: more than {MAX_RECORDING} bytes")
        return read(path.read_bytes().splitlines(), str(path), idle_limit=idle_limit)
    except OSError as error:
        raise InvalidRequest(f"{path}: cannot be read: {error.strerror}") from error


def transcript(cast: Cast) -> Iterator[str]:
    """Yield what the screen showed as lines of text: what scrolled out of it, then what stands on it at the end."""
    screen = pyte.HistoryScreen(cast.size.cols, cast.size.rows, history=100_000)
    stream = pyte.Stream(screen)
    for one in cast.shown:
        if one.size:
            screen.resize(lines=one.size.rows, columns=one.size.cols)
        stream.feed(one.text)
        while screen.history.top:
            line = screen.history.top.popleft()
            yield _text("".join(line[column].data for column in range(screen.columns)))
    last = [_text(line) for line in screen.display]
    while last and not last[-1]:
        last.pop()
    yield from last


class Player:
    """Plays a recording on ``screen``, ``speed`` times as fast; ``clock`` gives seconds.

    Space pauses, the arrows move by ten seconds, ``+`` and ``-`` change the speed, ``/`` searches, ``n`` goes to the next place found,
    ``q`` ends.
    """

    def __init__(self, cast: Cast, screen: Screen, *, speed: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._cast = cast
        self._screen = screen
        self._speed = speed
        self._clock = clock
        self._times = [one.at for one in cast.shown]
        self._next = 0
        self._at = 0.0
        self._paused = False
        self._found: list[Match] = []
        self._keys: dict[str, Callable[[], None]] = {
            " ": self._pause,
            "left": lambda: self._seek(self._at - STEP),
            "right": lambda: self._seek(self._at + STEP),
            "+": lambda: self._faster(2.0),
            "-": lambda: self._faster(0.5),
            "/": self._search,
            "n": self._go_on,
        }

    def play(self, start: float = 0.0) -> None:
        """Begin ``start`` seconds after the beginning; return at the end, or when asked to."""
        self._seek(start)
        while self._paused or self._next < len(self._times):
            started = self._clock()
            key = self._screen.key(None if self._paused else max(0.0, (self._times[self._next] - self._at) / self._speed))
            if not self._paused:
                passed = self._at + (self._clock() - started) * self._speed
                self._at = passed if key else self._times[self._next]
                self._show_until(bisect_right(self._times, self._at))
            if key in ("q", "end"):
                return
            self._keys.get(key, _nothing)()

    def _show_until(self, index: int) -> None:
        self._screen.show("".join(one.text for one in self._cast.shown[self._next : index]))
        self._next = max(self._next, index)

    def _seek(self, at: float) -> None:
        at = min(max(at, 0.0), self._cast.duration)
        if at < self._at:
            self._screen.show(_RESET)
            self._next = 0
        self._at = at
        self._show_until(bisect_right(self._times, at))

    def _pause(self) -> None:
        self._paused = not self._paused

    def _faster(self, factor: float) -> None:
        self._speed = min(max(self._speed * factor, 1 / 16), 256.0)

    def _search(self) -> None:
        text = self._screen.ask("search: ")
        self._found = search(self._cast.shown, text) if text else []
        self._go_on()

    def _go_on(self) -> None:
        """Stop at the next place found; after the last comes the first."""
        place = bisect_left(self._found, self._next, key=lambda match: match.index)
        if self._found:
            self._seek(self._found[place % len(self._found)].at)
            self._paused = True


class Terminal:
    """This terminal: keys come one by one where standard input is one, else there are none and time passes."""

    def __init__(self) -> None:
        self._typed = ""

    @contextmanager
    def raw(self) -> Iterator[None]:
        """Read keys without echo meanwhile; on leaving the terminal is what it was, and shows what it did."""
        if not sys.stdin.isatty():
            yield
            return
        before = termios.tcgetattr(sys.stdin)
        try:
            tty.setraw(sys.stdin, termios.TCSADRAIN)
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
            self.show("\x1b[?1049l\x1b[?25h\x1b[0m\x1b(B\n")

    def show(self, text: str) -> None:
        """See ``Screen``."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def key(self, timeout: float | None) -> str:
        """See ``Screen``."""
        if not sys.stdin.isatty():
            time.sleep(timeout or 0.0)
            return ""
        if not self._typed and select.select([sys.stdin], [], [], timeout)[0]:
            self._typed = os.read(sys.stdin.fileno(), MAX_TYPED).decode("utf-8", "replace")
        sequence = next((one for one in _KEYS if self._typed.startswith(one)), self._typed[:1])
        self._typed = self._typed[len(sequence) :]
        return _KEYS.get(sequence, sequence)

    def ask(self, prompt: str) -> str:
        """See ``Screen``; Escape gives nothing."""
        typed = ""
        while True:
            self.show(f"\r\x1b[K\x1b[7m{prompt}{typed}\x1b[0m")
            match self.key(None):
                case "\r" | "\n":
                    return typed
                case "\x1b" | "end":
                    return ""
                case "\x7f" | "\b":
                    typed = typed[:-1]
                case key if key.isprintable() and len(key) == 1:
                    typed += key


def _text(line: str) -> str:
    return printable(line.rstrip(), MAX_LINE)


def _nothing() -> None:
    """Ignore the key."""
