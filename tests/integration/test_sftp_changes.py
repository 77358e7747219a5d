"""A file open for reading and writing at once, by the helper as it is: a client reads back what it wrote."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

from asyncssh.packet import String, UInt32, UInt64
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus.session.sftp_wire import Open, Request
from tests.integration.test_files_script import served
from tests.integration.test_sftp_server import serving

_STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "read", "truncate"]), st.integers(0, 5000), st.binary(max_size=2000), st.integers(0, 4000)),
    max_size=12,
)


@settings(max_examples=10, deadline=None)
@given(st.binary(max_size=3000), st.booleans(), _STEPS)
async def test_what_is_read_back_is_what_was_written(before: bytes, new: bool, steps: list[tuple[str, int, bytes, int]]) -> None:
    """At any offset, after any change, of a file that was there and of one that is new, as on a local file; with one end each way."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        (home / "a").write_bytes(before)
        (home / "oracle").write_bytes(b"" if new else before)
        flags = Open.READ | Open.WRITE | (Open.CREAT | Open.TRUNC if new else 0)
        async with served(home, "dash") as files, serving(home, files=cast(Any, files)) as (peer, task):
            with (home / "oracle").open("r+b") as oracle:
                handle = await peer.open(bytes(home / "a"), flags)
                for step, offset, data, size in steps:
                    oracle.seek(offset)
                    if step == "write":
                        oracle.write(data)
                        assert await peer.status(Request.WRITE, handle, UInt64(offset), String(data)) == 0
                    elif step == "truncate":
                        oracle.truncate(size)
                        assert await peer.status(Request.FSETSTAT, handle, UInt32(1), UInt64(size)) == 0
                    else:
                        assert await peer.read(handle, offset, size) == oracle.read(size)
                    oracle.flush()
            assert await peer.status(Request.CLOSE, handle) == 0
            peer.eof()
            await task
            ends = [event for event, _ in peer.events]
            assert (ends.count("file.uploaded"), ends.count("file.downloaded") <= 1) == (1, True)
        assert (home / "a").read_bytes() == (home / "oracle").read_bytes()
