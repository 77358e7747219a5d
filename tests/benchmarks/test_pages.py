"""How the pages do with 100,000 sessions on the trail, and whether the control plane answers others meanwhile."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from octopus.control.audit_lines import fields_of
from octopus.core.chain import CURRENT, Link, seal
from octopus.core.types import AuditEvent
from tests.benchmarks.figures import Figure, Table, high, median, ms, timed
from tests.parts.admin import Admin, admin

SESSIONS = 100_000
TARGET = {"app": "/web", "task": "web.1", "agent": "agent-1.example", "container": "f" * 64}
PAGES = {"the overview": "/", "the list": "/sessions", "a search that finds nothing": "/sessions?text=nobody-is-called-so"}


def write_trail(directory: Path) -> None:
    """Write a trail on which so many sessions began and ended."""
    directory.mkdir(mode=0o700, parents=True)
    link = Link()
    with (directory / CURRENT).open("wb") as file:
        for number in range(SESSIONS):
            for name, key in (("session.requested", "requested"), ("session.ended", "end")):
                session = f"s-{number:012x}"
                event = AuditEvent(event=name, key=f"{session}/{key}", session=session, login="bob", client="10.0.0.1:4000", target=TARGET)
                line, link = seal(link, fields_of(1.7e9 + number, event))
                file.write(line)


async def waits(here: Admin, over: asyncio.Event) -> list[float]:
    """Ask the control plane for a sign of life until it is over; return how long each took."""
    found = []
    async with httpx.AsyncClient(base_url=here.client.base_url, timeout=60) as client:
        while not over.is_set():
            begun = time.perf_counter()
            await client.get("/healthz")
            found.append(time.perf_counter() - begun)
    return found


async def test_a_hundred_thousand_sessions(tmp_path: Path, table: Table) -> None:
    """Each page, and the longest that somebody else waited for the control plane while it was worked out."""
    await asyncio.to_thread(write_trail, tmp_path / "audit")
    async with admin(tmp_path) as here:
        await here.log_in()
        for name, path in PAGES.items():
            over = asyncio.Event()
            waiting = asyncio.create_task(waits(here, over))
            took = [await timed(lambda path=path: here.client.get(path)) for _ in range(5)]  # type: ignore[misc]
            over.set()
            others = await waiting
            how = f"median of 5; another's answer meanwhile {ms(median(others))}, 99 %: {ms(high(others))}, longest {ms(max(others))}"
            table.add(Figure(name=f"pages: {name} with 100,000 sessions", ours=ms(median(took)), goal="page by page", how=how))
