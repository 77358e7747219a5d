"""A line of the trail as a syslog message: as it stands, in a form that every collector reads."""

from __future__ import annotations

import json

import pytest

from octopus.core.syslog import framed, message, shortened

LINE = b'{"seq":7,"prev":"0","time":"2026-01-31T12:00:00.000001Z","event":"exec","session":"s-1","command":"\xc3\xa4","hash":"ab"}\n'


def test_the_line_is_the_text() -> None:
    """Facility log audit, the event's own time, the event as MSGID, and every byte of the line but its newline."""
    assert message(LINE, host="gate-1", process=42) == b"<110>1 2026-01-31T12:00:00.000001Z gate-1 octopus 42 exec - " + LINE[:-1]


@pytest.mark.parametrize("event", ["auth.refused", "session.denied", "session.failed", "audit.repaired"])
def test_what_failed_or_was_refused_is_a_notice(event: str) -> None:
    """Severity 5, so that a collector can tell it."""
    assert message(LINE.replace(b"exec", event.encode()), host="h", process=1).startswith(b"<109>1 ")


@pytest.mark.parametrize(
    "line", [b"\xff\n", b"{}\n", b'{"time":"now then","event":"a b"}\n', b'{"time":"","event":"' + b"x" * 33 + b'"}\n', b'{"seq":"x"}\n']
)
def test_what_somebody_altered_breaks_no_header(line: bytes) -> None:
    """Fields that are not what they should be are nil, and the line goes along."""
    assert message(line, host="two words", process=1) == b"<110>1 - - octopus 1 - - " + line[:-1]


def test_a_frame_begins_with_its_length() -> None:
    """Octet counting, in bytes."""
    assert framed("ä\n".encode()) == b"3 \xc3\xa4\n"


def test_what_is_too_long_is_told_by_its_place() -> None:
    """Number, hash, event and session say which line it is."""
    told = json.loads(shortened(LINE))
    assert told == {
        "seq": 7,
        "time": "2026-01-31T12:00:00.000001Z",
        "event": "exec",
        "session": "s-1",
        "hash": "ab",
        "bytes_left_out": len(LINE),
    }
