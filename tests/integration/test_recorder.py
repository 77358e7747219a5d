"""Recordings on a real disk: complete or visibly not, private, never lost silently."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from octopus.core.errors import RecordingUnavailable
from octopus.core.types import Output, Pty, Resize, TermSize
from octopus.session.recorder import Recordings

PTY = Pty(term="xterm", size=TermSize(cols=80, rows=24))


def ticking() -> Callable[[], float]:
    """Return a clock that starts on 14 November 2023 and gains a quarter of a second with every look."""
    ticks = iter(range(10**9))
    return lambda: 1_700_000_000 + next(ticks) / 4


@pytest.fixture
def recordings(tmp_path: Path) -> Iterator[Recordings]:
    """Recordings below ``tmp_path``."""
    recordings = Recordings(tmp_path, clock=ticking())
    yield recordings
    recordings.close()


async def test_complete_recording_has_its_name_mode_and_hash(recordings: Recordings, tmp_path: Path) -> None:
    """A finished recording lies under its day, is readable by its owner only, and its hash is that of the file."""
    recorder = await recordings.open("s-1", PTY, title="/app")
    await recorder.write(Output(data=b"hello\r\n"))
    assert (tmp_path / "2023/11/14/s-1.cast.part").read_bytes().count(b"\n") == 2
    await recorder.write(Resize(size=TermSize(cols=100, rows=30)))
    recording = await recorder.finish()
    file = tmp_path / "2023/11/14/s-1.cast"
    assert (recording.path, recording.size) == ("2023/11/14/s-1.cast", file.stat().st_size)
    assert recording.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not file.with_name("s-1.cast.part").exists()


async def test_written_before_the_call_returns(recordings: Recordings, tmp_path: Path) -> None:
    """When ``write`` returns, another process already sees the event in the file."""
    recorder = await recordings.open("s-1", PTY, title="")
    for number in range(20):
        await recorder.write(Output(data=b"%d" % number))
        last = (tmp_path / "2023/11/14/s-1.cast.part").read_bytes().splitlines()[-1]
        assert json.loads(last)[2] == str(number)
    await recorder.finish()


async def test_asciinema_replays_it(recordings: Recordings, tmp_path: Path) -> None:
    """``asciinema cat`` prints what the terminal showed, byte for byte."""
    recorder = await recordings.open("s-1", PTY, title="/app")
    shown = "\x1b[31mrot\x1b[0m €uro \t\r\n".encode()
    for byte in shown:
        await recorder.write(Output(data=bytes([byte])))
    recording = await recorder.finish()
    assert await asyncio.to_thread(_replayed, tmp_path, recording.path) == shown


def _replayed(home: Path, recording: str) -> bytes:
    command = [sys.executable, "-m", "asciinema", "cat", str(home / recording)]
    return subprocess.run(command, capture_output=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(home)}).stdout


async def test_existing_file_is_never_touched(recordings: Recordings) -> None:
    """A session id that was already used for a recording refuses the new one."""
    await recordings.open("s-1", PTY, title="")
    with pytest.raises(RecordingUnavailable):
        await recordings.open("s-1", PTY, title="")


@pytest.mark.parametrize("session", ["", "../s", "a/b", "s\n", "s" * 80])
async def test_odd_session_ids_name_no_file(recordings: Recordings, session: str) -> None:
    """Only plain ids become file names."""
    with pytest.raises(RecordingUnavailable):
        await recordings.open(session, PTY, title="")


async def test_full_recording_refuses_and_stays_partial(tmp_path: Path) -> None:
    """Past its limit a recording takes nothing more, and keeps the name of an incomplete one."""
    recordings = Recordings(tmp_path, clock=ticking(), max_bytes=300)
    recorder = await recordings.open("s-1", PTY, title="")
    with pytest.raises(RecordingUnavailable):
        await recorder.write(Output(data=b"x" * 400))
    with pytest.raises(RecordingUnavailable):
        await recorder.write(Output(data=b"y"))
    with pytest.raises(RecordingUnavailable):
        await recorder.finish()
    assert [file.name for file in tmp_path.rglob("s-1*")] == ["s-1.cast.part"]
    recordings.close()


async def test_full_disk_refuses(recordings: Recordings, tmp_path: Path) -> None:
    """A device without space is RecordingUnavailable, not a lost event."""
    recorder = await recordings.open("s-1", PTY, title="")
    with Path("/dev/full").open("wb", buffering=0) as full:
        os.dup2(full.fileno(), recorder._file._fd)
    with pytest.raises(RecordingUnavailable, match="No space left"):
        await recorder.write(Output(data=b"x"))


async def test_disk_that_hangs_ends_within_the_timeout(tmp_path: Path) -> None:
    """A write that does not return in time is an error for its own session; the event loop goes on meanwhile."""
    recordings = Recordings(tmp_path, clock=ticking(), timeout=0.2, threads=1)
    recorder = await recordings.open("s-1", PTY, title="")
    # A pipe nobody reads is a disk that hangs: its buffer holds 64 KiB.
    reader, writer = os.pipe()
    os.dup2(writer, recorder._file._fd)
    os.close(writer)
    try:
        with pytest.raises(RecordingUnavailable, match="timed out"):
            await recorder.write(Output(data=b"x" * 200_000))
    finally:
        os.close(reader)
        recordings.close()


async def test_cancelled_write_is_still_whole(recordings: Recordings, tmp_path: Path) -> None:
    """A caller cancelled in the middle of a write leaves whole lines, and the recording can be finished."""
    recorder = await recordings.open("s-1", PTY, title="")
    for _ in range(10):
        writing = asyncio.create_task(recorder.write(Output(data=b"z" * 100_000)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        writing.cancel()
    await recorder.finish()
    lines = (tmp_path / "2023/11/14/s-1.cast").read_bytes().splitlines()
    assert all(json.loads(line) for line in lines)
