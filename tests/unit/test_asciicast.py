"""Recordings are asciicast v2: whole characters, times that never go back, nothing lost."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from octopus.core.asciicast import Asciicast
from octopus.core.types import Input, Mark, Output, Resize, TermSize


def cast() -> Asciicast:
    """Return a recording of a 80 x 24 terminal."""
    return Asciicast(size=TermSize(cols=80, rows=24), started=1_700_000_000.7, title="/app task", term="xterm", shell="/bin/sh")


def lines(data: bytes) -> list[Any]:
    """Return the lines, decoded; each must end in a newline."""
    assert not data or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def test_header_says_size_start_title_and_terminal() -> None:
    """The header has what players need: version, size, start in whole seconds, title, TERM and SHELL."""
    assert lines(cast().header()) == [
        {
            "version": 2,
            "width": 80,
            "height": 24,
            "timestamp": 1_700_000_000,
            "title": "/app task",
            "env": {"TERM": "xterm", "SHELL": "/bin/sh"},
        }
    ]


def test_header_leaves_out_what_is_not_known() -> None:
    """Without TERM and SHELL the header has an empty env, not empty values."""
    header = Asciicast(size=TermSize(cols=1, rows=2), started=0, title="").header()
    assert lines(header)[0]["env"] == {}


def test_output_input_and_resize_have_their_codes() -> None:
    """Output is "o", input "i", a window change "r" as COLSxROWS."""
    recording = cast()
    assert lines(recording.encode(Output(data=b"\x1b[1mhi\r\n"), 0.5)) == [[0.5, "o", "\x1b[1mhi\r\n"]]
    assert lines(recording.encode(Input(data=b"ls\r"), 1.25)) == [[1.25, "i", "ls\r"]]
    assert lines(recording.encode(Resize(size=TermSize(cols=132, rows=50)), 2)) == [[2.0, "r", "132x50"]]


def test_cut_character_is_held_until_it_is_whole() -> None:
    """A character cut between two reads appears once, with the second read."""
    recording = cast()
    assert recording.encode(Output(data=b"\xe2\x82"), 1) == b""
    assert lines(recording.encode(Output(data=b"\xac!"), 2)) == [[2.0, "o", "€!"]]
    assert recording.finish(3) == b""


def test_what_was_written_nowhere_can_be_forgotten() -> None:
    """Encoded again, it is the same: a character that was cut before it included."""
    recording = cast()
    recording.encode(Output(data=b"\xe2\x82"), 1)
    before = recording.state()
    line = recording.encode(Output(data=b"\xac\xe2"), 2)
    recording.restore(before)
    assert recording.encode(Output(data=b"\xac\xe2"), 2) == line
    assert lines(recording.encode(Output(data=b"\x82\xac"), 3)) == [[3.0, "o", "€"]]


def test_directions_do_not_share_a_character() -> None:
    """Half a character of output is not completed by input."""
    recording = cast()
    recording.encode(Output(data=b"\xe2\x82"), 1)
    assert lines(recording.encode(Input(data=b"a"), 1)) == [[1.0, "i", "a"]]
    assert lines(recording.encode(Output(data=b"\xac"), 1)) == [[1.0, "o", "€"]]


def test_invalid_bytes_are_replaced_and_the_rest_at_the_end_too() -> None:
    """Bytes that are no UTF-8 become U+FFFD, also those still waiting at the end."""
    recording = cast()
    assert lines(recording.encode(Output(data=b"a\xffb"), 1)) == [[1.0, "o", "a\ufffdb"]]
    assert recording.encode(Output(data=b"\xf0\x9f"), 1) == b""
    assert lines(recording.finish(2)) == [[2.0, "o", "\ufffd"]]


def test_time_never_goes_back() -> None:
    """A clock that is set back does not make a recording that players refuse."""
    recording = cast()
    recording.encode(Output(data=b"a"), 5)
    assert lines(recording.encode(Output(data=b"b"), 4)) == [[5.0, "o", "b"]]


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_cuts_change_nothing(chunks: list[bytes]) -> None:
    """However output is cut into reads, the recording holds the same text as the whole, one valid line per event."""
    recording = cast()
    data = b"".join(recording.encode(Output(data=chunk), number) for number, chunk in enumerate(chunks)) + recording.finish(99)
    assert "".join(text for _, _, text in lines(data)) == b"".join(chunks).decode("utf-8", "replace")


def test_a_mark_is_a_marker() -> None:
    """With nothing in it that acts on a terminal."""
    assert json.loads(cast().encode(Mark(text="file.uploaded /tmp/\x1b[2J"), 1.5)) == [1.5, "m", "file.uploaded /tmp/\\x1b[2J"]
