"""What a dead worker left in containers: ended when the engine lets us, remembered until then."""

from __future__ import annotations

import asyncio
import fcntl
from collections import deque
from pathlib import Path

import pytest

from octopus.control.worker_locks import WorkerLocks
from octopus.core.errors import ContainerUnavailable, NoSuchTarget
from octopus.core.types import AuditEvent, Connection
from octopus.session.journal import Journal
from octopus.session.spool import leave
from octopus.session.write_ahead import WriteAhead
from tests.plane_parts import ALICE, SHELL, audit_log, events_of, in_process
from tests.recovery import Reaper, start
from tests.streams import until

SERVED = Connection(id="c-1", client="10.0.0.1:4000", worker="w-1")


async def begin(root: Path) -> str:
    """Admit a session of a worker that is dead since; return the token of its processes."""
    async with in_process(root) as plane:
        admission = await plane.admit("s-1", ALICE, SERVED, "web.1", SHELL)
    return admission.allow.spec.token


def kept(root: Path) -> list[str]:
    """Return the sessions of which something may be left."""
    return [path.stem for path in (root / "run" / "sessions").glob("*.json")]


@pytest.mark.parametrize("error", [None, NoSuchTarget("gone"), KeyError("a bug")])
async def test_what_is_left_is_ended_once(tmp_path: Path, error: Exception | None) -> None:
    """By the token of the session; a container that is gone, or a bug of ours, is not tried again and hurts nobody."""
    token = await begin(tmp_path)
    reaper = Reaper(error)
    for _ in range(2):
        await start(tmp_path, reaper)
    assert reaper.tokens == [token]
    assert kept(tmp_path) == []
    assert events_of(tmp_path, "s-1") == ["session.requested", "session.failed"]


async def test_an_engine_that_is_down_is_asked_again(tmp_path: Path) -> None:
    """The session has its end at once; its processes are ended by the start that finds the engine up."""
    token = await begin(tmp_path)
    down, up = Reaper(ContainerUnavailable("no answer")), Reaper()
    await start(tmp_path, down)
    assert kept(tmp_path) == ["s-1"]
    await start(tmp_path, up)
    assert (down.tokens, up.tokens, kept(tmp_path)) == ([token], [token], [])
    assert events_of(tmp_path, "s-1") == ["session.requested", "session.failed"]


async def test_a_worker_that_lives_is_waited_for(tmp_path: Path) -> None:
    """While it holds its lock nothing of its is touched."""
    await begin(tmp_path)
    lock = tmp_path / "run" / "workers" / "w-1.lock"
    lock.parent.mkdir()
    reaper = Reaper()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        starting = asyncio.create_task(start(tmp_path, reaper))
        await until(lambda: (tmp_path / "spool").exists())
        for _ in range(100):
            await asyncio.sleep(0)
        assert events_of(tmp_path, "s-1") == ["session.requested"]
    await starting
    assert events_of(tmp_path, "s-1") == ["session.requested", "session.failed"]
    assert len(reaper.tokens) == 1
    assert not lock.exists()


async def test_a_session_file_that_cannot_be_read_is_no_hindrance(tmp_path: Path) -> None:
    """The trail alone is enough for the end."""
    await begin(tmp_path)
    (tmp_path / "run" / "sessions" / "s-1.json").write_bytes(b"{half")
    await start(tmp_path, Reaper())
    assert events_of(tmp_path, "s-1") == ["session.requested", "session.failed"]
    assert kept(tmp_path) == []


async def test_what_it_was_handing_over_is_on_the_trail_once(tmp_path: Path) -> None:
    """A file that passed is told of though the worker was killed right then; what had arrived already is not told twice."""
    await begin(tmp_path)
    passed = [AuditEvent(event="file.uploaded", key=f"s-1/file/{number}", session="s-1") for number in range(3)]
    async with audit_log(tmp_path) as log:
        await log.append(passed[0])
    (tmp_path / "run" / "workers").mkdir(exist_ok=True)
    paths = WorkerLocks(tmp_path / "run" / "workers").journals("w-1")
    journal = Journal(paths, most=1)
    turns = [journal.add(event) for event in passed]
    journal.close()
    assert turns == [0, 1, 1]
    await start(tmp_path, Reaper())
    assert events_of(tmp_path, "s-1") == ["session.requested", *["file.uploaded"] * 3, "session.failed"]
    assert not any(path.exists() for path in paths)


@pytest.mark.parametrize("event", ["file.uploaded", "session.ended"])
async def test_what_can_be_no_line_of_the_trail_is_no_hindrance(tmp_path: Path, event: str) -> None:
    """It is a bug of ours, and must not keep the gateway from starting, now and ever after."""
    await begin(tmp_path)
    (tmp_path / "spool").mkdir()
    wrong = AuditEvent(event=event, key="s-1/wrong", session="s-1", data={"seq": 7})
    right = AuditEvent(event="file.listed", key="s-1/right", session="s-1")
    for one in (wrong, right):
        leave(tmp_path / "spool", "w-1", one)
    await start(tmp_path, Reaper())
    assert events_of(tmp_path, "s-1") == ["session.requested", "file.listed", "session.failed"]


async def test_what_it_had_shown_is_in_the_recording(tmp_path: Path) -> None:
    """Though the worker was killed before the disk had the last lines."""
    await begin(tmp_path)
    (tmp_path / "run" / "workers").mkdir(exist_ok=True)
    path = WorkerLocks(tmp_path / "run" / "workers").write_ahead("w-1")
    part = tmp_path / "recordings" / "2026" / "01" / "01" / "s-1.cast.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b'{"version":2}\n[0.1,"o"')
    file = WriteAhead(path)
    for session, at in (("s-0", 0), ("s-1", 14)):
        assert file.slot(session).keep(at, b'[0.1,"o","shown"]\n[0.2,"o","too"]\n')
    file.close()
    await start(tmp_path, Reaper())
    assert part.with_suffix("").read_bytes() == b'{"version":2}\n[0.1,"o","shown"]\n[0.2,"o","too"]\n'
    assert not path.exists()


def test_a_journal_is_as_long_as_what_is_under_way(tmp_path: Path) -> None:
    """However long somebody always waits, the files are emptied in their turns."""
    paths = [tmp_path / "0", tmp_path / "1"]
    journal = Journal(paths, most=1000)
    event = AuditEvent(event="file.uploaded", key="s-1/file/1", session="s-1")
    waiting: deque[int] = deque()
    for _ in range(1000):
        waiting.append(journal.add(event))
        if len(waiting) > 5:
            journal.settled(waiting.popleft())
        assert sum(path.stat().st_size for path in paths) < 5000
    while waiting:
        journal.settled(waiting.popleft())
    assert [path.stat().st_size for path in paths] == [0, 0]
    journal.close()
