"""The supervisor with real worker processes: who is served, by whom, and who is turned away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from octopus.control.listeners import bind
from octopus.control.placing import ConnectionLimits
from octopus.control.plane import Start
from octopus.control.sd_notify import notify
from octopus.control.supervisor import Supervisor
from octopus.control.worker_pool import WorkerPlan, WorkerPool
from octopus.core.errors import AuditUnavailable, ConfigError
from tests.plane_parts import audit_log, trail
from tests.small_supervisor import supervisor
from tests.streams import Stream, until


@asynccontextmanager
async def running(root: Path, **settings: Any) -> AsyncIterator[tuple[Supervisor, int]]:
    """Run a supervisor in this process; at the end its sessions are ended and its workers gone."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.setblocking(False)
    port = listener.getsockname()[1]
    started = supervisor(root, listener, **settings)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(started.run())
        try:
            await until(lambda: trail(root) or task.done())
            yield started, port
        finally:
            started.stop(end_sessions=True)


async def closed_at_once(port: int) -> bool:
    """Connect and say nothing; tell whether the gateway closes the connection of its own accord."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True
    finally:
        writer.close()


async def served(port: int) -> Stream:
    """Connect until the gateway takes the connection: news of a person who is known travels behind their first bytes."""
    while True:
        try:
            return await Stream.order(port, 2, count=1)
        except (ConnectionError, json.JSONDecodeError):
            await asyncio.sleep(0)


def test_a_systemd_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    """Where its socket is full it is not told, and the gateway goes on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        deaf.bind(str(tmp_path / "notify"))
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"x", str(tmp_path / "notify"))
        notify(str(tmp_path / "notify"), "READY=1")


async def test_strangers_too_many_are_turned_away(tmp_path: Path) -> None:
    """Connections whose person is not known yet are limited; a known person makes room for the next."""
    async with running(tmp_path, limits=ConnectionLimits(per_address=2)) as (_, port):
        _, idle = await asyncio.open_connection("127.0.0.1", port)
        known = await Stream.order(port, 1, count=1)
        again = await served(port)
        _, second_idle = await asyncio.open_connection("127.0.0.1", port)
        assert await closed_at_once(port)
        idle.close()
        second_idle.close()
        await asyncio.gather(known.finish(1), again.finish(1))


async def test_bulk_data_gets_no_company(tmp_path: Path) -> None:
    """While both workers move bulk data a third one is started for the next person, and ends with them."""
    async with running(tmp_path, bulk_rate=1.0) as (started, port):
        bulk = [await Stream.order(port, seed, count=1_000_000) for seed in range(2)]
        reading = [asyncio.create_task(stream.read(1_000_000)) for stream in bulk]
        await until(lambda: all(load.rate > 1 for load in started.loads()))
        quiet = await Stream.order(port, 9, count=0)
        assert quiet.pid not in {stream.pid for stream in bulk}
        assert len(started.worker_pids()) == 3
        await quiet.finish(0)
        await until(lambda: len(started.worker_pids()) == 2)
        for task in reading:
            task.cancel()
        for stream in bulk:
            stream.close()


async def test_a_worker_told_to_end_drains_and_is_replaced(tmp_path: Path) -> None:
    """SIGTERM to one worker: its stream goes on to its end, new connections go to others, a new worker takes its place."""
    async with running(tmp_path) as (started, port):
        stream = await Stream.order(port, 1)
        os.kill(stream.pid, signal.SIGTERM)
        await until(lambda: len(started.worker_pids()) == 3)
        others = [await Stream.order(port, seed, count=1) for seed in range(4)]
        assert stream.pid not in {other.pid for other in others}
        await asyncio.gather(*(other.finish(1) for other in others))
        await stream.finish()
        await until(lambda: len(started.worker_pids()) == 2)
    assert [line["event"] for line in trail(tmp_path)].count("session.ended") == 5


async def test_a_worker_that_hangs_gets_no_connections(tmp_path: Path) -> None:
    """It holds no session and the other does, yet the other gets them all; once it goes on it gets its share again."""
    async with running(tmp_path) as (started, port):
        first, other = [await Stream.order(port, seed) for seed in range(2)]
        await first.finish()
        await until(lambda: min(load.connections for load in started.loads()) == 0)
        os.kill(first.pid, signal.SIGSTOP)
        try:
            await until(lambda: [load.silent for load in started.loads()].count(True) == 1)
            assert len(await asyncio.to_thread(started.loads)) == 2  # as /metrics reads them
            others = [await Stream.order(port, seed, count=1) for seed in range(3)]
            assert {one.pid for one in others} == {other.pid}
        finally:
            os.kill(first.pid, signal.SIGCONT)
        await until(lambda: not any(load.silent for load in started.loads()))
        again = await Stream.order(port, 9, count=1)
        assert again.pid == first.pid
        await asyncio.gather(*(one.finish(1) for one in [*others, again]), other.finish())


async def test_released_workers_are_not_replaced() -> None:
    """A supervisor that stops leaves its workers alone; that idle ones end then is no reason to start others."""
    begun: list[Start] = []

    def start() -> Start:
        unused = {"lock_file": "", "plane_socket": "", "spool_directory": "", "write_ahead": ""}
        begun.append(Start(worker=f"w-{len(begun)}", settings=msgspec.Raw(b"{}"), journals=(), **unused))
        return begun[-1]

    async def lost(worker: str) -> None:
        """Settle nothing."""

    command = (sys.executable, "-c", "import os\nwhile os.read(0, 4096): pass")
    plan = WorkerPlan(command=command, count=2, max_workers=2, min_life=0.0)
    pool = WorkerPool(plan, start=start, lost=lost, limits=ConnectionLimits())
    running = asyncio.create_task(pool.run())
    await until(lambda: len(pool.pids()) == 2 or running.done())
    pool.release()
    await running
    assert len(begun) == 2


async def test_workers_that_die_at_once_do_not_take_the_gateway_down(tmp_path: Path) -> None:
    """Connections are closed while there is no worker, and the supervisor goes on trying."""
    async with running(tmp_path, command=(sys.executable, "-c", "raise SystemExit(1)")) as (started, port):
        await until(lambda: not started.worker_pids())
        assert await closed_at_once(port)
    assert trail(tmp_path)[-1]["event"] == "gateway.stopped"


async def test_a_killed_session_ends_with_its_reason(tmp_path: Path) -> None:
    """An operator's kill reaches the worker and the trail."""
    async with running(tmp_path) as (started, port):
        stream = await Stream.order(port, 1)
        await until(lambda: started.plane.kill(stream.session, "asked by an operator"))
        await until(lambda: trail(tmp_path)[-1]["event"] == "session.failed")
        assert await stream.broken()
        end = trail(tmp_path)[-1]
    assert (end["session"], end["reason"]) == (stream.session, "asked by an operator")


async def test_a_balancer_names_the_client(tmp_path: Path) -> None:
    """With the PROXY protocol on, the trail has the real client, and a connection without a header is closed."""
    async with running(tmp_path, proxy_protocol=True, limits=ConnectionLimits(per_address=1)) as (_, port):
        stream = await Stream.order(port, 1, count=1, prologue=b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 22\r\n")
        await stream.finish(1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        writer.close()
    assert {line["client"] for line in trail(tmp_path) if line["session"]} == {"192.0.2.7:4711"}


async def test_strangers_behind_a_balancer_are_told_apart(tmp_path: Path) -> None:
    """One that keeps connections open keeps nobody else out, and has no more of them than without a balancer."""

    async def until_closed(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway)
        try:
            writer.write(f"PROXY TCP4 192.0.2.7 192.0.2.1 {port} 22\r\n".encode())
            with contextlib.suppress(ConnectionError):
                return await reader.read()
            return b""
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async with running(tmp_path, proxy_protocol=True, limits=ConnectionLimits(per_address=2, named_later=True)) as (_, gateway):
        silent = [asyncio.create_task(until_closed(port)) for port in (1, 2, 3)]
        closed, kept = await asyncio.wait(silent, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        assert [one.result() for one in closed] == [b""]
        stream = await Stream.order(gateway, 1, count=1, prologue=b"PROXY TCP4 192.0.2.8 192.0.2.1 4 22\r\n")
        await stream.finish(1)
        assert not any(one.done() for one in kept)
        for one in kept:
            one.cancel()
        await asyncio.wait(kept)


async def test_systemd_is_told(tmp_path: Path) -> None:
    """READY when connections are taken, STOPPING when they are no more."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        async with running(tmp_path, notify_socket=address):
            assert await asyncio.to_thread(sock.recv, 100) == b"READY=1"
        assert sock.recv(100) == b"STOPPING=1"


async def test_a_second_supervisor_does_not_start(tmp_path: Path) -> None:
    """While one writes the trail, another gets a clear word, and nothing of the first is disturbed."""
    async with audit_log(tmp_path):
        with socket.socket() as listener, pytest.raises(AuditUnavailable, match="another process"):
            await supervisor(tmp_path, listener, lock_timeout=0.1).run()
    assert not (tmp_path / "run" / "plane.sock").exists()


async def test_an_address_in_use_is_a_fault_of_the_configuration() -> None:
    """What cannot be bound is named, and nothing stays open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=address):
            bind(["127.0.0.1:0", address])


async def test_ipv6_and_ipv4_are_bound_side_by_side() -> None:
    """Each address is its own socket."""
    sockets = bind(["127.0.0.1:0", "[::1]:0"])
    assert [sock.family for sock in sockets] == [socket.AF_INET, socket.AF_INET6]
    for sock in sockets:
        sock.close()
