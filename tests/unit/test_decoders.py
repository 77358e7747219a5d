"""The decoders of byte streams give the same whatever the chunks, and refuse what they cannot trust."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.decoders import EventStream, RecordIO, record_length
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
def test_events_come_out_however_the_chunks_fall(places: list[int]) -> None:
    """Names and data, over several lines too; comments, other fields and events without a name are passed over."""
    stream = (
        b'event: status_update_event\r\ndata: {"event: no": 1}\r\n\r\n: ping\n\r\n\n'
        b"id: 7\nevent:app_terminated_event\ndata: x\ndata:y\n\ndata: nameless\n\nevent: half\n"
    )
    decoder = EventStream()
    found = [event for chunk in _cut(stream, places) for event in decoder.feed(chunk)]
    assert found == [("status_update_event", b'{"event: no": 1}'), ("app_terminated_event", b"x\ny")]


@pytest.mark.parametrize("lines", [[b"x" * 5_000_000], [b"x" * 20, b"x" * 20], [b"x" * 33], [b""] * 34])
def test_data_of_megabytes_is_not_kept(lines: list[bytes]) -> None:
    """A heavy event's data is dropped as it comes, its name stays, and the next event is still read."""
    decoder = EventStream(max_name=8, max_data=32)
    for line in (b"event: deployment_info", *(b"data: " + each for each in lines)):
        assert decoder.feed(line) == []
        assert decoder.feed(b"\n") == []
        assert len(decoder._line) == 0
    assert decoder.feed(b"\nevent: next\ndata: " + b"x" * 32 + b"\n\n") == [("deployme", b""), ("next", b"x" * 32)]
