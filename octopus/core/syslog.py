"""Lines of the trail as syslog messages (RFC 5424), and how they are told apart in a stream (RFC 6587 3.4.1, RFC 5425 4.3)."""

from __future__ import annotations

import re

import msgspec

from octopus.core.types import Value

AUDIT = 13
"""The facility: log audit (RFC 5424 6.2.1)."""
NOTICE, INFORMATIONAL = 5, 6

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{1,6})?Z")
_EVENT = re.compile(r"[!-~]{1,32}")
_HOST = re.compile(r"[!-~]{1,255}")
_REMARKABLE = (".refused", ".denied", ".failed", ".repaired")


class _Line(Value, frozen=True):
    seq: int = 0
    time: str = ""
    event: str = ""
    session: str = ""
    hash: str = ""


def message(line: bytes, *, host: str, process: int) -> bytes:
    """Return a message whose text is the line as it stands, so that the chain can be proven from what was collected.

    Its time is the event's, its MSGID the event; refusals and failures are notices, all else is informational.
    """
    read = _read(line)
    severity = NOTICE if read.event.endswith(_REMARKABLE) else INFORMATIONAL
    time, name, where = (_held(*one) for one in ((read.time, _TIME), (read.event, _EVENT), (host, _HOST)))
    return f"<{AUDIT * 8 + severity}>1 {time} {where} octopus {process} {name} - ".encode() + line.rstrip(b"\n")


def shortened(line: bytes) -> bytes:
    """Return what stands for a line that is too long for the way: its place in the chain and its length."""
    read = _read(line)
    known = {"seq": read.seq, "time": read.time, "event": read.event[:64], "session": read.session[:64], "hash": read.hash[:64]}
    return msgspec.json.encode(known | {"bytes_left_out": len(line)})


def framed(one: bytes) -> bytes:
    """Return a message with its length in front (octet counting)."""
    return b"%d %b" % (len(one), one)


def _read(line: bytes) -> _Line:
    try:
        return msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Line()


def _held(text: str, pattern: re.Pattern[str]) -> str:
    return text if pattern.fullmatch(text) else "-"
