"""The SFTP server alone, packet by packet, over a directory of this machine: offsets, names, limits, faults, order of events."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from asyncssh.packet import Byte, SSHPacket, String, UInt32, UInt64
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus.core.errors import AuditUnavailable, Disconnected, InvalidRequest, SessionEnded
from octopus.core.types import ClientEvent, Exit, FileRights, Input, InputEof, RequestKind, SessionRequest
from octopus.session.recorder import Recordings
from octopus.session.relay import Traffic
from octopus.session.sftp_wire import MAX_DATA, Answer, Open, Request
from octopus.session.transfer import Transfer
from tests.parts.local_files import LocalFiles

NO_ATTRIBUTES = UInt32(0)
WRITE_NEW = Open.WRITE | Open.CREAT | Open.TRUNC


class Peer:
    """A client by hand: sends packets, takes answers by the number of their request; ``events`` is its trail."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.durable = asyncio.Event()
        self.durable.set()
        self.recording = asyncio.Event()
        self.failure: Exception | None = None
        self.said: list[str] = []
        self.exit: Exit | None = None
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._input: asyncio.Queue[ClientEvent | None] = asyncio.Queue()
        self._sent = bytearray()
        self._arrived = asyncio.Event()
        self._number = 0

    async def next_event(self) -> ClientEvent:
        """See ``Client``."""
        event = await self._input.get()
        if event is None:
            raise Disconnected("gone")
        return event

    async def write(self, data: bytes, *, stderr: bool = False) -> None:
        """See ``Client``."""
        if self.gone.is_set():
            raise Disconnected("gone")
        self._sent += data
        self._arrived.set()

    async def record(self, event: str, key: str, data: dict[str, Any]) -> None:
        """Be the trail."""
        self.recording.set()
        await self.durable.wait()
        if self.failure:
            raise self.failure
        assert key not in [data["key"] for _, data in self.events]
        self.events.append((event, data | {"key": key}))

    async def explain(self, notice: str) -> None:
        """Keep what is said."""
        self.said.append(notice)

    async def finish(self, exit_: Exit) -> None:
        """Keep how it ended."""
        self.exit = exit_

    def put(self, data: bytes) -> None:
        """Send bytes."""
        self._input.put_nowait(Input(data=data))

    def eof(self) -> None:
        """End the input."""
        self._input.put_nowait(InputEof())

    def vanish(self) -> None:
        """Be gone."""
        self.gone.set()
        self._input.put_nowait(None)

    def send(self, kind: int, *parts: bytes) -> int:
        """Send a request; return its number."""
        self._number += 1
        body = Byte(kind) + UInt32(self._number) + b"".join(parts)
        self.put(UInt32(len(body)) + body)
        return self._number

    async def answer(self) -> tuple[int, SSHPacket]:
        """Return the next answer's kind, and the rest of it."""
        while len(self._sent) < 4 or len(self._sent) < 4 + int.from_bytes(self._sent[:4], "big"):
            self._arrived.clear()
            await self._arrived.wait()
        size = int.from_bytes(self._sent[:4], "big")
        packet = SSHPacket(bytes(self._sent[4 : 4 + size]))
        del self._sent[: 4 + size]
        return packet.get_byte(), packet

    async def ask(self, kind: int, *parts: bytes) -> tuple[int, SSHPacket]:
        """Send a request and return its answer, without the number."""
        number = self.send(kind, *parts)
        answer, packet = await self.answer()
        assert packet.get_uint32() == number
        return answer, packet

    async def status(self, kind: int, *parts: bytes) -> int:
        """Send a request and return the status it is answered with."""
        answer, packet = await self.ask(kind, *parts)
        assert answer == Answer.STATUS
        return packet.get_uint32()

    async def open(self, path: bytes, flags: int) -> bytes:
        """Open a file; return its handle as it is sent back."""
        answer, packet = await self.ask(Request.OPEN, String(path), UInt32(flags), NO_ATTRIBUTES)
        assert answer == Answer.HANDLE
        return String(packet.get_string())

    async def read(self, handle: bytes, offset: int, size: int) -> bytes:
        """Read; b"" at the end."""
        answer, packet = await self.ask(Request.READ, handle, UInt64(offset), UInt32(size))
        return packet.get_string() if answer == Answer.DATA else b""


@asynccontextmanager
async def serving(
    home: Path, rights: FileRights | None = None, files: LocalFiles | None = None, **options: Any
) -> AsyncIterator[tuple[Peer, asyncio.Task[None]]]:
    """Serve a client by hand, past the greeting."""
    peer = Peer()
    files = files or LocalFiles(bytes(home))
    request = SessionRequest(kind=RequestKind.SFTP)
    may = rights or FileRights(download=True, upload=True)
    recordings = Recordings(home.with_name(f"{home.name}-recordings"), clock=lambda: 0.0)
    copies = recordings.copies("s-1", may.keep)
    options = {"client_version": "", "clock": lambda: 0.0, **options}
    transfer = Transfer(peer, request, files, may, copies, peer.record, peer.explain, Traffic(), **options)
    task = asyncio.create_task(transfer.run(peer.ended, peer.finish))
    peer.put(UInt32(5) + Byte(Request.INIT) + UInt32(6))
    kind, greeting = await peer.answer()
    assert (kind, greeting.get_uint32()) == (Answer.VERSION, 3)
    try:
        yield peer, task
    finally:
        task.cancel()
        await asyncio.wait([task])
        await files.aclose()
        recordings.close()


def left(home: Path) -> list[str]:
    """Return what is in a directory, hidden or not."""
    return sorted(os.listdir(home))


async def test_pieces_in_any_order_make_the_file(tmp_path: Path) -> None:
    """Writes that overtake one another are one file with its digest; so are reads."""
    pieces = [(offset, bytes([offset // 1000]) * 1000) for offset in range(0, 20_000, 1000)]
    content = b"".join(data for _, data in pieces)
    async with serving(tmp_path) as (peer, task):
        handle = await peer.open(b"a", WRITE_NEW)
        for offset, data in pieces[1::2] + pieces[::2]:
            assert await peer.status(Request.WRITE, handle, UInt64(offset), String(data)) == 0
        assert left(tmp_path) != ["a"]
        assert await peer.status(Request.CLOSE, handle) == 0
        handle = await peer.open(b"a", Open.READ)
        got = {offset: await peer.read(handle, offset, 1000) for offset, _ in pieces[1::2] + pieces[::2]}
        await peer.status(Request.CLOSE, handle)
        peer.eof()
        await task
    assert (tmp_path / "a").read_bytes() == content
    assert b"".join(got[offset] for offset in sorted(got)) == content
    for _, told in peer.events:
        assert (told["size"], told["sha256"]) == (20_000, hashlib.sha256(content).hexdigest())
        assert (told["ordered"], told["complete"]) == (True, True)


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "read", "truncate"]), st.integers(0, 5000), st.binary(max_size=2000), st.integers(0, 4000)),
    max_size=25,
)


Steps = list[tuple[str, int, bytes, int]]


async def in_step(peer: Peer, handle: bytes, oracle: BinaryIO, steps: Steps) -> None:
    """Write, cut and read through a handle and in a local file: what is read is the same."""
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


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=3000), STEPS)
async def test_changes_in_place_are_those_of_a_local_file(before: bytes, steps: Steps) -> None:
    """Whatever is written, read and cut through a handle for both, at any offset, is as on a local file."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        (home / "a").write_bytes(before)
        (home / "oracle").write_bytes(before)
        with (home / "oracle").open("r+b") as oracle:
            async with serving(home) as (peer, task):
                handle = await peer.open(b"a", Open.READ | Open.WRITE)
                await in_step(peer, handle, oracle, steps)
                await peer.status(Request.CLOSE, handle)
                peer.eof()
                await task
        assert (home / "a").read_bytes() == (home / "oracle").read_bytes()


_NAME = st.binary(min_size=1, max_size=80).filter(lambda name: not set(b"/\0") & set(name) and name not in (b".", b".."))


@settings(max_examples=40, deadline=None)
@given(st.lists(_NAME, unique=True, max_size=8))
async def test_names_are_bytes(names: list[bytes]) -> None:
    """Every name the kernel takes is made, listed, renamed and removed as it is."""
    with tempfile.TemporaryDirectory() as directory:
        async with serving(Path(directory)) as (peer, task):
            for name in names:
                await peer.status(Request.CLOSE, await peer.open(name, WRITE_NEW))
            _, packet = await peer.ask(Request.OPENDIR, String(b""))
            handle = String(packet.get_string())
            kind, packet = await peer.ask(Request.READDIR, handle)
            found = []
            for _ in range(packet.get_uint32() if kind == Answer.NAME else 0):
                found.append(packet.get_string())
                packet.get_string()
                packet.get_bytes(32)
            assert sorted(found) == sorted(names)
            for name in names:
                assert await peer.status(Request.RENAME, String(name), String(b"other")) == (4 if b"other" in names else 0)
                assert await peer.status(Request.REMOVE, String(name if b"other" in names else b"other")) == 0
                if name == b"other":
                    names = [one for one in names if one != name]
            peer.eof()
            await task


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=60)), max_size=10))
async def test_garbage_is_answered_with_a_status(requests: list[tuple[int, bytes]]) -> None:
    """Requests that are none end nothing but themselves."""
    with tempfile.TemporaryDirectory() as directory:
        async with serving(Path(directory), FileRights()) as (peer, task):
            for kind, rest in requests:
                answer, _ = await peer.ask(kind, rest)
                assert answer in (Answer.STATUS, Answer.NAME, Answer.EXTENDED_REPLY)
            peer.eof()
            await task
            assert peer.exit == Exit(status=0)


@pytest.mark.parametrize("packet", [b"\0\0\0\0", b"\0\0\0\4abcd", b"\xff\xff\xff\xff", b"SSH-2.0-"])
async def test_what_is_no_packet_ends_the_session(tmp_path: Path, packet: bytes) -> None:
    """Nothing is collected for a length that no packet has."""
    async with serving(tmp_path) as (peer, task):
        peer.put(packet)
        with pytest.raises(InvalidRequest):
            await task


async def test_limits(tmp_path: Path) -> None:
    """A read gives what a packet holds, however much is asked; handles run out with a word, and can be used again."""
    (tmp_path / "a").write_bytes(bytes(MAX_DATA * 2))
    async with serving(tmp_path) as (peer, _):
        handle = await peer.open(b"a", Open.READ)
        assert len(await peer.read(handle, 0, 0xFFFF_FFFF)) == MAX_DATA
        handles = [await peer.open(b"a", Open.READ) for _ in range(199)]
        assert await peer.status(Request.OPEN, String(b"a"), UInt32(1), NO_ATTRIBUTES) == 4
        assert await peer.status(Request.OPENDIR, String(b".")) == 4
        assert await peer.status(Request.CLOSE, handles[0]) == 0
        await peer.open(b"a", Open.READ)
        assert await peer.status(Request.STAT, String(b"a\0b")) == 4
        assert await peer.status(Request.STAT, String(b"x" * 5000)) == 4
        assert await peer.status(Request.CLOSE, handles[0]) == 4
        assert await peer.status(Request.READDIR, handle) == 4


@pytest.mark.parametrize("leave", ["eof", "vanish", "end", "idle"])
async def test_interrupted_upload_leaves_nothing(tmp_path: Path, leave: str) -> None:
    """However the client leaves off, no part of a new file stays, and the trail says what passed."""
    async with serving(tmp_path, idle_timeout=0.2 if leave == "idle" else 0.0) as (peer, task):
        handle = await peer.open(b"a", WRITE_NEW)
        await peer.status(Request.WRITE, handle, UInt64(0), String(b"half"))
        if leave == "end":
            peer.ended.set_result("enough")
        elif leave != "idle":
            getattr(peer, leave)()
        with pytest.raises(Disconnected if leave in ("eof", "vanish") else SessionEnded):
            await task
    assert left(tmp_path) == []
    [(event, data)] = peer.events
    assert (event, data["complete"], data["size"]) == ("file.uploaded", False, 4)
    assert peer.exit is None


async def test_client_that_closes_between_files_has_ended(tmp_path: Path) -> None:
    """A channel closed while nothing is open is how many clients end."""
    async with serving(tmp_path) as (peer, task):
        await peer.status(Request.CLOSE, await peer.open(b"a", WRITE_NEW))
        peer.vanish()
        await task
    assert peer.exit == Exit(status=0)


async def test_success_is_told_when_it_is_durable(tmp_path: Path) -> None:
    """A removal: no answer before the event is on the trail. Of an upload: none before its event is on the way there."""
    async with serving(tmp_path) as (peer, _):
        peer.durable.clear()
        handle = await peer.open(b"a", WRITE_NEW)
        assert not peer.recording.is_set()
        assert await peer.status(Request.CLOSE, handle) == 0
        assert peer.recording.is_set()
        peer.recording.clear()
        asking = asyncio.create_task(peer.status(Request.REMOVE, String(b"a")))
        await peer.recording.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not asking.done()
        peer.durable.set()
        assert await asking == 0
    assert [event for event, _ in peer.events] == ["file.uploaded", "file.removed"]


async def test_downloads_do_not_wait_for_the_trail_but_the_end_does(tmp_path: Path) -> None:
    """Small files are read one after another while their events are under way, up to a limit; the session ends after them all."""
    (tmp_path / "a").write_bytes(b"a")
    async with serving(tmp_path) as (peer, task):
        peer.durable.clear()
        for _ in range(256):
            handle = await peer.open(b"a", Open.READ)
            assert await peer.read(handle, 0, 10) == b"a"
            assert await peer.status(Request.CLOSE, handle) == 0
        handle = await peer.open(b"a", Open.READ)
        await peer.read(handle, 0, 10)
        closing = asyncio.create_task(peer.status(Request.CLOSE, handle))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not closing.done()
        peer.durable.set()
        assert await closing == 0
        peer.durable.clear()
        handle = await peer.open(b"a", Open.READ)
        await peer.read(handle, 0, 10)
        await peer.status(Request.CLOSE, handle)
        peer.eof()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
        peer.durable.set()
        await task
    assert len(peer.events) == 258


async def test_removal_of_a_client_that_leaves_is_on_the_trail(tmp_path: Path) -> None:
    """What was done stands on the trail although nobody waits for it any more."""
    (tmp_path / "a").write_bytes(b"a")
    async with serving(tmp_path) as (peer, task):
        peer.durable.clear()
        peer.send(Request.REMOVE, String(b"a"))
        await peer.recording.wait()
        peer.ended.set_result("enough")
        for _ in range(5):
            await asyncio.sleep(0)
        peer.durable.set()
        with pytest.raises(SessionEnded):
            await task
    assert [event for event, _ in peer.events] == ["file.removed"]


async def test_trail_that_cannot_be_written_ends_the_session(tmp_path: Path) -> None:
    """No success is told of what is not on record, and nothing more is done; a download's failure shows at the next step."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    async with serving(tmp_path) as (peer, task):
        peer.failure = AuditUnavailable("disk full")
        handle = await peer.open(b"a", Open.READ)
        await peer.read(handle, 0, 10)
        await peer.status(Request.CLOSE, handle)
        await peer.ask(Request.STAT, String(b"b"))
        peer.send(Request.REMOVE, String(b"b"))
        with pytest.raises(AuditUnavailable):
            await task
    assert left(tmp_path) == ["a", "b"]


async def test_sentences_are_said_once(tmp_path: Path) -> None:
    """A refusal is explained on the side, the same only once, and not for ever."""
    async with serving(tmp_path, FileRights(download=True)) as (peer, _):
        for name in [b"a", b"a", *(b"%d" % number for number in range(40))]:
            assert await peer.status(Request.REMOVE, String(name)) == 3
        assert len(peer.said) == 20
        assert peer.said[0] == f"not allowed: remove {tmp_path}/a"
        assert len(peer.events) == 42
