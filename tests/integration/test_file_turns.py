"""Nobody holds up the process that serves others too, and nothing of a closed file stays in it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

from asyncssh.packet import String

from octopus.core.files import FileAttributes, FileEntry, Place
from octopus.core.types import ClientEvent, FileRights, Input, InputEof
from octopus.session.file_access import FileAccess
from octopus.session.file_stream import FileStream
from octopus.session.file_trail import FileTrail
from octopus.session.recorder import Recordings
from octopus.session.relay import Traffic
from octopus.session.scp_command import ScpCommand
from octopus.session.scp_sink import ScpSink
from octopus.session.sftp_wire import Request
from tests.integration.test_files_script import served
from tests.integration.test_sftp_server import serving
from tests.parts.local_files import LocalFiles

BATCHES = 200


class ManyFiles(LocalFiles):
    """A directory of many names, all of them at hand."""

    async def entries(self, place: Place) -> AsyncIterator[tuple[FileEntry, ...]]:
        """See ``ContainerFiles.entries``."""
        attributes = FileAttributes(mode=0o100644, size=0, uid=0, gid=0, atime=0, mtime=0)
        for batch in range(BATCHES):
            yield tuple(FileEntry(name=b"%d-%d" % (batch, number), attributes=attributes) for number in range(10))


class Turns:
    """Counts the turns that others have meanwhile."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        """Count for ever."""
        while True:
            await asyncio.sleep(0)
            self.count += 1


async def test_a_directory_of_many_names_that_are_not_shown(tmp_path: Path) -> None:
    """Others have their turn after each batch, though none of the names is for this client."""
    turns = Turns()
    counting = asyncio.create_task(turns.run())
    rights = FileRights(download=True, paths=(f"{tmp_path}/there/**",))
    async with serving(tmp_path, rights, ManyFiles(bytes(tmp_path))) as (peer, _):
        begun = turns.count
        await peer.ask(Request.OPENDIR, String(bytes(tmp_path)))
        assert turns.count - begun >= BATCHES
    counting.cancel()


class Flooding:
    """A client that sends the same lines without end, as fast as they are taken; ``taken`` of them were."""

    def __init__(self, line: bytes, packets: int) -> None:
        self.gone = asyncio.Event()
        self._packets = [line * 1000] * packets

    async def next_event(self) -> ClientEvent:
        """See ``Client``."""
        return Input(data=self._packets.pop()) if self._packets else InputEof()

    async def write(self, data: bytes, *, stderr: bool = False) -> None:
        """See ``Client``."""


async def test_an_scp_client_that_floods_with_lines(tmp_path: Path) -> None:
    """Others have their turn after each."""
    turns = Turns()
    counting = asyncio.create_task(turns.run())
    files, recordings = LocalFiles(bytes(tmp_path)), Recordings(tmp_path / "recordings", clock=lambda: 0.0)

    async def record(event: str, key: str, data: dict[str, object]) -> None:
        """Keep nothing."""

    access = FileAccess(files, FileRights(upload=True), FileTrail(record), recordings.copies("s-1", 0))
    stream = FileStream(Flooding(b"\1\n", 2), Traffic(), lambda: None)
    await asyncio.sleep(0)
    begun = turns.count
    assert await ScpSink(stream, access, ScpCommand(receive=True, paths=(b".",))).run() == 1
    assert turns.count - begun >= 2000
    counting.cancel()
    recordings.close()
    await files.aclose()


async def test_nothing_is_kept_of_a_file_that_was_read(tmp_path: Path) -> None:
    """A session may read files for days."""
    async with served(tmp_path, "dash") as files:
        (tmp_path / "file").write_text("content")
        reader = await files.open_read(await files.resolve(b"file", ahead=True))
        assert await reader.read(0, 100) == b"content"
        assert (await reader.close()).size == 7
        left = weakref.ref(reader)
        del reader
        gc.collect()
        assert left() is None
