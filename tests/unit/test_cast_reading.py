"""Recordings read back: what is shown when, and where a text stands."""

from __future__ import annotations

import pytest

from octopus.core.asciicast import Asciicast
from octopus.core.cast_reading import read, search
from octopus.core.errors import InvalidRecording
from octopus.core.types import Input, Output, Resize, TermSize

SIZE = TermSize(cols=80, rows=24)


def recording(*events: tuple[float, bytes]) -> list[bytes]:
    """Return a recording of output."""
    cast = Asciicast(size=SIZE, started=1e9, title="/web web.1")
    return [cast.header(), *(cast.encode(Output(data=data), at) for at, data in events)]


def test_a_recording_comes_back() -> None:
    """Size, title, output and sizes with their times; no input; nothing that acts on a terminal."""
    cast = Asciicast(size=SIZE, started=1e9, title="/web web.1")
    lines = [
        cast.header(),
        cast.encode(Output(data=b"one\x1b]0;x\x07"), 0.5),
        cast.encode(Input(data=b"secret"), 0.6),
        cast.encode(Resize(size=TermSize(cols=100, rows=50)), 1.0),
        cast.encode(Output(data=b"two"), 2.0),
        b'[2.5, "m", "marker"]\n',
    ]
    found = read(lines, "x")
    assert (found.size, found.title, found.duration) == (SIZE, "/web web.1", 2.0)
    assert [(one.at, one.text, one.size) for one in found.shown] == [
        (0.5, "one", None),
        (1.0, "", TermSize(cols=100, rows=50)),
        (2.0, "two", None),
    ]


def test_long_pauses_are_cut_short() -> None:
    """And time never goes back."""
    lines = [*recording((1.0, b"a"), (61.0, b"b"), (62.0, b"c")), b'[5.0, "o", "d"]\n', b'[63.0, "o", "e"]\n']
    assert [one.at for one in read(lines, "x", idle_limit=2.0).shown] == [1.0, 3.0, 4.0, 4.0, 5.0]


def test_an_empty_recording_lasts_no_time() -> None:
    """Its header is enough."""
    assert (read(recording(), "x").duration, search((), "x")) == (0.0, [])


def test_a_torn_last_line_is_left_out() -> None:
    """Any other is no recording's."""
    lines = recording((1.0, b"a"), (2.0, b"b"))
    lines[-1] = lines[-1][:5]
    assert [one.text for one in read(lines, "x").shown] == ["a"]
    with pytest.raises(InvalidRecording, match=r"x: line 3 is no event"):
        read([*lines, b'[3.0, "o", "c"]\n'], "x")


@pytest.mark.parametrize("lines", [[], [b"\xff"], [b"{}"], [b'{"version": 1, "width": 80, "height": 24}']])
def test_what_is_no_recording_is_refused(lines: list[bytes]) -> None:
    """By name."""
    with pytest.raises(InvalidRecording, match=r"^x: "):
        read(lines, "x")


def test_text_is_found_with_its_time_and_line() -> None:
    """In any case, through colours, and split over writes."""
    lines = recording((1.0, b"$ cat\r\nroot:\x1b[31mX:0\r\n"), (2.0, b"pass"), (3.0, b"WORD: hunter"), (4.0, b"\r\npassword again"))
    found = search(read(lines, "x").shown, "Password")
    assert [(match.at, match.index, match.line) for match in found] == [(3.0, 2, "passWORD: hunter"), (4.0, 3, "password again")]
    assert [match.line for match in search(read(lines, "x").shown, "root:x:")] == ["root:X:0"]
    assert search(read(lines, "x").shown, "none") == []
