"""What a session worker may count on, held against both planes: in this process, and over HTTP on a unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from octopus.control.control_plane import ControlPlane
from octopus.control.plane import Attached, KillSession, LiveSession, Plane
from octopus.control.plane_server import PlaneServer
from octopus.core.errors import (
    AccessDenied,
    AmbiguousTarget,
    AuthenticationFailed,
    DirectoryUnavailable,
    InvalidRequest,
    InvalidTarget,
    NoSuchTarget,
    OctopusError,
    TooManySessions,
)
from octopus.core.types import AuditEvent, Pty, RequestKind, SessionRequest, TermSize
from octopus.session.plane_calls import PlaneCalls
from octopus.session.plane_client import PlaneClient
from tests.plane_parts import ALICE, CONNECTION, MALLORY, NOON, SHELL, attempt, command, ended, events_of, in_process, target, trail

Planes = AbstractAsyncContextManager[tuple[Plane, ControlPlane]]


@asynccontextmanager
async def directly(root: Path, **limits: int) -> AsyncIterator[tuple[Plane, ControlPlane]]:
    """The control plane itself."""
    async with in_process(root, **limits) as plane:
        yield plane, plane


@asynccontextmanager
async def over_http(root: Path, **limits: int) -> AsyncIterator[tuple[Plane, ControlPlane]]:
    """A worker's client, a unix socket, and the control plane behind it."""
    socket = root / "run" / "plane.sock"
    async with in_process(root, **limits) as plane, asyncio.TaskGroup() as tasks:
        server = PlaneServer(plane, socket)
        serving = tasks.create_task(server.run())
        client = PlaneClient(PlaneCalls(socket), worker="w-1", spool_directory=root, clock=lambda: NOON)
        async with client:
            yield client, plane
        plane.attachments.close()
        server.stop()
        await serving


@pytest.fixture(params=[directly, over_http])
def planes(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Planes]:
    """Each of the two ways to reach a control plane; the second of the pair is the control plane itself."""

    def opened(**limits: int) -> Planes:
        return request.param(tmp_path, **limits)  # type: ignore[no-any-return]

    return opened


async def test_a_person_is_known_and_on_the_trail(planes: Callable[..., Planes], tmp_path: Path) -> None:
    """A right password gives the identity, groups and all, and ``auth.accepted``."""
    async with planes() as (plane, _):
        assert await plane.authenticate(attempt()) == ALICE
    (line,) = trail(tmp_path)
    assert (line["event"], line["login"], line["client"], line["method"]) == ("auth.accepted", "alice", "10.0.0.1:4000", "password")


async def test_a_refusal_is_on_the_trail_without_the_password(planes: Callable[..., Planes], tmp_path: Path) -> None:
    """A wrong password is refused uniformly, written down, and itself nowhere."""
    async with planes() as (plane, _):
        with pytest.raises(AuthenticationFailed) as caught:
            await plane.authenticate(attempt("hunter2"))
        assert caught.value.notice == "authentication failed"
    assert [line["event"] for line in trail(tmp_path)] == ["auth.refused"]
    assert "hunter2" not in json.dumps(trail(tmp_path))


async def test_a_directory_that_is_down_is_no_refusal(planes: Callable[..., Planes]) -> None:
    """The person learns that it is not their password."""
    async with planes() as (plane, _):
        with pytest.raises(DirectoryUnavailable):
            await plane.authenticate(attempt("down"))


async def test_a_session_is_on_the_trail_before_it_begins(planes: Callable[..., Planes], tmp_path: Path) -> None:
    """An admitted command has its target, its spec, and two events, with the command as it was typed."""
    async with planes() as (plane, control):
        admission = await plane.admit("s-1", ALICE, CONNECTION, "alice+web.1", command("ls\n'\x1b"))
        assert (admission.session, admission.target, admission.allow.rule) == ("s-1", target("web.1"), "policy[0]")
        assert admission.allow.spec.command == "ls\n'\x1b"
        assert control.live.get("s-1")
    requested, ran = trail(tmp_path)
    assert (requested["event"], requested["rule"], requested["kind"]) == ("session.requested", "policy[0]", "exec")
    assert requested["target"] == {"app": "/web", "task": "web.1", "agent": "agent-1", "container": ""}
    assert (ran["event"], ran["command"]) == ("exec", "ls\n'\x1b")


async def test_what_is_live_says_what_was_asked_for(planes: Callable[..., Planes]) -> None:
    """A transfer or a log starts no command: who looks at live sessions sees what they are all the same."""
    asked = SessionRequest(kind=RequestKind.SCP, command="scp -f /tmp")
    async with planes() as (plane, control):
        await plane.admit("s-1", ALICE, CONNECTION, "web.1", asked)
        [live] = control.live.all()
        assert (live.admission.kind, live.admission.command, live.admission.allow.spec.command) == ("scp", "scp -f /tmp", None)


async def test_admitted_twice_is_admitted_once(planes: Callable[..., Planes], tmp_path: Path) -> None:
    """A worker that saw no answer asks again, gets the same, and the trail holds it once."""
    async with planes() as (plane, _):
        first, second = await asyncio.gather(*(plane.admit("s-1", ALICE, CONNECTION, "web.1", SHELL) for _ in range(2)))
        assert first == second
    assert events_of(tmp_path, "s-1") == ["session.requested"]


REFUSALS: list[tuple[str, type[OctopusError], str]] = [
    ("web", AmbiguousTarget, "session.denied"),
    ("nothing", NoSuchTarget, "session.denied"),
    ("secret.1", NoSuchTarget, "session.denied"),
    ("db.1", AccessDenied, "session.denied"),
    ("alice+", InvalidTarget, "session.denied"),
    ("\x1b[2J", InvalidTarget, "session.denied"),
]


@pytest.mark.parametrize(("name", "error", "event"), REFUSALS)
async def test_a_refused_session_has_one_end(
    planes: Callable[..., Planes], tmp_path: Path, name: str, error: type[OctopusError], event: str
) -> None:
    """Whatever the reason, the caller gets its error and the trail exactly one terminal event; nothing is live."""
    async with planes() as (plane, control):
        with pytest.raises(error) as caught:
            await plane.admit("s-1", ALICE, CONNECTION, name, SHELL)
        assert type(caught.value) is error
        assert not control.live.all()
    assert events_of(tmp_path, "s-1") == [event]


@pytest.mark.parametrize(("pty", "shown"), [(Pty(term="xterm", size=TermSize(cols=80, rows=24)), True), (None, False)])
async def test_the_trail_tells_a_choice_from_a_refusal(planes: Callable[..., Planes], tmp_path: Path, pty: Pty | None, shown: bool) -> None:
    """Who had a terminal was shown a list, and may well be in under the next session's id."""
    async with planes() as (plane, _):
        with pytest.raises(AmbiguousTarget):
            await plane.admit("s-1", ALICE, CONNECTION, "web", SessionRequest(kind=RequestKind.SHELL, pty=pty))
    [end] = trail(tmp_path)
    assert end["reason"].endswith(": a list to choose from was shown") is shown


async def test_candidates_of_an_ambiguous_name_arrive(planes: Callable[..., Planes]) -> None:
    """The person can be shown what was meant."""
    async with planes() as (plane, _):
        with pytest.raises(AmbiguousTarget) as caught:
            await plane.admit("s-1", ALICE, CONNECTION, "web", SHELL)
        assert caught.value.candidates == ("web.1", "web.2")


async def test_strangers_see_nothing(planes: Callable[..., Planes]) -> None:
    """Candidates and replacements are those the policy lets the person see."""
    async with planes() as (plane, _):
        assert [one.task for one in await plane.candidates(ALICE)] == ["web.1", "web.2", "db.1"]
        assert [one.task for one in await plane.candidates(ALICE, "web", 1)] == ["web.1"]
        assert await plane.candidates(MALLORY) == ()
        assert await plane.replacement(ALICE, target("web.1")) == "web.2"
        assert await plane.replacement(ALICE, target("db.1")) == ""
        assert await plane.replacement(MALLORY, target("web.1")) == ""


@pytest.mark.parametrize("limits", [{"max_sessions": 2}, {"rule_limit": 2}])
async def test_a_session_too_many_is_refused_until_one_ends(planes: Callable[..., Planes], tmp_path: Path, limits: dict[str, int]) -> None:
    """The gateway's limit and the rule's hold at once for concurrent requests, and an end makes room."""
    async with planes(**limits) as (plane, _):
        outcomes = await asyncio.gather(
            *(plane.admit(f"s-{number}", ALICE, CONNECTION, "web.1", SHELL) for number in range(3)), return_exceptions=True
        )
        assert [type(one) for one in outcomes if isinstance(one, Exception)] == [TooManySessions]
        admitted = next(one.session for one in outcomes if not isinstance(one, BaseException))
        await plane.record(ended(admitted))
        await plane.admit("s-9", ALICE, CONNECTION, "web.1", SHELL)
    assert sum(line["event"] == "session.denied" for line in trail(tmp_path)) == 1


async def test_a_session_ends_once(planes: Callable[..., Planes], tmp_path: Path) -> None:
    """Two ends of one session are one line, and the session is off the table."""
    async with planes() as (plane, control):
        await plane.admit("s-1", ALICE, CONNECTION, "web.1", SHELL)
        await plane.record(ended("s-1", exit_status=0))
        await plane.record(AuditEvent(event="session.failed", key="other", session="s-1"))
        assert not control.live.all()
        with pytest.raises(InvalidRequest):
            await plane.admit("s-1", ALICE, CONNECTION, "web.1", SHELL)
    assert events_of(tmp_path, "s-1") == ["session.requested", "session.ended"]


async def test_an_attached_worker_hears_commands(planes: Callable[..., Planes]) -> None:
    """The first message says that the worker is known, then a kill reaches the worker that has the session."""
    async with planes() as (plane, control):
        connection = CONNECTION if plane is not control else CONNECTION.__class__(id="c-1", client="10.0.0.1:4000", worker="w-1")
        await plane.admit("s-1", ALICE, connection, "web.1", SHELL)
        commands = aiter(plane.attach("w-1", 1, ()))
        assert await anext(commands) == Attached()
        assert control.kill("s-1", "asked by an operator")
        assert not control.kill("s-2", "asked by an operator")
        assert await anext(commands) == KillSession(session="s-1", reason="asked by an operator")


async def test_a_worker_tells_its_sessions(planes: Callable[..., Planes], tmp_path: Path) -> None:
    """A control plane that does not know a session learns of it; one whose end is on the trail is to be ended."""
    async with planes() as (plane, control):
        admission = await plane.admit("s-1", ALICE, CONNECTION, "web.1", SHELL)
        unknown = LiveSession(session="s-2", identity=ALICE, connection=CONNECTION, admission=admission)
        over = LiveSession(session="s-1", identity=ALICE, connection=CONNECTION, admission=admission)
        await plane.record(ended("s-1"))
        commands = aiter(plane.attach("w-1", 1, (unknown, over)))
        assert await anext(commands) == Attached()
        kill = await anext(commands)
        assert isinstance(kill, KillSession)
        assert kill.session == "s-1"
        assert control.live.all() == (unknown,)
