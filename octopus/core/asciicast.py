"""Asciicast v2 (docs.asciinema.org/manual/asciicast/v2): a header line, then one JSON line for each event of a terminal."""

from __future__ import annotations

import codecs
from collections.abc import Mapping

import msgspec

from octopus.core.errors import printable
from octopus.core.types import Input, Mark, Output, Resize, TermSize

MAX_MARK = 1000
"""Characters of a marker."""

TerminalEvent = Output | Input | Resize | Mark
"""What a recording holds of a session."""


class Asciicast:
    """Turns the events of one terminal into lines, each ending in a newline; nothing is written before its bytes are whole characters.

    ``at`` is in seconds since the start and never goes back: an earlier value is taken as the latest one seen. Bytes that are
    not UTF-8 become U+FFFD. Input is written only where it is handed in.
    """

    def __init__(self, *, size: TermSize, started: float, title: str, term: str = "", shell: str = "") -> None:
        self._size = size
        self._started = started
        self._title = title
        self._env = {name: value for name, value in (("TERM", term), ("SHELL", shell)) if value}
        self._latest = 0.0
        # Characters may be cut anywhere, and the two directions are cut apart from each other.
        self._texts = {code: codecs.getincrementaldecoder("utf-8")("replace") for code in ("o", "i")}

    def header(self) -> bytes:
        """Return the first line; ``timestamp`` is in whole seconds since 1970."""
        return _line(
            {
                "version": 2,
                "width": self._size.cols,
                "height": self._size.rows,
                "timestamp": int(self._started),
                "title": self._title,
                "env": self._env,
            }
        )

    def encode(self, event: TerminalEvent, at: float) -> bytes:
        """Return the event's line, ``b""`` while its last character is incomplete."""
        if isinstance(event, Resize):
            return self._event("r", f"{event.size.cols}x{event.size.rows}", at)
        if isinstance(event, Mark):
            return self._event("m", printable(event.text, MAX_MARK), at)
        code = "o" if isinstance(event, Output) else "i"
        return self._event(code, self._texts[code].decode(event.data), at)

    def state(self) -> dict[str, tuple[bytes, int]]:
        """Return how far the characters have come, for ``restore``."""
        return {code: text.getstate() for code, text in self._texts.items()}

    def restore(self, state: Mapping[str, tuple[bytes, int]]) -> None:
        """Forget what was encoded since: its line was written nowhere."""
        for code, text in self._texts.items():
            text.setstate(state[code])

    def finish(self, at: float) -> bytes:
        """Return what is left: characters that never became whole."""
        return b"".join(self._event(code, text.decode(b"", final=True), at) for code, text in self._texts.items())

    def _event(self, code: str, text: str, at: float) -> bytes:
        self._latest = max(self._latest, at)
        return _line([round(self._latest, 6), code, text]) if text else b""


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"
