"""A body in chunks comes out as it went in, however it is cut on its way."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.errors import BadUpstream
from octopus.engine.hijack import Head
from octopus.engine.http_body import Body, Chunked
from octopus.engine.transport import ByteStream


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), st.lists(st.integers(1, 60)), st.binary(max_size=10))
def test_chunks_are_taken_apart_wherever_they_are_cut(chunks: list[bytes], cuts: list[int], trailer: bytes) -> None:
    """Content is whole and in order, the end is seen with its last byte and not before, and what follows it is no content."""
    wire = b"".join(b"%x;note\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n"
    body, content, at = Chunked(), b"", 0
    for cut in [*cuts, len(wire)]:
        if at < len(wire):
            assert not body.ended
            content += body.feed(wire[at : at + cut])
            at += cut
    assert content == b"".join(chunks)
    assert body.ended
    assert body.feed(trailer) == b""


class Ended:
    """A stream at its end."""

    async def read(self, size: int) -> bytes:
        """Return nothing."""
        return b""


async def test_a_length_that_is_none_says_nothing() -> None:
    """The body is then what comes to the connection's end, as without one."""
    body = Body(cast(ByteStream, Ended()), Head(200, {"content-length": "9" * 5000}), b"all", 100)
    assert [piece async for piece in body.pieces()] == [b"all"]


@pytest.mark.parametrize("wire", [b"x\r\n", b"\r\n", b"-1\r\n", b"5\r\nhello!\r\n", b"f" * 9 + b"\r\n", b"1" * 100_000])
def test_what_is_no_chunk_is_the_engines_fault(wire: bytes) -> None:
    """Also a line that never ends, which is not collected."""
    with pytest.raises(BadUpstream):
        Chunked().feed(wire)
