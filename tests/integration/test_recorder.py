"""Recordings on a real disk: complete or visibly not, private, never lost silently."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from octopus.control.recordings import complete
from octopus.core.errors import RecordingUnavailable
from octopus.core.types import Output, Pty, Resize, TermSize
from octopus.core.write_ahead import SLOT, unpack
from octopus.session.cast_file import ROOM
from octopus.session.recorder import Recordings, TerminalRecorder
from octopus.session.write_ahead import WriteAhead
from tests.parts.tools import missing
from tests.streams import until

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


@pytest.fixture
def ahead(tmp_path: Path) -> Iterator[Recordings]:
    """Recordings below ``tmp_path`` whose lines are kept in ``tmp_path / "ahead"`` until the disk has them."""
    recordings = Recordings(tmp_path, clock=ticking(), ahead=WriteAhead(tmp_path / "ahead"), timeout=0.5)
    yield recordings
    recordings.close()


def hang(recorder: TerminalRecorder) -> int:
    """Let the recording's disk hang: a full pipe; return the end to read from for it to go on."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(writer, "wb", buffering=0) as pipe:
        while pipe.write(bytes(4096)):
            pass
        os.set_blocking(writer, True)
        os.dup2(writer, recorder._file._fd)
    return reader


async def type_on(recorder: TerminalRecorder) -> None:
    """Record key after key, without end."""
    while True:
        await recorder.write(Output(data=b"x"))
        await asyncio.sleep(0)


async def test_lines_kept_ahead_are_written_in_their_order(ahead: Recordings, tmp_path: Path) -> None:
    """Short ones, long ones, those with a pause between them: the recording is what it would be without."""
    recorder = await ahead.open("s-1", PTY, title="")
    part, texts = tmp_path / "2023/11/14/s-1.cast.part", []
    for number in range(300):
        texts.append(f"{number}." * (3000 if number % 7 == 6 else 1 + number % 3 * 200))
        await recorder.write(Output(data=texts[-1].encode()))
        if number % 50 == 0:
            await until(lambda: texts[-1] in part.read_text())
    recording = await recorder.finish()
    _, *events = (tmp_path / recording.path).read_bytes().splitlines()
    assert [json.loads(event)[2] for event in events] == texts
    assert recording.sha256 == hashlib.sha256((tmp_path / recording.path).read_bytes()).hexdigest()


async def test_what_can_be_recorded_at_once_is_or_is_not_at_all(ahead: Recordings, tmp_path: Path) -> None:
    """``write_now`` keeps a piece, characters cut between two of them too, or nothing of it: written the other way it is there once."""
    recorder = await ahead.open("s-1", PTY, title="")
    pieces = [bytes([byte]) for byte in "ein €uro ".encode() * 40] + [b"long" * 2000, b"end"]
    waited = 0
    for piece in pieces:
        if not recorder.write_now(Output(data=piece)):
            waited += 1
            await recorder.write(Output(data=piece))
    assert 1 <= waited < len(pieces) // 2
    recording = await recorder.finish()
    _, *events = (tmp_path / recording.path).read_bytes().splitlines()
    assert "".join(json.loads(event)[2] for event in events) == b"".join(pieces).decode()


async def test_nothing_is_recorded_at_once_beside_a_write_that_waits(ahead: Recordings) -> None:
    """It would overtake it."""
    recorder = await ahead.open("s-1", PTY, title="")
    waiting = asyncio.create_task(recorder.write(Output(data=b"long" * 2000)))
    await asyncio.sleep(0)
    assert not recorder.write_now(Output(data=b"x"))
    await waiting
    assert recorder.write_now(Output(data=b"x"))
    await recorder.finish()


async def test_without_a_place_of_its_own_nothing_is_recorded_at_once(recordings: Recordings) -> None:
    """Then each line waits for the disk."""
    recorder = await recordings.open("s-1", PTY, title="")
    assert not recorder.write_now(Output(data=b"x"))
    await recorder.finish()


async def test_a_line_is_kept_before_the_disk_has_it(ahead: Recordings, tmp_path: Path) -> None:
    """When ``write`` returns, who comes after this process finds the line, and where it belongs."""
    recorder = await ahead.open("s-1", PTY, title="")
    size = (tmp_path / "2023/11/14/s-1.cast.part").stat().st_size
    await recorder.write(Output(data=b"one"))
    await recorder.write(Output(data=b"two"))
    kept = unpack((tmp_path / "ahead").read_bytes())["s-1"]
    assert (kept.at, [json.loads(line)[2] for line in kept.lines.splitlines()]) == (size, ["one", "two"])
    assert stat.S_IMODE((tmp_path / "ahead").stat().st_mode) == 0o600
    await recorder.finish()


async def test_room_that_was_not_needed_is_given_back(ahead: Recordings, tmp_path: Path) -> None:
    """An open recording holds more of the disk than it has; a closed one, complete or not, does not."""
    recorder, failed = [await ahead.open(session, PTY, title="") for session in ("s-1", "s-2")]
    part, other = [tmp_path / f"2023/11/14/{session}.cast.part" for session in ("s-1", "s-2")]
    if part.stat().st_blocks * 512 < ROOM:
        missing("a file system that sets room aside (ext4, xfs, tmpfs)")
    recording = await recorder.finish()
    assert (tmp_path / recording.path).stat().st_blocks * 512 < ROOM
    failed._disk.failure = "failed"
    with pytest.raises(RecordingUnavailable):
        await failed.finish()
    await until(lambda: other.stat().st_blocks * 512 < ROOM)


async def test_places_of_recordings_that_are_closed_are_taken_again(ahead: Recordings, tmp_path: Path) -> None:
    """The file is as long as recordings were ever open at once."""
    for number in range(20):
        recorders = [await ahead.open(f"s-{number}-{one}", PTY, title="") for one in range(3)]
        for recorder in recorders:
            await recorder.write(Output(data=b"x"))
            await recorder.finish()
    assert (tmp_path / "ahead").stat().st_size <= 3 * SLOT


async def test_a_disk_that_hangs_is_told_by_the_next_line(ahead: Recordings) -> None:
    """One that was kept ahead may have been shown; the session ends before more is."""
    recorder = await ahead.open("s-1", PTY, title="")
    reader = hang(recorder)
    with pytest.raises(RecordingUnavailable, match="timed out"):
        await type_on(recorder)
    os.close(reader)


async def test_lines_that_waited_for_a_slow_disk_go_to_it_by_themselves(ahead: Recordings) -> None:
    """Once it answers, in their order, though nobody writes any more."""
    recorder = await ahead.open("s-1", PTY, title="")
    reader = hang(recorder)
    for number in range(5):
        await recorder.write(Output(data=b"<%d>" % number))
    seen = bytearray()
    while b"<4>" not in seen:
        seen += await asyncio.to_thread(os.read, reader, 65536)
    assert re.findall(rb"<\d>", seen) == [b"<%d>" % number for number in range(5)]
    os.close(reader)


async def test_a_failure_nobody_waited_for_is_told_by_the_next_line(ahead: Recordings) -> None:
    """A line that was kept ahead and could not be written leaves no hole behind which others follow."""
    recorder = await ahead.open("s-1", PTY, title="")
    with Path("/dev/full").open("wb", buffering=0) as full:
        os.dup2(full.fileno(), recorder._file._fd)
    with pytest.raises(RecordingUnavailable, match="No space left"):
        await type_on(recorder)
    with pytest.raises(RecordingUnavailable):
        await recorder.finish()


async def test_nothing_is_shown_any_more_once_the_disk_has_failed(ahead: Recordings) -> None:
    """Not even what there would be room for beside the disk: it would never come into the recording."""
    recorder = await ahead.open("s-1", PTY, title="")
    with Path("/dev/full").open("wb", buffering=0) as full:
        os.dup2(full.fileno(), recorder._file._fd)
    await recorder.write(Output(data=b"one"))
    await until(lambda: recorder._disk.failed)
    assert not recorder.write_now(Output(data=b"two"))
    with pytest.raises(RecordingUnavailable, match="No space left"):
        await recorder.write(Output(data=b"two"))


async def test_who_leaves_while_the_disk_is_slow_takes_no_lines_along(ahead: Recordings, tmp_path: Path) -> None:
    """Lines that were kept ahead have been shown: they are in the recording, whatever becomes of the one that waits behind them."""
    recorder = await ahead.open("s-1", PTY, title="")
    assert recorder._ahead is not None
    slow = threading.Event()
    for _ in range(4):
        ahead._threads.put(slow.wait)
    await recorder.write(Output(data=b"one"))
    recorder._ahead._hand_over()
    await recorder.write(Output(data=b"two"))
    waiting = asyncio.create_task(recorder.write(Output(data=b"long" * 2000)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    slow.set()
    recording = await recorder.finish()
    _, *events = (tmp_path / recording.path).read_bytes().splitlines()
    assert [json.loads(event)[2] for event in events] == ["one", "two"]


WRITER = """
import asyncio, sys, time
from pathlib import Path
from octopus.core.types import Output, Pty, TermSize
from octopus.session.cast_file import ROOM
from octopus.session.recorder import Recordings
from octopus.session.write_ahead import WriteAhead

PAUSES = 0, 0.001, 0.001  # a person's: lines come one by one, and two at a time

async def main(root):
    recordings = Recordings(root, clock=time.time, ahead=WriteAhead(root / "ahead"))
    recorder = await recordings.open("s-1", Pty(term="xterm", size=TermSize(cols=80, rows=24)), title="")
    for number in range(10**9):
        await recorder.write(Output(data=b"<%d>" % number * (1 + number % 5 * 100)))
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
        await asyncio.sleep(PAUSES[number % 3])

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("seed", range(5))
async def test_what_was_shown_by_a_worker_that_is_killed_is_in_its_recording(tmp_path: Path, seed: int) -> None:
    """Killed at any moment; every line whose ``write`` had returned is there, and what is there replays."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    for _ in range(random.Random(seed).randrange(1, 400)):
        shown = await process.stdout.readline()
    process.kill()
    shown = [shown, *(await process.stdout.read()).splitlines(keepends=True)][-1]
    await process.wait()
    [described] = complete(tmp_path, "s-1", unpack((tmp_path / "ahead").read_bytes()).get("s-1"))
    _, *events = (tmp_path / described["path"]).read_bytes().splitlines()
    numbers = [int(json.loads(event)[2].split(">")[0][1:]) for event in events]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > int(shown)


@pytest.mark.parametrize("begun", [b"", b'{"version": 2, "wid'])
def test_a_recording_without_a_line_is_none(tmp_path: Path, begun: bytes) -> None:
    """What a worker left that was killed before the first one was there is no recording that could be replayed."""
    part = tmp_path / "2026/11/26/s-1.cast.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(begun)
    assert complete(tmp_path, "s-1") == []
    assert not list(part.parent.iterdir())
