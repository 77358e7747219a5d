"""A file open for reading and writing at once, by the helper as it is: a client reads back what it wrote."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from octopus.session.sftp_wire import Open, Request
from tests.integration.test_files_script import served
from tests.integration.test_sftp_server import STEPS, Steps, in_step, serving


@settings(max_examples=10, deadline=None)
@given(st.binary(max_size=3000), st.booleans(), STEPS)
async def test_what_is_read_back_is_what_was_written(before: bytes, new: bool, steps: Steps) -> None:
    """At any offset, after any change, of a file that was there and of one that is new, as on a local file; with one end each way."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        (home / "a").write_bytes(before)
        (home / "oracle").write_bytes(b"" if new else before)
        flags = Open.READ | Open.WRITE | (Open.CREAT | Open.TRUNC if new else 0)
        async with served(home, "dash") as files, serving(home, files=cast(Any, files)) as (peer, task):
            with (home / "oracle").open("r+b") as oracle:
                handle = await peer.open(bytes(home / "a"), flags)
                await in_step(peer, handle, oracle, steps)
            assert await peer.status(Request.CLOSE, handle) == 0
            peer.eof()
            await task
            ends = [event for event, _ in peer.events]
            assert (ends.count("file.uploaded"), ends.count("file.downloaded") <= 1) == (1, True)
        assert (home / "a").read_bytes() == (home / "oracle").read_bytes()
