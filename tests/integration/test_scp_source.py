"""scp's own protocol, sending, over a directory of this machine: what a pattern may cost the process that serves others too."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from octopus.core.types import ClientEvent, FileRights, Input
from octopus.session.file_access import FileAccess
from octopus.session.file_copies import FileCopies
from octopus.session.file_stream import FileStream
from octopus.session.file_trail import FileTrail
from octopus.session.recorder import Recordings
from octopus.session.relay import Traffic
from octopus.session.scp_command import ScpCommand
from octopus.session.scp_source import ScpSource
from tests.parts.local_files import LocalFiles


class Agreeing:
    """A client that agrees to everything; ``sent`` is what came."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.sent = b""

    async def next_event(self) -> ClientEvent:
        """See ``Client``."""
        return Input(data=b"\0")

    async def write(self, data: bytes, *, stderr: bool = False) -> None:
        """See ``Client``."""
        self.sent += data


async def sent(home: Path, *paths: bytes, **limits: int) -> tuple[int, bytes]:
    """Return status and what ``scp -f`` sends of these paths."""
    client, files = Agreeing(), LocalFiles(bytes(home))
    events: deque[str] = deque()

    async def record(event: str, key: str, data: dict[str, Any]) -> None:
        events.append(event)

    recordings = Recordings(home / "recordings", clock=lambda: 0.0)
    copies: FileCopies = recordings.copies("s-1", 0)
    access = FileAccess(files, FileRights(download=True), FileTrail(record), copies)
    stream = FileStream(client, Traffic(), lambda: None)
    status = await ScpSource(stream, access, ScpCommand(receive=False, paths=paths), **limits).run()
    recordings.close()
    await files.aclose()
    return status, client.sent


def tree(home: Path) -> None:
    """Make 27 files in three levels, and one besides."""
    for number in range(27):
        path = home / f"d/{number % 3}/{number // 3 % 3}/{number // 9}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (home / "one").write_bytes(b"1")


@pytest.mark.parametrize("pattern", [b"d/*/*/*", b"d/*/*/0", b"*/" * 700 + b"x"])
async def test_a_pattern_without_end_is_refused(tmp_path: Path, pattern: bytes) -> None:
    """It is told, and what is asked for besides comes."""
    tree(tmp_path)
    status, answer = await sent(tmp_path, pattern, b"one", max_matches=8)
    assert status == 1
    assert b"fits too many" in answer
    assert answer.endswith(b" 1 one\n1\0")


async def test_a_pattern_at_the_limit_is_served(tmp_path: Path) -> None:
    """Each file it fits, in their order."""
    tree(tmp_path)
    status, answer = await sent(tmp_path, b"d/*/*/*", max_matches=27)
    assert (status, answer.count(b"C0")) == (0, 27)
