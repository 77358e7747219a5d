"""The decoders of byte streams give the same whatever the chunks, and refuse what they cannot trust."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.decoders import EventNames, RecordIO, record_length
from octopus.core.errors import BadUpstream


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


@given(st.lists(st.binary(max_size=60), max_size=8), st.lists(st.integers(0, 500), max_size=20))
def test_records_come_out_whole_however_the_chunks_fall(records: list[bytes], places: list[int]) -> None:
    """Records come out as they went in, in order, and nothing is left pending."""
    stream = b"".join(b"%d\n%s" % (len(record), record) for record in records)
    decoder = RecordIO(max_record=100)
    assert [record for chunk in _cut(stream, places) for record in decoder.feed(chunk)] == records
    assert not decoder.pending


@given(st.binary(max_size=200))
def test_any_bytes_give_records_or_bad_upstream(data: bytes) -> None:
    """Garbage raises BadUpstream and nothing else, and no record passes the limit."""
    with contextlib.suppress(BadUpstream):
        assert all(len(record) <= 50 for record in RecordIO(max_record=50).feed(data))


@pytest.mark.parametrize("header", [b"", b"+5", b"-1", b" 5", b"5 ", b"0x5", b"1_0", "\u0665".encode(), b"1" * 21])
def test_a_length_is_digits_only(header: bytes) -> None:
    """What int() would take but is no length is refused."""
    with pytest.raises(BadUpstream, match="not a number"):
        record_length(header, 100)


def test_a_record_above_the_limit_is_refused_before_it_comes() -> None:
    """The announced length alone is enough to refuse."""
    with pytest.raises(BadUpstream, match="more than 100"):
        RecordIO(max_record=100).feed(b"101\n")


def test_a_header_that_never_ends_is_refused() -> None:
    """Twenty digits are the most that are kept waiting for a newline."""
    decoder = RecordIO()
    with pytest.raises(BadUpstream):
        decoder.feed(b"0" * 21)


def test_a_cut_record_is_pending() -> None:
    """A stream that ends inside a record, or in its length, can be told from one that ended well."""
    decoder = RecordIO()
    assert decoder.feed(b"5") == []
    assert decoder.pending
    assert decoder.feed(b"\nab") == []
    assert decoder.pending
    assert decoder.feed(b"cde") == [b"abcde"]
    assert not decoder.pending


@given(st.lists(st.integers(0, 200), max_size=20))
def test_event_names_come_out_however_the_chunks_fall(places: list[int]) -> None:
    """Names are read from ``event:`` lines only; data and comments are skipped, whatever the line ends."""
    stream = b'event: status_update_event\r\ndata: {"event: no": 1}\r\n\r\n: ping\n\nevent:app_terminated_event\ndata: x\n\n'
    decoder = EventNames()
    names = [name for chunk in _cut(stream, places) for name in decoder.feed(chunk)]
    assert names == ["status_update_event", "app_terminated_event"]


def test_a_line_of_megabytes_is_not_kept() -> None:
    """A heavy event's data is dropped as it comes and the next event is still read."""
    decoder = EventNames(max_name=32)
    assert decoder.feed(b"data: " + b"x" * 5_000_000) == []
    assert decoder.feed(b"x" * 5_000_000 + b"\nevent: next\n") == ["next"]
