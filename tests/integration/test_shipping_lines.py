"""The trail on its way to a syslog collector: every line arrives, whatever happens to the collector, and nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from octopus.control.audit_file import finished_files
from octopus.control.audit_log import FileAuditLog
from octopus.core.errors import ShippingUnavailable
from octopus.core.types import AuditEvent
from octopus.demo.certificates import Authority
from octopus.demo.engines import free_port
from octopus.shipping.lines import LineShipper
from octopus.shipping.position_file import StateFile
from octopus.shipping.shipment import Shipment
from octopus.shipping.syslog import Collector as Connection
from octopus.shipping.syslog import trust
from octopus.shipping.trail_reader import Position, TrailReader
from tests.parts.collector import Collector, parsed

pytestmark = pytest.mark.timeout(120)


def event(number: int, **data: Any) -> AuditEvent:
    """Return an event."""
    return AuditEvent(event="exec", key=f"s-1/{number}", session="s-1", login="alice", data={"command": f"echo {number}", **data})


def trail(directory: Path, **settings: Any) -> FileAuditLog:
    """Return a log."""
    return FileAuditLog(directory, clock=lambda: 1_700_000_000.0, **settings)


async def append(log: FileAuditLog, numbers: Sequence[int], **data: Any) -> None:
    """Write events."""
    await asyncio.gather(*(log.append(event(number, **data)) for number in numbers))


def whole(directory: Path) -> list[bytes]:
    """Return the lines of all files, without their newlines."""
    return b"".join(path.read_bytes() for path in [*finished_files(directory), directory / "audit.jsonl"]).splitlines()


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds; the test's timeout bounds it."""
    while not condition():  # noqa: ASYNC110 (it is another thread's doing)
        await asyncio.sleep(0.01)


@asynccontextmanager
async def shipping(directory: Path, log: FileAuditLog, url: str, context: ssl.SSLContext | None = None) -> AsyncIterator[Shipment]:
    """Ship meanwhile."""
    connection = Connection(url, host="gate-1", process=42, context=context, timeout=1.0)
    state = StateFile(directory / "shipping" / "syslog.json")
    shipment = Shipment("syslog", LineShipper(TrailReader(directory, log.last), connection, state), interval=0.02, max_wait=0.1)
    running = asyncio.create_task(shipment.run())
    try:
        yield shipment
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_lines_arrive_as_they_stand(tmp_path: Path) -> None:
    """Over TCP, in frames, with the event's time and name in the header: the chain can be proven from what was collected."""
    collector, port = Collector(), free_port("127.0.0.1")
    async with trail(tmp_path) as log, collector.listening(port), shipping(tmp_path, log, f"tcp://127.0.0.1:{port}"):
        await append(log, range(50))
        await until(lambda: len(collector.messages) == 51)
        assert collector.lines == whole(tmp_path)
    assert parsed(collector.messages[1]) == {
        "priority": "110",
        "time": "2023-11-14T22:13:20.000000Z",
        "host": "gate-1",
        "app": "octopus",
        "process": "42",
        "name": "exec",
        "data": "-",
    }


async def test_over_tls_only_to_whom_the_authority_vouches_for(tmp_path: Path) -> None:
    """RFC 5425 with certificates on both sides; a collector of another authority gets nothing."""
    for name in ("ours", "theirs", "audit"):
        (tmp_path / name).mkdir()
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    files, client = ours.issue("collector", hosts=["127.0.0.1"]), ours.issue("gateway")
    stranger = theirs.issue("collector", hosts=["127.0.0.1"])
    port, directory = free_port("127.0.0.1"), tmp_path / "audit"
    mutual = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.ca))
    mutual.verify_mode = ssl.CERT_REQUIRED
    mutual.load_cert_chain(files.cert, files.key)
    wrong = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    wrong.load_cert_chain(stranger.cert, stranger.key)
    context = trust(str(files.ca), str(client.cert), str(client.key))
    impostor, collector = Collector(), Collector()
    async with trail(directory) as log, shipping(directory, log, f"tls://127.0.0.1:{port}", context) as shipment:
        async with impostor.listening(port, wrong):
            await append(log, range(5))
            await until(lambda: "certificate verify failed" in shipment.problem)
        async with collector.listening(port, mutual):
            await until(lambda: len(collector.messages) == 6)
            assert collector.lines == whole(directory)
    assert impostor.messages == []


async def test_datagrams_are_read_before_they_count(tmp_path: Path) -> None:
    """A unix socket as /dev/log is: one message each; a line too long for one is told by its place in the chain."""
    collector, path, directory = Collector(), tmp_path / "log", tmp_path / "audit"
    async with trail(directory) as log, shipping(directory, log, f"unix://{path}"):
        async with collector.datagrams(path):
            await append(log, range(5))
            await append(log, [5], output="x" * 300_000)
            await append(log, [6])
            await until(lambda: len(collector.messages) == 8)
        assert [len(line) < 1000 for line in collector.lines] == [True] * 8
        assert [
            (number, "bytes_left_out" in json.loads(line)) for number, line in zip(collector.numbers, collector.lines, strict=True)
        ] == [(number, number == 7) for number in range(1, 9)]
        await append(log, [7])
        async with collector.datagrams(path):
            await until(lambda: len(collector.messages) == 9)
    assert collector.numbers == list(range(1, 10))


async def test_an_outage_loses_nothing_and_holds_up_nobody(tmp_path: Path) -> None:
    """Gone, back, hanging with full buffers, reset: events are durable all the while, and every line arrives, over rotations too."""
    collector, port = Collector(), free_port("127.0.0.1")
    numbers = iter(range(1_000_000))

    async def some(log: FileAuditLog, count: int = 300) -> None:
        await append(log, [next(numbers) for _ in range(count)], output="y" * 500)

    async with trail(tmp_path, rotate_size=100_000) as log, shipping(tmp_path, log, f"tcp://127.0.0.1:{port}") as shipment:
        await some(log)
        await until(lambda: shipment.problem)
        async with collector.listening(port):
            await some(log)
            await until(lambda: max(collector.numbers, default=0) == log.last())
        await some(log)
        collector.reading.clear()
        async with collector.listening(port):
            for _ in range(20):
                await some(log)
            await until(lambda: shipment.problem)
        collector.reading.set()
        async with collector.listening(port):
            await until(lambda: max(collector.numbers, default=0) == log.last())
            assert shipment.waiting() == 0
    assert sorted(set(collector.numbers)) == list(range(1, max(collector.numbers) + 1))
    assert {*collector.lines} <= {*whole(tmp_path)}
    assert len(finished_files(tmp_path)) > 10


async def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    """Left in good order nothing is sent twice, also where files were finished meanwhile."""
    collector, port = Collector(), free_port("127.0.0.1")
    async with collector.listening(port):
        for start in range(0, 90, 30):
            async with trail(tmp_path, rotate_size=3000) as log, shipping(tmp_path, log, f"tcp://127.0.0.1:{port}"):
                await append(log, range(start, start + 30))
                await until(lambda: max(collector.numbers, default=0) == log.last())
        assert collector.numbers == list(range(1, len(collector.numbers) + 1))
        # Each start's first checkpoint, ninety events; files' beginnings and ends; not yet the last stop.
        assert len(collector.numbers) == len(whole(tmp_path)) - 1


async def test_what_is_not_durable_is_not_shipped(tmp_path: Path) -> None:
    """A line may be taken back as long as its fsync is not through."""
    async with trail(tmp_path) as log:
        await append(log, range(10))
    reader = TrailReader(tmp_path, lambda: 5)
    batch = reader.read(Position())
    assert [json.loads(line)["seq"] for line in batch.lines] == [1, 2, 3, 4, 5]
    assert reader.read(batch.after).lines == ()
    rest = TrailReader(tmp_path, lambda: 100).read(batch.after)
    assert [json.loads(line)["seq"] for line in rest.lines] == [6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("rotate_size", [2000, 1_000_000])
async def test_any_step_back_is_a_line_that_was_read(tmp_path: Path, rotate_size: int) -> None:
    """From every position, by every size, over files: what is read from there comes to the same end."""
    async with trail(tmp_path, rotate_size=rotate_size) as log:
        for number in range(40):
            await log.append(event(number))
        last = log.last()
        reader = TrailReader(tmp_path, log.last)
        places, at = [Position()], Position()
        while (batch := reader.read(at, 500)).after != at:
            at = batch.after
            places.append(at)
        for place in places:
            for size in (0, 1, 100, 1000, 5000):
                back = at_start = reader.back(place, size)
                assert back.seq <= place.seq
                numbers = []
                while (batch := reader.read(at_start)).after != at_start:
                    numbers += [json.loads(line)["seq"] for line in batch.lines]
                    at_start = batch.after
                assert numbers == list(range(back.seq + 1, last + 1))


async def test_files_that_are_gone_are_told(tmp_path: Path) -> None:
    """What was removed before it was shipped is counted, and shipping goes on with what there is."""
    async with trail(tmp_path, rotate_size=1000) as log:
        for number in range(30):
            await log.append(event(number))
    first, second, third, *_ = finished_files(tmp_path)
    reader = TrailReader(tmp_path, lambda: 1_000)
    at = reader.read(Position()).after
    second.unlink()
    batch = reader.read(at)
    assert batch.missed == json.loads(third.read_bytes().splitlines()[0])["seq"] - at.seq - 1 > 0
    first.unlink()
    assert reader.read(Position()).missed == 0


def test_a_collector_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With where it should be."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    for one in (url, f"unix://{tmp_path}/log"):
        with pytest.raises(Exception, match=one):
            Connection(one, host="h", process=1).connect()


class Unreachable:
    """A collector that is never there."""

    def step(self, stopping: threading.Event) -> bool:
        """Fail."""
        raise ShippingUnavailable("nobody there")

    def close(self) -> None:
        """Release nothing."""

    def waiting(self) -> int:
        """Wait with one byte."""
        return 1


async def test_a_stop_in_an_outage_is_not_told_as_its_end() -> None:
    """The log says that shipping waits, and not that it goes on."""
    with structlog.testing.capture_logs() as told:
        shipment = Shipment("syslog", Unreachable(), interval=0.01)
        running = asyncio.create_task(shipment.run())
        await until(lambda: shipment.problem)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert [line["event"] for line in told] == ["shipping waits"]
