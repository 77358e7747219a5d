"""What a dead worker left in containers: ended when the engine lets us, remembered until then."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

import pytest

from octopus.core.errors import ContainerUnavailable, NoSuchTarget
from octopus.core.types import Connection
from tests.plane_parts import ALICE, SHELL, events_of, in_process
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
