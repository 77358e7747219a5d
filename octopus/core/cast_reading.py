"""Reading asciicast v2 back: the size, the output with its times, and where a text stands in it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

import msgspec

from octopus.core.errors import InvalidRecording, printable
from octopus.core.harmless import Harmless
from octopus.core.types import MAX_COLS, MAX_ROWS, TermSize, Value

MAX_GAP = 86_400.0 * 365


class Shown(Value, frozen=True):
    """Something that is drawn: ``at`` in seconds since the start, harmless ``text``, or a new ``size``."""

    at: float
    text: str = ""
    size: TermSize | None = None


class Cast(Value, frozen=True):
    """A recording, ready to be shown."""

    size: TermSize
    title: str
    shown: tuple[Shown, ...]

    @property
    def duration(self) -> float:
        """Return how long it lasts, in seconds."""
        return self.shown[-1].at if self.shown else 0.0


class Match(Value, frozen=True):
    """Where a text was found: at what time, by which of ``shown``, and the line it stands in."""

    at: float
    index: int
    line: str


class _Header(Value, frozen=True):
    version: int
    width: int
    height: int
    title: str = ""


_HEADER = msgspec.json.Decoder(_Header)
_EVENT = msgspec.json.Decoder(tuple[float, str, str])
_SIZE = re.compile(r"([0-9]{1,4})x([0-9]{1,4})")


def read(lines: Sequence[bytes], source: str, *, idle_limit: float = 0.0) -> Cast:
    """Return what is shown; pauses of more than ``idle_limit`` seconds (0: any) take so long. Raise InvalidRecording for anything else.

    A last line that is torn is left out: so ends a recording that was never completed.
    """
    header = _header(lines[0] if lines else b"", source)
    harmless = Harmless()
    shown: list[Shown] = []
    before = now = 0.0
    for number, line in enumerate(lines[1:], 2):
        try:
            at, code, data = _EVENT.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if number == len(lines):
                break
            raise _invalid(source, f"line {number} is no event of a recording", line) from error
        now += min(max(at - before, 0.0), idle_limit or MAX_GAP)
        before = max(at, before)
        if code == "o":
            shown.append(Shown(now, harmless.feed(data)))
        elif code == "r" and (size := _SIZE.fullmatch(data)):
            shown.append(Shown(now, size=TermSize.clamped(cols=int(size[1]), rows=int(size[2]))))
    return Cast(TermSize.clamped(cols=min(header.width, MAX_COLS), rows=min(header.height, MAX_ROWS)), header.title, tuple(shown))


def search(shown: Iterable[Shown], text: str) -> list[Match]:
    """Return where the output holds ``text``, in any case, in its order; what is split over writes is found too."""
    plain = Harmless(plain=True)
    pieces = [(index, one.at, plain.feed(one.text)) for index, one in enumerate(shown)]
    ends = list(accumulate(len(piece) for _, _, piece in pieces))
    whole = "".join(piece for _, _, piece in pieces)
    found = []
    for match in re.finditer(re.escape(text), whole, re.IGNORECASE):
        index, at, _ = pieces[min(bisect_right(ends, match.end() - 1), len(pieces) - 1)]
        start, end = whole.rfind("\n", 0, match.start()) + 1, whole.find("\n", match.end())
        found.append(Match(at, index, whole[start : end if end >= 0 else None].strip()))
    return found


def _header(line: bytes, source: str) -> _Header:
    try:
        header = _HEADER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid(source, "not a recording (asciicast v2)", line) from error
    if header.version != 2:
        raise _invalid(source, f"asciicast version {header.version}, not 2", b"")
    return header


def _invalid(source: str, problem: str, line: bytes) -> InvalidRecording:
    excerpt = printable(line[:100].decode("utf-8", "replace"))
    return InvalidRecording(f"{source}: {problem}" + (f": {excerpt}" if excerpt else ""))
