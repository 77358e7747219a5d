"""Each file that was open when something broke has one end on the trail, whatever became of the others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest
from asyncssh.packet import String, UInt64

from octopus.core.errors import ContainerUnavailable, SessionEnded
from octopus.core.files import Passed, Place, WriteMode
from octopus.core.ports import FileReader, FileWriter
from octopus.session.sftp_wire import Open, Request
from tests.integration.test_sftp_server import WRITE_NEW, left, serving
from tests.parts.local_files import LocalFiles


class FarFiles(LocalFiles):
    """Files of this machine as behind an engine, which is gone once ``cut``; closing a file for reading waits for ``near``."""

    def __init__(self, home: bytes) -> None:
        super().__init__(home)
        self.cut = False
        self.near = asyncio.Event()
        self.near.set()
        self.closing = asyncio.Event()

    async def open_read(self, place: Place) -> FileReader:
        """See ``ContainerFiles.open_read``."""
        return cast(FileReader, Far(self, await super().open_read(place)))

    async def open_write(self, place: Place, mode: WriteMode) -> FileWriter:
        """See ``ContainerFiles.open_write``."""
        return cast(FileWriter, Far(self, await super().open_write(place, mode)))

    async def remove(self, place: Place) -> None:
        """See ``ContainerFiles.remove``; its answer is lost."""
        await super().remove(place)
        self.check()

    def check(self) -> None:
        """Raise ContainerUnavailable once the engine is gone."""
        if self.cut:
            raise ContainerUnavailable("engine: gone", notice="the engine does not answer")


class Far:
    """An open file of ``FarFiles``."""

    def __init__(self, files: FarFiles, near: FileReader | FileWriter) -> None:
        self._files = files
        self._near = near

    def __getattr__(self, name: str) -> object:
        return getattr(self._near, name)

    async def close(self) -> Passed:
        """See ``FileReader.close`` and ``FileWriter.close``."""
        if hasattr(self._near, "write"):
            self._files.check()
        else:
            self._files.closing.set()
            await self._files.near.wait()
        return await self._near.close()


@pytest.mark.parametrize("last", [Request.CLOSE, Request.REMOVE])
async def test_an_engine_that_is_gone_at_the_end_of_one_file(tmp_path: Path, last: Request) -> None:
    """Its end is told as a failure, so is that of all others that were open; nothing is left of any."""
    (tmp_path / "down").write_bytes(b"down")
    files = FarFiles(bytes(tmp_path))
    async with serving(tmp_path, files=files) as (peer, task):
        handles = [await peer.open(name, WRITE_NEW) for name in (b"one", b"two", b"three")]
        for handle in handles:
            await peer.status(Request.WRITE, handle, UInt64(0), String(b"half"))
        assert await peer.read(await peer.open(b"down", Open.READ), 0, 2) == b"do"
        files.cut = True
        peer.send(last, handles[0] if last is Request.CLOSE else String(b"down"))
        with pytest.raises(ContainerUnavailable):
            await task
    told = sorted((event, data["asked"], data["complete"]) for event, data in peer.events)
    removed = [("file.removed", "down", False)] if last is Request.REMOVE else []
    assert told == [("file.downloaded", "down", False), *removed, *(("file.uploaded", name, False) for name in ("one", "three", "two"))]
    assert left(tmp_path) == ([] if removed else ["down"])


async def test_a_session_that_is_ended_while_a_file_is_being_closed(tmp_path: Path) -> None:
    """What was read of it is on the trail, once."""
    (tmp_path / "down").write_bytes(b"down")
    files = FarFiles(bytes(tmp_path))
    async with serving(tmp_path, files=files) as (peer, task):
        handle = await peer.open(b"down", Open.READ)
        await peer.read(handle, 0, 10)
        files.near.clear()
        peer.send(Request.CLOSE, handle)
        await files.closing.wait()
        peer.ended.set_result("enough")
        for _ in range(10):
            await asyncio.sleep(0)
        files.near.set()
        with pytest.raises(SessionEnded):
            await task
    assert [(event, data["complete"]) for event, data in peer.events] == [("file.downloaded", True)]
