"""The worker's half of the plane while the other half is away, slow or full: nothing is lost, nothing waits for ever."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from octopus.control.control_plane import ControlPlane
from octopus.control.plane import Attached
from octopus.control.plane_server import PlaneServer
from octopus.core.errors import AuditUnavailable, ControlUnavailable, DirectoryUnavailable, OctopusError
from octopus.core.types import AuditEvent
from octopus.session.plane_calls import PlaneCalls
from octopus.session.plane_client import PlaneClient
from tests.fake_plane import FakePlane
from tests.parts.disk import no_room_beyond
from tests.parts.tools import missing, need
from tests.plane_parts import ALICE, CONNECTION, NOON, SHELL, attempt, command, ended, events_of, in_process, trail
from tests.recovery import Reaper, start
from tests.streams import until


def client(root: Path, *, patience: float = 30.0) -> PlaneClient:
    """Return worker ``w-1``'s client of the plane below ``root``."""
    (root / "spool").mkdir(exist_ok=True)
    calls = PlaneCalls(root / "run" / "plane.sock", patience=patience)
    return PlaneClient(calls, worker="w-1", spool_directory=root / "spool", clock=lambda: NOON, retry_interval=0.01)


@asynccontextmanager
async def serving(root: Path, **limits: int) -> AsyncIterator[ControlPlane]:
    """Run a control plane and its server."""
    async with in_process(root, **limits) as plane, asyncio.TaskGroup() as tasks:
        owing = tasks.create_task(plane.endings.run())
        server = PlaneServer(plane, root / "run" / "plane.sock", grace=1)
        running = tasks.create_task(server.run())
        try:
            yield plane
        finally:
            plane.attachments.close()
            server.stop()
            await asyncio.wait([running])
            owing.cancel()


async def test_an_end_waits_for_the_next_control_plane(tmp_path: Path) -> None:
    """A session that ends while nobody listens is on the trail as it really ended once somebody does."""
    async with client(tmp_path) as plane:
        async with serving(tmp_path):
            await plane.admit("s-1", ALICE, CONNECTION, "web.1", SHELL)
        recording = asyncio.create_task(plane.record(ended("s-1", exit_status=3)))
        await asyncio.sleep(0)
        assert [one.session for one in plane.live()] == ["s-1"]
        async with serving(tmp_path):
            await recording
        assert plane.live() == ()
    assert events_of(tmp_path, "s-1") == ["session.requested", "session.ended"]


async def test_an_event_waits_too(tmp_path: Path) -> None:
    """A restart in the middle of a session costs it nothing but the wait."""
    async with client(tmp_path) as plane:
        started = AuditEvent(event="session.started", key="s-1/started", session="s-1")
        recording = asyncio.create_task(plane.record(started))
        async with serving(tmp_path):
            await recording
    assert events_of(tmp_path, "s-1") == ["session.started"]


async def test_an_admission_waits_for_a_restart(tmp_path: Path) -> None:
    """Somebody who comes during a restart waits and gets in."""
    async with client(tmp_path) as plane:
        admitting = asyncio.create_task(plane.admit("s-1", ALICE, CONNECTION, "web.1", SHELL))
        await asyncio.sleep(0)
        async with serving(tmp_path):
            assert (await admitting).session == "s-1"


async def test_the_wait_is_bounded_and_the_session_has_its_end(tmp_path: Path) -> None:
    """Where nobody answers in time the person is told, and the trail later."""
    async with client(tmp_path, patience=0) as plane:
        with pytest.raises(ControlUnavailable):
            await plane.authenticate(attempt())
        with pytest.raises(ControlUnavailable):
            await plane.admit("s-1", ALICE, CONNECTION, "web.1", SHELL)
        async with serving(tmp_path):
            await until(lambda: events_of(tmp_path, "s-1"))
    assert events_of(tmp_path, "s-1") == ["session.failed"]


async def test_a_person_who_leaves_while_being_admitted_leaves_one_end(tmp_path: Path) -> None:
    """Whether the admission was under way or done, the session is over once, and not live."""
    async with client(tmp_path) as plane, serving(tmp_path) as control:
        admitting = asyncio.create_task(plane.admit("s-1", ALICE, CONNECTION, "web.1", command("true")))
        await until(lambda: events_of(tmp_path, "s-1"))
        admitting.cancel()
        await asyncio.wait([admitting])
        if not admitting.cancelled():
            await plane.record(ended("s-1"))
        await until(lambda: not control.live.all() and not plane.live())
    assert events_of(tmp_path, "s-1")[:2] == ["session.requested", "exec"]
    assert len(events_of(tmp_path, "s-1")) == 3


async def test_a_worker_that_must_go_spools(tmp_path: Path) -> None:
    """With no control plane at the end, the event is on disk; the next start hands it in, once, before it judges the worker."""
    async with client(tmp_path) as plane:
        async with serving(tmp_path):
            await plane.admit("s-1", ALICE, CONNECTION, "web.1", SHELL)
        recording = asyncio.create_task(plane.record(ended("s-1", exit_status=3)))
        await asyncio.sleep(0)
    await recording
    spooled = tmp_path / "spool" / "w-1.jsonl"
    assert spooled.stat().st_mode & 0o777 == 0o600
    with spooled.open("ab") as file:
        file.write(b'{"event":"half')
    await start(tmp_path, Reaper())
    assert events_of(tmp_path, "s-1") == ["session.requested", "session.ended"]
    assert trail(tmp_path)[-1]["exit_status"] == 3
    assert not spooled.exists()


async def test_a_full_disk_refuses_and_no_end_is_lost(tmp_path: Path) -> None:
    """Events and new sessions are refused at once while the trail cannot be written; ends wait for room."""
    async with client(tmp_path) as plane, serving(tmp_path):
        await plane.admit("s-1", ALICE, CONNECTION, "web.1", SHELL)
        # The trail is to be the largest of the files that grow.
        await plane.record(AuditEvent(event="exec", key="long", data={"command": "x" * 200_000}))
        with no_room_beyond((tmp_path / "audit" / "audit.jsonl").stat().st_size + 10):
            with pytest.raises(AuditUnavailable):
                await plane.record(AuditEvent(event="session.started", key="s-1/started", session="s-1"))
            with pytest.raises(AuditUnavailable):
                await plane.authenticate(attempt())
            with pytest.raises(AuditUnavailable):
                await plane.admit("s-2", ALICE, CONNECTION, "web.1", SHELL)
            recording = asyncio.create_task(plane.record(ended("s-1")))
            await asyncio.sleep(0)
            assert not recording.done()
        await recording
        await plane.admit("s-3", ALICE, CONNECTION, "web.1", SHELL)
        await until(lambda: events_of(tmp_path, "s-2"))
    assert events_of(tmp_path, "s-1") == ["session.requested", "session.ended"]
    assert events_of(tmp_path, "s-2") == ["session.failed"]


async def test_an_end_that_cannot_be_written_as_it_is_becomes_a_plain_one(tmp_path: Path) -> None:
    """A malformed event of ours costs its details, not the session's end."""
    async with client(tmp_path) as plane, serving(tmp_path):
        await plane.admit("s-1", ALICE, CONNECTION, "web.1", SHELL)
        await plane.record(ended("s-1", seq=7))
        await plane.admit("s-2", ALICE, CONNECTION, "web.1", SHELL)
        await plane.record(ended("s-2", what=object()))
    for session in ("s-1", "s-2"):
        assert events_of(tmp_path, session) == ["session.requested", "session.failed"]


async def test_an_end_that_meets_a_bug_is_owed_and_ends_no_other_session(tmp_path: Path) -> None:
    """The worker lives on with all who are in it, and hands the end over once it is taken."""
    control = FakePlane({}, passwords={})
    control.failing |= dict.fromkeys(("session.ended", "session.failed"), cast(OctopusError, ZeroDivisionError("bug")))
    (tmp_path / "run").mkdir()
    server = PlaneServer(control, tmp_path / "run" / "plane.sock", grace=1)
    running = asyncio.create_task(server.run())
    async with client(tmp_path) as plane:
        recording = asyncio.create_task(plane.record(ended("s-1", exit_status=3)))
        assert await anext(plane.commands(1)) == Attached()
        await until(lambda: len(control.met) > 3)
        control.failing.clear()
        await recording
        assert [event.event for event in control.events] == ["session.failed"]
    server.stop()
    await running


async def test_a_worker_attaches_again(tmp_path: Path) -> None:
    """Each new control plane learns of the sessions here, without being asked."""
    async with client(tmp_path) as plane:
        commands = aiter(plane.commands(os.getpid()))
        async with serving(tmp_path):
            assert await anext(commands) == Attached()
            await plane.admit("s-1", ALICE, CONNECTION, "web.1", SHELL)
        async with serving(tmp_path) as control:
            assert await anext(commands) == Attached()
            assert [one.session for one in control.live.all()] == ["s-1"]
            assert control.live.all()[0].connection.worker == "w-1"


async def test_errors_keep_their_type_over_the_socket(tmp_path: Path) -> None:
    """A directory that is down is not taken for a control plane that is."""
    async with client(tmp_path) as plane, serving(tmp_path):
        with pytest.raises(DirectoryUnavailable):
            await plane.authenticate(attempt("down"))


REQUEST = b"POST /record HTTP/1.1\r\nHost: plane\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


NOBODY = 65534


def answer_to(ask: list[str], user: int) -> bytes:
    """Return what a program of another user gets for REQUEST."""
    return subprocess.run(ask, input=REQUEST, capture_output=True, check=False, user=user, group=user, extra_groups=[]).stdout


async def test_only_this_user_is_served(tmp_path: Path) -> None:
    """Another user is cut off even where the modes of files would let them in."""
    if os.getuid() != 0:
        missing("only root can become another user")
    socat = need("socat", "socat")
    # Below a folder that everybody may enter, unlike pytest's own.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plane.sock"
        Path(folder).chmod(0o755)
        async with in_process(tmp_path) as plane, asyncio.TaskGroup() as tasks:
            server = PlaneServer(plane, path, grace=1)
            running = tasks.create_task(server.run())
            await until(path.exists)
            assert path.stat().st_mode & 0o777 == 0o600
            path.chmod(0o666)
            ask = [socat, "-", f"UNIX-CONNECT:{path}"]
            answer = await asyncio.to_thread(answer_to, ask, os.getuid())
            refusal = await asyncio.to_thread(answer_to, ask, NOBODY)
            server.stop()
            await asyncio.wait([running])
        assert answer.startswith(b"HTTP/1.1 400")
        assert refusal == b""


async def test_events_of_files_go_together_and_one_by_one_learn_what_became_of_them(tmp_path: Path) -> None:
    """Many are on the trail in their order; one that cannot be written fails alone; while a restart lasts they wait."""

    def passed(number: int, data: object = "") -> AuditEvent:
        return AuditEvent(event="file.uploaded", key=f"s-1/file/{number}", session="s-1", data={"path": data})

    async with client(tmp_path) as plane:
        recording = [asyncio.create_task(plane.record(passed(number))) for number in range(50)]
        async with serving(tmp_path):
            await asyncio.gather(*recording)
            refused = asyncio.create_task(plane.record(passed(50, "x" * (8 << 20))))
            fine = [asyncio.create_task(plane.record(passed(number))) for number in range(51, 60)]
            await asyncio.gather(*fine)
            await asyncio.wait([refused])
    assert events_of(tmp_path, "s-1").count("file.uploaded") == 59 + (refused.exception() is None)
