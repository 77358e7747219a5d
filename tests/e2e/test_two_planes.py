"""Plugs pulled under twenty streaming OpenSSH sessions: every byte compared, every end counted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.people import People
from tests.e2e.planes import Planes, becomes, ends, planes
from tests.e2e.scene import ENVIRONMENT_SECRET, Scene, behind, ldap, over_tls
from tests.e2e.streams import Stream, lay_out
from tests.e2e.trail import Event
from tests.parts.directory import BIND_PASSWORD, Slapd
from tests.parts.ssh_client import Ended

pytestmark = pytest.mark.asyncio(loop_scope="session")

STREAMS = 20
TERMINALS = 4
APPS = ("/web/front", "/web/back")
NAMES = ("web_front", "web_back")
SSH_ITSELF = 255
"""What ssh ends with when it is not the command that ended."""


@dataclass
class Play:
    """A gateway with streams under way, the last of them on terminals; ``since`` is where their events begin on the trail."""

    gateway: Planes
    scene: Scene
    key: Path
    since: int
    streams: list[Stream]

    @property
    def events(self) -> list[Event]:
        """Return what the trail says from the first stream on."""
        return list(self.gateway.trail.events[self.since :])

    @property
    def sessions(self) -> dict[int, str]:
        """Return the session of each stream, by its seed."""
        found = ((re.search(r"exit ([0-9]+)$", event["command"]), event["session"]) for event in self.events if event["event"] == "exec")
        return {int(match[1]): session for match, session in found if match}

    @property
    def by_worker(self) -> dict[str, list[Stream]]:
        """Return the streams that each worker carries."""
        workers = {event["session"]: event["worker"] for event in self.events if event["event"] == "session.requested"}
        carried: dict[str, list[Stream]] = {}
        for stream in self.streams:
            carried.setdefault(workers[self.sessions[stream.seed]], []).append(stream)
        return carried

    def worker_of(self, stream: Stream) -> str:
        """Return the worker that carries a stream."""
        return next(worker for worker, carried in self.by_worker.items() if stream in carried)

    async def ends(self, count: int) -> dict[str, Event]:
        """Return the terminal events by session, once there are so many; no session has two, and there are no more."""
        over = await self.gateway.trail.until(lambda events: found if len(found := ends(events)) >= count else None, self.since)
        assert Counter(event["session"] for event in over).most_common(1)[0][1] == 1
        assert len(over) == count
        return {event["session"]: event for event in over}

    async def finish(self, streams: Sequence[Stream]) -> None:
        """Read streams to their ends: every byte, the status, and not a word on stderr."""
        for stream, ended in zip(streams, await asyncio.gather(*(one.finish() for one in streams)), strict=True):
            assert (stream.seed, ended.status, ended.stdout, ended.stderr) == (stream.seed, stream.seed, b"", b"")

    async def cut_off(self, streams: Sequence[Stream]) -> None:
        """Read streams whose connection was cut to where they end: ssh says so by its own status."""
        for ended in await asyncio.gather(*(stream.rest() for stream in streams)):
            assert ended.status == SSH_ITSELF, ended.stderr

    async def nothing_left(self) -> None:
        """Wait until the containers hold nothing but their own and no recording is half."""
        for app in APPS:
            await becomes(partial(self.scene.processes, app), [])
        assert self.gateway.half_recordings() == []

    async def says(self, word: str, *options: str) -> Ended:
        """Have a word said by a command in a container, through a new connection unless the options say otherwise."""
        return await self.gateway.ssh.run("web_front", f"echo {word}", key=self.key, options=options)

    def recorded(self, stream: Stream, end: Event) -> bytes:
        """Return what the recordings of a stream's session show."""
        text = "".join((self.gateway.recordings / one["path"]).read_text() for one in end["recordings"])
        return "".join(event[2] for event in map(json.loads, text.splitlines()[1:]) if event[1] == "o").encode()


Begin = Callable[..., AbstractAsyncContextManager[Play]]


@pytest_asyncio.fixture(loop_scope="session")
async def begin(scene: Scene, company: Slapd, people: People) -> Begin:
    """Return what begins a play; ``held`` is whether the listening socket outlives the supervisor."""
    lay_out(scene, *APPS)

    @asynccontextmanager
    async def play(*, held: bool = True, streams: int = STREAMS) -> AsyncIterator[Play]:
        sections: dict[str, Any] = {**ldap(company), **behind(scene.cluster), **over_tls(scene.engines[0])}
        sections["ssh"] = {"workers": 2, "host_keys": str(people.host_keys), "max_unauthenticated_per_address": 100}
        secrets = {BIND_PASSWORD, ENVIRONMENT_SECRET, *people.secrets}
        async with planes(sections, files={"ldap.secret": BIND_PASSWORD}, secrets=secrets, held=held) as gateway, AsyncExitStack() as stack:
            for name in NAMES:
                await gateway.serves(name, key=people.alice.key)
            await becomes(lambda: len(gateway.workers()), 2)
            running = Play(gateway, scene, people.alice.key, await gateway.settled(), [])
            running.streams += await asyncio.gather(*(_ordered(running, seed) for seed in range(STREAMS - streams, STREAMS)))
            for stream in running.streams:
                stack.push_async_callback(stream.close)
            yield running
            await running.nothing_left()
            compared, over = sum(one.compared for one in running.streams), len(ends(running.events))
            print(f"\nsessions {len(running.streams)} streaming, {over} in all; bytes compared {compared}; terminal events {over}")

    return play


async def _ordered(play: Play, seed: int) -> Stream:
    return await Stream.order(play.gateway.ssh, NAMES[seed % 2], seed, key=play.key, pty=seed >= STREAMS - TERMINALS)


async def test_a_killed_worker_takes_only_its_own(begin: Begin) -> None:
    """Others go on byte for byte; its own have one end each, closed recordings, and leave nothing; connections are taken meanwhile."""
    async with begin() as play:
        carried = play.by_worker
        assert len(carried) >= 2
        victim = play.worker_of(play.streams[-1])
        lost = carried[victim]
        kept = [stream for stream in play.streams if stream not in lost]
        os.kill(play.gateway.workers()[victim], signal.SIGKILL)
        await play.cut_off(lost)
        assert (await play.says("taken")).stdout == b"taken\n"
        await play.finish(kept)
        over = await play.ends(STREAMS + 1)
        for stream in lost:
            end = over[play.sessions[stream.seed]]
            assert (end["event"], end["reason"], len(end["recordings"])) == ("session.failed", "worker lost", int(stream.pty))
        assert {over[play.sessions[stream.seed]]["event"] for stream in kept} == {"session.ended"}


async def test_a_killed_supervisor_takes_nobody(begin: Begin) -> None:
    """Streams end whole while it is away and after; the next one serves at once, and writes every end."""
    async with begin(held=False) as play:
        await play.gateway.kill()
        early, late = play.streams[::2], play.streams[1::2]
        await play.finish(early)
        play.gateway.start()
        await play.gateway.ready()
        assert (await play.says("at-once")).stdout == b"at-once\n"
        assert all(stream.process.returncode is None for stream in late)
        await play.finish(late)
        over = await play.ends(STREAMS + 1)
        for stream in play.streams:
            end = over[play.sessions[stream.seed]]
            assert (end["event"], end["exit_status"], end["bytes_out"]) == ("session.ended", stream.seed, stream.compared)
            assert not stream.pty or play.recorded(stream, end) == stream.whole
        await becomes(lambda: len(play.gateway.workers()), 2)


async def test_a_restart_takes_nobody(begin: Begin) -> None:
    """SIGTERM: the supervisor is gone with status 0, connections wait in the listening socket, the next one goes on."""
    async with begin() as play:
        play.gateway.supervisor.send_signal(signal.SIGTERM)
        assert await play.gateway.ended() == 0
        waiting = asyncio.gather(*(play.says(f"waited-{number}") for number in range(3)))
        early, late = play.streams[::2], play.streams[1::2]
        await play.finish(early)
        assert not waiting.done()
        play.gateway.start()
        assert [ended.stdout for ended in await waiting] == [b"waited-0\n", b"waited-1\n", b"waited-2\n"]
        await play.finish(late)
        over = await play.ends(STREAMS + 3)
        assert {event["event"] for event in over.values()} == {"session.ended"}
        assert {over[play.sessions[stream.seed]]["exit_status"] for stream in play.streams} == set(range(STREAMS))


async def test_supervisor_and_worker_killed_at_once(begin: Begin) -> None:
    """With nobody left to write them, the next start writes one end each, closes recordings and empties the containers."""
    async with begin() as play:
        victim = play.worker_of(play.streams[-1])
        lost = play.by_worker[victim]
        kept = [stream for stream in play.streams if stream not in lost]
        workers = play.gateway.workers()
        await play.gateway.kill()
        os.kill(workers[victim], signal.SIGKILL)
        await play.cut_off(lost)
        play.gateway.start()
        await play.finish(kept)
        over = await play.ends(STREAMS)
        for stream in lost:
            end = over[play.sessions[stream.seed]]
            assert (end["event"], end["reason"], len(end["recordings"])) == ("session.failed", "worker lost", int(stream.pty))
        assert Counter(event["event"] for event in over.values()) == {"session.failed": len(lost), "session.ended": len(kept)}


async def test_sigint_ends_sessions_with_one_line_each(begin: Begin) -> None:
    """A stop for good: each person is told in one line, each session has its end before the gateway's own, no process is left."""
    async with begin(streams=8) as play:
        play.gateway.supervisor.send_signal(signal.SIGINT)
        told = await asyncio.gather(*(stream.drained() for stream in play.streams))
        assert await play.gateway.ended() == 0
        over = await play.ends(len(play.streams))
        for stream, ended in zip(play.streams, told, strict=True):
            session = play.sessions[stream.seed]
            notice = f"octopus: this session was ended: the gateway is stopping [{session}]"
            assert (ended.status, ended.stderr.decode().replace("\r", "").strip()) == (129, notice), ended
            assert (over[session]["event"], over[session]["reason"]) == ("session.failed", "ended: the gateway is stopping")
        stopped = await play.gateway.trail.until(lambda events: [event for event in events if event["event"] == "gateway.stopped"])
        assert [event["live"] for event in stopped] == [0]
        assert play.gateway.workers() == {}


async def test_a_multiplexed_connection_outlives_its_supervisor(begin: Begin) -> None:
    """A session opened on an existing connection while the supervisor is away waits for the next one and is served."""
    async with begin(streams=1) as play:
        path = play.gateway.directory / "mux"
        master = ("-o", f"ControlPath={path}", "-o", "ControlMaster=yes", "-o", "ControlPersist=yes")
        shared = ("-o", f"ControlPath={path}", "-o", "ControlMaster=no")
        assert (await play.says("before", *master)).stdout == b"before\n"
        await play.gateway.kill()
        waiting = asyncio.gather(*(play.says(f"shared-{number}", *shared) for number in range(3)))
        await play.finish(play.streams)
        assert not waiting.done()
        play.gateway.start()
        assert [(ended.stdout, ended.stderr) for ended in await waiting] == [(b"shared-%d\n" % number, b"") for number in range(3)]
        await play.gateway.ssh.run("web_front", key=play.key, options=(*shared, "-O", "exit"))
        assert {event["event"] for event in (await play.ends(5)).values()} == {"session.ended"}
