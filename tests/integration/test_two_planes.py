"""Two planes for real: processes killed under streaming connections, every byte compared, every end counted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from octopus.core.types import TERMINAL_EVENTS
from tests.plane_parts import trail
from tests.streams import Stream, until

STREAMS = 20
ROOT = Path(__file__).parent.parent.parent


class Gateway:
    """Supervisors, one after another, on one folder and one listening socket that outlives them, as systemd would hold it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._supervisors: list[subprocess.Popen[bytes]] = []

    def start(self, *, drain_timeout: float = 600.0) -> None:
        """Start a supervisor."""
        descriptor = self._listener.fileno()
        command = [sys.executable, "-m", "tests.small_supervisor", str(self.root), str(descriptor), str(drain_timeout)]
        self._supervisors.append(subprocess.Popen(command, cwd=ROOT, pass_fds=[descriptor], stdin=subprocess.DEVNULL))

    @property
    def pid(self) -> int:
        """The running supervisor's process id."""
        return self._supervisors[-1].pid

    async def end(self, how: signal.Signals) -> int:
        """Send the running supervisor a signal; return its exit status."""
        self._supervisors[-1].send_signal(how)
        return await asyncio.to_thread(self._supervisors[-1].wait)

    def count(self, event: str) -> int:
        """Return how many lines of the trail are of this event."""
        return sum(line["event"] == event for line in trail(self.root))

    def ends(self) -> Counter[str]:
        """Return how many terminal events each session has."""
        return Counter(line["session"] for line in trail(self.root) if line["event"] in TERMINAL_EVENTS)

    def end_of(self, session: str) -> dict[str, Any] | None:
        """Return a session's terminal event."""
        return next((line for line in trail(self.root) if line["session"] == session and line["event"] in TERMINAL_EVENTS), None)

    def worker_locks(self) -> list[str]:
        """Return the lock files of workers."""
        return [path.name for path in (self.root / "run" / "workers").glob("*.lock")]

    def close(self, workers: set[int]) -> None:
        """End all that is left."""
        for supervisor in self._supervisors:
            supervisor.kill()
            supervisor.wait()
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._listener.close()


@pytest.fixture
def pids() -> set[int]:
    """The worker processes a test has seen."""
    return set()


@pytest.fixture
def gateway(tmp_path: Path, pids: set[int]) -> Iterator[Gateway]:
    """A gateway that is not started."""
    opened = Gateway(tmp_path)
    yield opened
    opened.close(pids)


@pytest.fixture
async def streams(gateway: Gateway, pids: set[int]) -> AsyncIterator[list[Stream]]:
    """Twenty streams under way through the first supervisor's workers."""
    gateway.start()
    opened = [await Stream.order(gateway.port, seed) for seed in range(STREAMS)]
    pids.update(stream.pid for stream in opened)
    yield opened
    for stream in opened:
        stream.close()


async def test_a_killed_worker_takes_only_its_own(gateway: Gateway, streams: list[Stream]) -> None:
    """The others' bytes are complete, each session has exactly one end, what was left is reaped, and a new worker serves."""
    by_pid = Counter(stream.pid for stream in streams)
    assert len(by_pid) == 2
    victim = streams[0].pid
    os.kill(victim, signal.SIGKILL)
    lost = [stream for stream in streams if stream.pid == victim]
    kept = [stream for stream in streams if stream.pid != victim]
    assert all(await asyncio.gather(*(stream.broken() for stream in lost)))
    await until(lambda: gateway.count("session.failed") == len(lost))
    await asyncio.gather(*(stream.finish() for stream in kept))
    newer = [await Stream.order(gateway.port, seed, count=1) for seed in range(4)]
    await asyncio.gather(*(stream.finish(1) for stream in newer))
    assert victim not in {stream.pid for stream in newer}
    await until(lambda: len((gateway.root / "reaped").read_text().splitlines()) == len(lost))
    assert gateway.ends() == Counter(stream.session for stream in streams + newer)
    for stream in lost:
        end = gateway.end_of(stream.session)
        assert end
        assert (end["event"], end["reason"]) == ("session.failed", "worker lost")


async def test_a_killed_supervisor_takes_nobody(gateway: Gateway, streams: list[Stream], pids: set[int]) -> None:
    """Streams go on to their end beside the new supervisor's connections, byte for byte, and each ends once on the trail."""
    await gateway.end(signal.SIGKILL)
    waiting = asyncio.create_task(Stream.order(gateway.port, 99, count=1))
    early, late = streams[:10], streams[10:]
    ending = asyncio.gather(*(stream.finish() for stream in early))
    gateway.start()
    newer = await waiting
    pids.add(newer.pid)
    assert newer.pid not in {stream.pid for stream in streams}
    await ending
    await newer.finish(1)
    await asyncio.gather(*(stream.finish() for stream in late))
    assert gateway.ends() == Counter(stream.session for stream in [*streams, newer])
    assert gateway.count("session.failed") == 0
    # The old workers end with their last connection, and the new supervisor sees it.
    await until(lambda: len(gateway.worker_locks()) == 2)


async def test_sigterm_leaves_sessions_to_their_workers(gateway: Gateway, streams: list[Stream]) -> None:
    """A restart: the supervisor is gone at once with status 0, its workers end their sessions, the next one writes their ends."""
    assert await gateway.end(signal.SIGTERM) == 0
    assert trail(gateway.root)[-1]["event"] == "gateway.stopped"
    assert not gateway.ends()
    gateway.start()
    await asyncio.gather(*(stream.finish() for stream in streams))
    assert gateway.ends() == Counter(stream.session for stream in streams)
    assert gateway.count("session.ended") == STREAMS


async def test_sighup_ends_nothing(gateway: Gateway, streams: list[Stream], pids: set[int]) -> None:
    """Sent to all processes by somebody who means a reload: every stream goes on, and the same supervisor and workers take the next."""
    for pid in [*pids, gateway.pid]:
        os.kill(pid, signal.SIGHUP)
    newer = [await Stream.order(gateway.port, seed, count=1) for seed in range(4)]
    await asyncio.gather(*(stream.finish(1) for stream in newer), *(stream.finish() for stream in streams))
    assert {stream.pid for stream in newer} <= pids
    assert gateway.ends() == Counter(stream.session for stream in streams + newer)
    assert gateway.count("session.failed") == 0
    assert await gateway.end(signal.SIGTERM) == 0


async def test_sigint_ends_sessions_with_their_events(gateway: Gateway, streams: list[Stream]) -> None:
    """A stop for good: every session is ended with the reason, on the trail, before the gateway's own end; no worker is left."""
    reading = asyncio.gather(*(until_broken(gateway, stream) for stream in streams))
    assert await gateway.end(signal.SIGINT) == 0
    await reading
    assert gateway.ends() == Counter(stream.session for stream in streams)
    assert {line["reason"] for line in trail(gateway.root) if line["event"] == "session.failed"} == {"the gateway is stopping"}
    assert trail(gateway.root)[-1]["event"] == "gateway.stopped"
    assert gateway.worker_locks() == []


async def test_both_planes_killed_at_once(gateway: Gateway, streams: list[Stream]) -> None:
    """With nobody left to write, the next start writes every end, reaps, and gives recordings their names."""
    part = gateway.root / "recordings" / "2023" / "11" / "14" / f"{streams[0].session}.cast.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b'{"version": 2}\n[0.1, "o", "x"]\n[0.2, "o')
    await gateway.end(signal.SIGKILL)
    for pid in {stream.pid for stream in streams}:
        os.kill(pid, signal.SIGKILL)
    gateway.start()
    await until(lambda: gateway.count("session.failed") == STREAMS)
    await until(lambda: (gateway.root / "reaped").exists() and len((gateway.root / "reaped").read_text().splitlines()) == STREAMS)
    assert gateway.ends() == Counter(stream.session for stream in streams)
    assert part.with_suffix("").read_bytes() == b'{"version": 2}\n[0.1, "o", "x"]\n'
    end = gateway.end_of(streams[0].session)
    assert end
    assert [recording["path"] for recording in end["recordings"]] == [f"2023/11/14/{streams[0].session}.cast"]
    await until(lambda: not list((gateway.root / "run" / "sessions").glob("*.json")))


async def test_sessions_may_end_while_nobody_listens(gateway: Gateway, streams: list[Stream]) -> None:
    """Their workers keep the ends, as they really were, for the next control plane."""
    await gateway.end(signal.SIGKILL)
    await asyncio.gather(*(stream.read() for stream in streams))
    for stream in streams:
        stream.let_end()
    gateway.start()
    await until(lambda: gateway.count("session.ended") == STREAMS)
    assert gateway.ends() == Counter(stream.session for stream in streams)


async def test_workers_that_must_go_leave_their_ends(gateway: Gateway, pids: set[int]) -> None:
    """With the time to drain over and no control plane to tell, the ends are spooled, and the next start hands them in."""
    gateway.start(drain_timeout=0)
    streams = [await Stream.order(gateway.port, seed) for seed in range(4)]
    pids.update(stream.pid for stream in streams)
    await gateway.end(signal.SIGKILL)
    await until(lambda: len(list((gateway.root / "spool").iterdir())) == len({stream.pid for stream in streams}))
    assert all(await asyncio.gather(*(stream.broken() for stream in streams)))
    gateway.start()
    await until(lambda: gateway.count("session.failed") == len(streams))
    reasons = {line["reason"] for line in trail(gateway.root) if line["event"] == "session.failed"}
    assert reasons == {"the gateway was restarted, and the time to finish is over"}
    assert gateway.ends() == Counter(stream.session for stream in streams)


async def test_sigint_ends_sessions_of_older_workers_too(gateway: Gateway, streams: list[Stream]) -> None:
    """What a restart left running is ended by a stop for good."""
    await gateway.end(signal.SIGKILL)
    gateway.start()
    await until(lambda: gateway.count("gateway.started") == 2)
    reading = asyncio.gather(*(until_broken(gateway, stream) for stream in streams))
    assert await gateway.end(signal.SIGINT) == 0
    await reading
    assert gateway.ends() == Counter(stream.session for stream in streams)
    assert {line["reason"] for line in trail(gateway.root) if line["event"] == "session.failed"} == {"the gateway is stopping"}


async def until_broken(gateway: Gateway, stream: Stream) -> None:
    """Leave a stream unread until its session has ended, then see that it was cut."""
    await until(lambda: stream.session in gateway.ends())
    assert await stream.broken()
