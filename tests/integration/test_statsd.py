"""Figures by UDP, to a socket that listens and to a host that is not there."""

from __future__ import annotations

import asyncio
import socket

from octopus.fleet.figures import Family, labelled, single
from octopus.fleet.statsd import StatsdSender


async def test_figures_arrive() -> None:
    """Each as a line of StatsD, many in a datagram, the prefix in front; of a counter what is new."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)

        def figures() -> list[Family]:
            many = {f"/app-{number}": float(number) for number in range(200)}
            return [labelled("headroom_instances", "app", many, ""), single("audit_lines_total", 3, "", counter=True)]

        sender = StatsdSender("127.0.0.1", listener.getsockname()[1], [figures], prefix="site.octopus", interval=0.01)
        running = asyncio.create_task(sender.run())
        lines: set[str] = set()
        async with asyncio.timeout(30):
            while not {"site.octopus.headroom.instances.app-199:199|g", "site.octopus.audit.lines:3|c"} <= lines:
                datagram = await asyncio.get_running_loop().sock_recv(listener, 65536)
                assert len(datagram) <= 1400
                lines.update(datagram.decode().split("\n"))
        running.cancel()
        await asyncio.wait([running])
        assert "site.octopus.headroom.instances.app-0:0|g" in lines


async def test_a_host_that_is_not_found_ends_nothing() -> None:
    """It is tried again. (No name server is asked about this one.)"""
    asked = asyncio.Event()
    count = 0

    def figures() -> list[Family]:
        nonlocal count
        count += 1
        if count > 2:
            asked.set()
        return []

    running = asyncio.create_task(StatsdSender("::1%no-such-interface", 8125, [figures], interval=0.01).run())
    async with asyncio.timeout(60):
        await asked.wait()
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
