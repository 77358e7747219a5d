"""What was typed in the open: lines of which the terminal gave back each character, as it does not while its echo is off. Pure.

The engine does not tell whether a terminal echoes (termios(3), ECHO), so it is read off the output: what comes right after a
character has to begin with it. A line of which one character did not come back is left out whole: passwords, and what programs
read without echo (vi's commands, searches in a shell's history). A line that is typed while something else is being written is left
out too. What cannot be known: a program that itself shows what it reads (a password field that draws it) types in the open.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from dataclasses import dataclass

from octopus.core.harmless import Harmless

MAX_LINE = 4096
"""Characters of a line that is kept; a longer one is left out."""
MAX_LINES = 256
"""Lines that may wait for their echo; of more the oldest are left out."""
_ENDS = frozenset("\r\n\x03\x04\x1a")
_CONTROLS = frozenset(map(chr, (*range(32), 127)))
_KEY = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~]|[^\[O])|[^\x1b]", re.DOTALL)
_BEGUN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?")


@dataclass(slots=True)
class _Line:
    text: str = ""
    awaited: str = ""
    hidden: bool = False
    done: bool = False


def _alike(one: str, other: str) -> int:
    """Return how many characters they begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


class OpenInput:
    """Takes what is typed and what is shown, in their order; ``left_out`` counts the lines that were left out."""

    def __init__(self) -> None:
        self.left_out = 0
        self._typed = codecs.getincrementaldecoder("utf-8")("replace")
        self._shown = codecs.getincrementaldecoder("utf-8")("replace")
        self._plain = Harmless(plain=True)
        self._rest = ""
        self._lines: deque[_Line] = deque([_Line()])

    def typed(self, data: bytes) -> bytes:
        """Return what may be kept now that this was typed."""
        text = self._rest + self._typed.decode(data)
        end = 0
        while end < len(text):
            key = _KEY.match(text, end)
            if key is None and len(text) - end <= MAX_LINE and _BEGUN.fullmatch(text, end):
                break
            # What begins a sequence and does not go on as one is an Esc and what is typed after it.
            self._take(key[0] if key else text[end])
            end = key.end() if key else end + 1
        self._rest = text[end:]
        return self._ready()

    def shown(self, data: bytes) -> bytes:
        """Return what may be kept now that this was shown."""
        text = self._plain.feed(self._shown.decode(data)).strip("\n")
        for line in self._lines:
            if not text:
                break
            if line.awaited:
                same = _alike(text, line.awaited)
                line.awaited, text = line.awaited[same:], text[same:].lstrip("\n")
                if text and line.awaited:
                    self._hide(line)
                    break
        return self._ready()

    def finish(self) -> bytes:
        """Return the rest that may be kept."""
        for line in self._lines:
            if line.awaited:
                self._hide(line)
            line.done = True
        return self._ready()

    def _take(self, key: str) -> None:
        line = self._lines[-1]
        if not line.hidden:
            line.text += key
            # A key that is a control or a sequence says nothing, and is not given back as it is. Any other character may be part of
            # a password, also one that draws nothing or that this Python's Unicode does not know yet.
            line.awaited += key if len(key) == 1 and key not in _CONTROLS else ""
            if len(line.text) > MAX_LINE:
                self._hide(line)
        if key in _ENDS:
            line.done = True
            self._lines.append(_Line())
            if len(self._lines) > MAX_LINES:
                self._hide(self._lines[0])

    def _hide(self, line: _Line) -> None:
        line.text, line.awaited, line.hidden = "", "", True

    def _ready(self) -> bytes:
        ready = ""
        while self._lines and self._lines[0].done and not self._lines[0].awaited:
            line = self._lines.popleft()
            ready += line.text
            self.left_out += line.hidden
        return ready.encode()
