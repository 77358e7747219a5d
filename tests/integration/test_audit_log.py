"""The audit trail on a real disk: durable, once, whole, and refused rather than lost."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from octopus.control.audit_log import FileAuditLog
from octopus.core.errors import AuditUnavailable
from octopus.core.types import AuditEvent
from tests.parts.disk import no_room_beyond

NOON = 1_700_000_000.25


def audit_log(directory: Path, **limits: Any) -> FileAuditLog:
    """Return a log whose clock stands still."""
    return FileAuditLog(directory, clock=lambda: NOON, **limits)


def event(name: str, session: str = "s-1", **data: Any) -> AuditEvent:
    """Return an event of a session."""
    return AuditEvent(event=name, key=f"{session}/{name}", session=session, login="alice", client="10.0.0.1:4000", data=data)


def every_line(directory: Path) -> list[dict[str, Any]]:
    """Return what is on the current file."""
    return [json.loads(line) for line in (directory / "audit.jsonl").read_bytes().splitlines()]


def lines(directory: Path) -> list[dict[str, Any]]:
    """Return what is on the current file, but for the checkpoints."""
    return [line for line in every_line(directory) if line["event"] != "audit.checkpoint"]


async def test_an_event_is_a_line_with_its_place(tmp_path: Path) -> None:
    """A line has its number, the time in UTC, the common fields and what the event adds."""
    async with audit_log(tmp_path) as log:
        await log.append(event("session.requested", rule="policy[0]"))
        await log.append(event("session.ended", exit_status=3))
    start, first, second, _ = every_line(tmp_path)
    assert first == {
        "seq": 2,
        "prev": start["hash"],
        "time": "2023-11-14T22:13:20.250000Z",
        "event": "session.requested",
        "session": "s-1",
        "login": "alice",
        "client": "10.0.0.1:4000",
        "target": {},
        "rule": "policy[0]",
        "key": "s-1/session.requested",
        "hash": second["prev"],
    }
    assert (second["seq"], second["exit_status"], second["key"]) == (3, 3, "s-1/end")


async def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    """The directory is 0700 and its files 0600."""
    directory = tmp_path / "audit"
    async with audit_log(directory) as log:
        await log.append(event("exec"))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


async def test_events_together_are_all_there_in_order(tmp_path: Path) -> None:
    """A thousand events at once are a thousand lines, numbered without a gap."""
    async with audit_log(tmp_path) as log:
        await asyncio.gather(*(log.append(event("exec", f"s-{number}")) for number in range(1000)))
    assert [line["seq"] for line in every_line(tmp_path)] == list(range(1, 1004))
    assert [line["session"] for line in lines(tmp_path)] == [f"s-{number}" for number in range(1000)]


async def test_a_key_is_written_once(tmp_path: Path) -> None:
    """The same event at once, again, and again after a restart is one line."""
    async with audit_log(tmp_path) as log:
        await asyncio.gather(log.append(event("exec")), log.append(event("exec")))
        await log.append(event("exec"))
    async with audit_log(tmp_path) as log:
        await log.append(event("exec"))
        assert log.holds("s-1/exec")
    assert len(lines(tmp_path)) == 1


async def test_a_session_ends_once(tmp_path: Path) -> None:
    """Of two different terminal events of one session the first stays the only one."""
    async with audit_log(tmp_path) as log:
        await log.append(event("session.requested", worker="w-1"))
        assert [one.worker for one in log.open_sessions()] == ["w-1"]
        await asyncio.gather(log.append(event("session.ended")), log.append(event("session.failed")))
        assert log.open_sessions() == ()
    assert [line["event"] for line in lines(tmp_path)] == ["session.requested", "session.ended"]


async def test_control_characters_stay_inside_their_line(tmp_path: Path) -> None:
    """Line breaks and escapes in a command cannot make a line."""
    command = 'echo \n{"seq":9}\r\x1b[2J\x00\u2028\u0085"'
    async with audit_log(tmp_path) as log:
        await log.append(event("exec", command=command))
    raw = (tmp_path / "audit.jsonl").read_bytes()
    assert raw.count(b"\n") == 3
    assert not any(byte < 32 for byte in raw.replace(b"\n", b""))
    assert lines(tmp_path)[0]["command"] == command


async def test_what_an_event_adds_cannot_replace_the_trails_own(tmp_path: Path) -> None:
    """An event that would set a field of the trail's own is refused, its caller alone."""
    async with audit_log(tmp_path) as log:
        with pytest.raises(ValueError, match="seq"):
            await log.append(event("exec", seq=1))
        await log.append(event("exec"))


async def test_a_torn_line_is_cut_and_told_of(tmp_path: Path) -> None:
    """What a crash left of a last line goes, its number is given again, and the trail says so."""
    async with audit_log(tmp_path) as log:
        await log.append(event("exec"))
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"seq":2,"event":"exec","key":"x"\x1b')
    async with audit_log(tmp_path) as log:
        await log.append(event("session.ended"))
    assert [(line["seq"], line["event"]) for line in lines(tmp_path)] == [(2, "exec"), (4, "audit.repaired"), (6, "session.ended")]
    assert lines(tmp_path)[1]["bytes"] == 34


async def test_a_full_disk_refuses_and_leaves_whole_lines(tmp_path: Path) -> None:
    """Where a line does not fit nothing is written; with room again the same log writes on."""
    async with audit_log(tmp_path) as log:
        with no_room_beyond(2048):
            await log.append(event("session.requested"))
            with pytest.raises(AuditUnavailable):
                await log.append(event("exec", command="x" * 4000))
            assert len(lines(tmp_path)) == 1
        await log.append(event("exec", command="x" * 4000))
    assert [line["seq"] for line in every_line(tmp_path)] == [1, 2, 3, 4]


async def test_a_file_that_shrank_is_not_written_on(tmp_path: Path) -> None:
    """After a failure, a file with less in it than was written is somebody's work: refuse."""
    async with audit_log(tmp_path) as log:
        with no_room_beyond(2048):
            await log.append(event("session.requested"))
            with pytest.raises(AuditUnavailable):
                await log.append(event("exec", command="x" * 4000))
        os.truncate(tmp_path / "audit.jsonl", 10)
        with pytest.raises(AuditUnavailable, match="shrunk"):
            await log.append(event("session.ended"))


async def test_a_second_writer_waits_and_is_refused(tmp_path: Path) -> None:
    """While one process writes, another waits for its bounded time and gets a clear word."""
    async with audit_log(tmp_path):
        with pytest.raises(AuditUnavailable, match="another process"):
            async with audit_log(tmp_path, lock_timeout=0.1):
                pass


async def test_a_second_writer_takes_over(tmp_path: Path) -> None:
    """A second start waits for the first to end, and reads what it wrote."""
    async with asyncio.TaskGroup() as tasks:
        async with audit_log(tmp_path) as first:
            second = audit_log(tmp_path, lock_timeout=60)
            entering = tasks.create_task(second.__aenter__())
            await first.append(event("session.requested"))
            assert not entering.done()
        await entering
        assert [one.session for one in second.open_sessions()] == ["s-1"]
        await second.__aexit__(None, None, None)


async def test_waiting_is_bounded(tmp_path: Path) -> None:
    """More events than may wait for the disk are refused, the others written."""
    async with audit_log(tmp_path, max_waiting=3) as log:
        outcomes = await asyncio.gather(*(log.append(event("exec", f"s-{number}")) for number in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 3 + [AuditUnavailable] * 2
    assert len(lines(tmp_path)) == 3


async def test_an_unreadable_line_is_passed_over(tmp_path: Path) -> None:
    """A damaged line in the middle does not keep the gateway from starting."""
    (tmp_path / "audit.jsonl").write_bytes(
        b'{"seq":1,"time":"2023-11-14T22:13:19Z","event":"exec","key":"a"}\n\xff\x00garbage\n{"seq":3,"event":"exec","key":"c"}\n'
    )
    async with audit_log(tmp_path) as log:
        await log.append(event("exec"))
        assert log.holds("a")
    assert json.loads((tmp_path / "audit.jsonl").read_bytes().splitlines()[-1])["seq"] == 6
