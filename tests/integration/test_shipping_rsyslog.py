"""The trail at the collector most people have: a real rsyslogd, over TCP and TLS, restarted in the middle."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from octopus.control.audit_log import FileAuditLog
from octopus.core.types import AuditEvent
from octopus.demo.certificates import Authority
from octopus.shipping.lines import LineShipper
from octopus.shipping.position_file import StateFile
from octopus.shipping.shipment import Shipment
from octopus.shipping.syslog import Collector, trust
from octopus.shipping.trail_reader import TrailReader
from tests.parts.rsyslog import HOST, Rsyslog
from tests.streams import until

pytestmark = pytest.mark.timeout(180)

LONG = "long " * 40_000
"""200,000 characters, as of a command that pastes a file."""


def came(server: Rsyslog) -> dict[int, bytes]:
    """Return each line by its number, in the order of their first coming; what came twice has to be the same."""
    found: dict[int, bytes] = {}
    for line in server.lines:
        assert found.setdefault(json.loads(line)["seq"], line) == line
    return found


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
async def test_each_line_arrives_whole_and_in_order(tmp_path: Path, scheme: str) -> None:
    """Short and long, of every script, before a restart of the collector, meanwhile, and after it."""
    authority = Authority(tmp_path)
    files, client = authority.issue("collector", hosts=[HOST]), authority.issue("gateway")
    server = Rsyslog(tmp_path / "kept", files if scheme == "tls" else None)
    context = trust(str(files.ca), str(client.cert), str(client.key)) if scheme == "tls" else None
    connection = Collector(f"{scheme}://{HOST}:{server.port}", host="gate-1", process=42, context=context)
    async with FileAuditLog(tmp_path / "audit", clock=lambda: 1_700_000_000.0, rotate_size=1_000_000) as log:
        state = StateFile(tmp_path / "audit" / "shipping" / "syslog.json")
        shipment = Shipment(
            "syslog", LineShipper(TrailReader(tmp_path / "audit", log.last), connection, state), interval=0.02, max_wait=0.1
        )
        numbers = iter(range(1_000_000))

        async def some() -> None:
            texts = ["short", "Grüße, 世界 \U0001f419 %s %msg% \\ \" ' <13>1 - - - #011", LONG, "x" * 8192, "y" * 65_536] * 4
            events = (
                AuditEvent(event="exec", key=f"e/{next(numbers)}", session="s-1", login="alice", data={"command": text}) for text in texts
            )
            await asyncio.gather(*map(log.append, events))

        shipping = asyncio.create_task(shipment.run())
        try:
            with server:
                await some()
                await until(lambda: len(came(server)) == log.last())
                ending = asyncio.create_task(asyncio.to_thread(server.__exit__, None, None, None))
                await some()
                await ending
            await some()
            await until(lambda: shipment.problem)
            with server:
                await some()
                await until(lambda: len(came(server)) == log.last())
        finally:
            shipping.cancel()
            await asyncio.gather(shipping, return_exceptions=True)
        files_of_trail = sorted((tmp_path / "audit").glob("audit-*.jsonl"), key=lambda path: int(path.stem.rpartition("-")[2]))
        written = b"".join(path.read_bytes() for path in [*files_of_trail, tmp_path / "audit" / "audit.jsonl"]).splitlines()
        assert list(came(server).values()) == written
