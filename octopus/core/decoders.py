"""Decoders of byte streams: RecordIO (Mesos docs/recordio.md) and event streams (SSE)."""

from __future__ import annotations

from octopus.core.errors import BadUpstream

MAX_HEADER = 20
"""Digits of a record's length; 20 hold every 64-bit number."""

MAX_RECORD = 16 * 1024 * 1024
MAX_EVENT_NAME = 256
MAX_EVENT_DATA = 256 * 1024
_DIGITS = frozenset(b"0123456789")


def record_length(header: bytes, max_record: int, source: str = "RecordIO") -> int:
    """Return the length a record announces (ASCII decimal digits, nothing else). Raise BadUpstream."""
    if not header or len(header) > MAX_HEADER or not _DIGITS.issuperset(header):
        raise BadUpstream(source, "a record's length is not a number", header[:MAX_HEADER])
    length = int(header)
    if length > max_record:
        raise BadUpstream(source, f"a record of {length} bytes, more than {max_record}")
    return length


class RecordIO:
    """Cuts a RecordIO stream into records: a decimal length, a newline, that many bytes; however the chunks fall."""

    def __init__(self, max_record: int = MAX_RECORD, source: str = "RecordIO") -> None:
        self._max_record = max_record
        self._source = source
        self._buffer = bytearray()
        self._length: int | None = None

    @property
    def pending(self) -> bool:
        """Whether a record has begun and is not complete: a stream that ends here was cut."""
        return bool(self._buffer) or self._length is not None

    def feed(self, data: bytes) -> list[bytes]:
        """Return the records that ``data`` completes. Raise BadUpstream on a length that is none, or too large."""
        self._buffer += data
        records = []
        while (record := self._next()) is not None:
            records.append(record)
        return records

    def _next(self) -> bytes | None:
        if self._length is None and not self._read_header():
            return None
        length = self._length or 0
        if len(self._buffer) < length:
            return None
        record = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._length = None
        return record

    def _read_header(self) -> bool:
        end = self._buffer.find(b"\n", 0, MAX_HEADER + 1)
        if end < 0:
            record_length(bytes(self._buffer[: MAX_HEADER + 1]) or b"0", self._max_record, self._source)
            return False
        self._length = record_length(bytes(self._buffer[:end]), self._max_record, self._source)
        del self._buffer[: end + 1]
        return True


class EventStream:
    """Reads an event stream (WHATWG server-sent events, lines ended by LF or CR LF): each event's name and data.

    Marathon's plans may be megabytes: an event's data is dropped, and given as b"", where it is longer than ``max_data`` bytes.
    """

    def __init__(self, max_name: int = MAX_EVENT_NAME, max_data: int = MAX_EVENT_DATA) -> None:
        self._max_name = max_name
        self._max_data = max_data
        self._line = bytearray()
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """Return name and data of the events that ``data`` completes."""
        *ended, rest = data.split(b"\n")
        found = []
        for part in ended:
            self._keep(part)
            line = bytes(self._line).rstrip(b"\r")
            self._line.clear()
            if line:
                self._take(line)
            elif event := self._complete():
                found.append(event)
        self._keep(rest)
        return found

    def _keep(self, part: bytes) -> None:
        # One byte more than can be data, so that what is too long shows.
        self._line += part[: max(0, self._max_data + len(b"data: ") + 1 - len(self._line))]

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value[: self._max_name].decode("utf-8", "replace").strip()
        elif field == b"data":
            self._size += len(value) + bool(self._data)  # with the newline between two of them
            if self._size <= self._max_data:
                self._data.append(value)

    def _complete(self) -> tuple[str, bytes] | None:
        name, data = self._name, b"\n".join(self._data) if self._size <= self._max_data else b""
        self._name, self._data, self._size = "", [], 0
        return (name, data) if name else None
