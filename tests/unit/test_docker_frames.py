"""The decoder of Docker's multiplexed stream."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.docker_frames import FrameDecoder
from octopus.core.errors import BadUpstream
from octopus.core.types import Output

FRAMES = st.lists(st.tuples(st.booleans(), st.binary(max_size=40)), max_size=8)


def frame(payload: bytes, *, stderr: bool = False) -> bytes:
    """One frame as the engine sends it."""
    return struct.pack(">BxxxL", 2 if stderr else 1, len(payload)) + payload


@given(FRAMES, st.data())
def test_any_cut_of_the_stream_gives_the_same_bytes_in_the_same_order(frames: list[tuple[bool, bytes]], draw: st.DataObject) -> None:
    """Wherever reads end, the decoded bytes are those that were framed, each on its own side."""
    wire = b"".join(frame(payload, stderr=stderr) for stderr, payload in frames)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    decoder = FrameDecoder()
    bounds = [0, *cuts, len(wire)]
    outputs = [out for start, end in itertools.pairwise(bounds) for out in decoder.feed(wire[start:end])]
    decoder.finish()
    assert [(o.stderr, bytes([b])) for o in outputs for b in o.data] == [(stderr, bytes([b])) for stderr, data in frames for b in data]
    assert all(out.data for out in outputs)


def test_payload_is_passed_on_before_its_frame_is_complete() -> None:
    """A frame of 4 GiB costs no memory: what came is handed on at once."""
    decoder = FrameDecoder()
    assert decoder.feed(struct.pack(">BxxxL", 1, 0xFFFFFFFF) + b"first") == [Output(data=b"first")]
    assert decoder.feed(b"second") == [Output(data=b"second")]


def test_an_empty_frame_yields_nothing() -> None:
    """Length zero is legal and carries no output."""
    decoder = FrameDecoder()
    assert decoder.feed(frame(b"") + frame(b"x", stderr=True)) == [Output(data=b"x", stderr=True)]


@pytest.mark.parametrize("wire", [b"\x03\0\0\0\0\0\0\x01", b"\x01\0\x01\0\0\0\0\x01", b"HTTP/1.1"])
def test_what_is_no_header_is_the_engines_fault(wire: bytes) -> None:
    """An unknown stream or non-zero reserved bytes are not read as a length."""
    with pytest.raises(BadUpstream, match="not a frame header"):
        FrameDecoder().feed(wire)


@pytest.mark.parametrize("wire", [b"\x01\0\0", frame(b"payload")[:-1]])
def test_a_stream_that_ends_inside_a_frame_is_cut_not_complete(wire: bytes) -> None:
    """Truncated output never passes for the whole."""
    decoder = FrameDecoder()
    decoder.feed(wire)
    with pytest.raises(BadUpstream, match="inside a frame"):
        decoder.finish()
