"""The verbs of auditors and operators on a trail on disk: what they print, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import socket
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from octopus.cli import run
from octopus.control import audit_prune
from octopus.control.audit_file import finished_files
from octopus.control.audit_log import FileAuditLog
from octopus.control.audit_signing import Signer
from octopus.control.audit_verify import verify
from octopus.control.control_plane import ControlPlane
from octopus.control.operator_calls import OperatorCalls
from octopus.control.plane import Attached, KillSession
from octopus.control.plane_server import PlaneServer
from octopus.core.asciicast import Asciicast
from octopus.core.types import AuditEvent, Connection, Output, TermSize
from octopus.operations import operator
from octopus.shipping.position_file import Shipped, StateFile
from octopus.shipping.trail_reader import Position
from tests.plane_parts import ALICE, SHELL, in_process, trail
from tests.streams import until

NOON = 1_700_000_000.0
DAY = 86_400.0


async def write(directory: Path, events: Iterable[AuditEvent], clock: Callable[[], float] = lambda: NOON, **settings: Any) -> None:
    """Write a trail, one event after the other."""
    async with FileAuditLog(directory, clock=clock, **settings) as log:
        for event in events:
            await log.append(event)


def event(name: str, session: str = "s-1", **data: Any) -> AuditEvent:
    """Return an event of alice's session in a container."""
    target = {"app": "/web", "task": "web.1", "agent": "agent-1", "container": "c" * 12}
    return AuditEvent(event=name, key=f"{session}/{name}", session=session, login="alice", client="10.0.0.1:4000", target=target, data=data)


async def test_verify_tells_a_whole_trail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What there is, and exit status 0."""
    await write(tmp_path, [event("session.requested"), event("session.ended")])
    assert run(["verify", str(tmp_path)]) == 0
    assert capsys.readouterr() == (
        "4 lines in 1 files, 2 checkpoints (0 signed), 0 recordings\nthis trail is whole\n",
        "",
    )


async def test_verify_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """File, line and kind; exit status 1; what the trail holds does nothing to the terminal."""
    path = tmp_path / "audit.jsonl"
    await write(tmp_path, [event("session.requested"), event("session.ended", recordings=[{"path": "\x1b[2J", "sha256": "", "size": 1}])])
    path.write_bytes(path.read_bytes().replace(b"alice", b"mallory", 1))
    assert run(["verify", str(tmp_path)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "audit.jsonl:2: altered: its hash does not fit what it holds"
    assert told[1].startswith("audit.jsonl:3: recording: recording '\\x1b[2J' of session 's-1' is missing")
    assert told[-1] == "this trail is NOT whole"
    assert run(["verify", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["faults"]
    assert [(fault["file"], fault["line"], fault["kind"]) for fault in found] == [
        ("audit.jsonl", 2, "altered"),
        ("audit.jsonl", 3, "recording"),
    ]


async def test_verify_checks_signatures_by_the_keys_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one it says that it did not."""
    key = Ed25519PrivateKey.generate()
    private, public, audit = tmp_path / "key", tmp_path / "key.pub", tmp_path / "audit"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    await write(audit, [event("exec")], signer=Signer(private))
    assert run(["verify", str(audit), "--public-key", str(public)]) == 0
    assert "2 checkpoints (2 signed)" in capsys.readouterr().out
    assert run(["verify", str(audit)]) == 0
    assert "signatures were not checked" in capsys.readouterr().out
    assert run(["verify", str(audit), "--public-key", str(private)]) == 78
    assert run(["verify", str(tmp_path / "none")]) == 69


def configured(tmp_path: Path) -> list[str]:
    """Return the arguments that name a configuration whose audit directory is ``tmp_path``/audit."""
    users = tmp_path / "users.toml"
    users.touch(mode=0o600)
    users.write_text("[users.al]\n")
    (tmp_path / "octopus.toml").write_text(
        '[ssh]\nruntime_directory = "run"\n[audit]\ndirectory = "audit"\n[auth.users]\nfile = "users.toml"\n'
        '[docker]\nurl = "unix:///nowhere"\ninventory = true\n[[policy]]\nusers = ["al"]\napps = ["**"]\nallow = ["shell"]\n'
    )
    return ["--config", str(tmp_path / "octopus.toml")]


async def some_sessions(directory: Path) -> None:
    """Write four sessions on four days: one that ended, one denied, one whose worker died, one live."""
    now = [NOON]

    def clock() -> float:
        now[0] += DAY / 2
        return now[0]

    recordings = [{"path": "2023/11/15/s-1.cast", "sha256": "", "size": 1}]
    other = AuditEvent(
        event="session.denied", key="s-2/end", session="s-2", login="bob\x1b[2J", client="[fe80::1]:9", data={"reason": "no rule"}
    )
    await write(
        directory,
        [
            event("session.requested", kind="exec"),
            event("exec", command="ls"),
            event("session.ended", exit_status=3, recordings=recordings),
            other,
            event("session.requested", "s-3", kind="shell"),
            event("session.failed", "s-3", reason="worker lost"),
            event("session.requested", "s-4", kind="shell"),
            event("auth.accepted", ""),
        ],
        clock,
    )


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], ["s-1", "s-2", "s-3", "s-4"]),
        (["--login", "alice"], ["s-1", "s-3", "s-4"]),
        (["--app", "we"], ["s-1", "s-3", "s-4"]),
        (["--app", "/w*", "--limit", "1"], ["s-4"]),
        (["--app", "/other/**"], []),
        (["--client", "10.0.0.0/8"], ["s-1", "s-3", "s-4"]),
        (["--client", "fe80::1"], ["s-2"]),
        (["--live"], ["s-4"]),
        (["--until", "2023-11-19T01:00:00+01:00"], ["s-1", "s-2"]),
        (["--since", "2023-11-19"], ["s-3", "s-4"]),
        (["--since", "1h"], ["s-4"]),
    ],
)
async def test_sessions_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], found: list[str]) -> None:
    """Those that are asked for, over all files of the trail."""
    await some_sessions(tmp_path / "audit")
    assert run(["sessions", "--json", *arguments, *configured(tmp_path)]) == 0
    assert [one["session"] for one in json.loads(capsys.readouterr().out)] == found


async def test_a_session_is_told_as_a_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From all its lines, in columns with nothing in them that a terminal would act on."""
    await some_sessions(tmp_path / "audit")
    config = configured(tmp_path)
    assert run(["sessions", *config]) == 0
    head, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert head == ["session", "login", "client", "app", "task", "began", "ended", "outcome"]
    assert [(row[0], row[1], row[7]) for row in rows] == [
        ("s-1", "alice", "ended 3"),
        ("s-2", "bob\\x1b[2J", "denied no rule"),
        ("s-3", "alice", "failed worker lost"),
        ("s-4", "alice", "live"),
    ]
    assert run(["sessions", "--json", *config]) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert (first["kind"], first["command"], first["recordings"]) == ("exec", "ls", ["2023/11/15/s-1.cast"])


NONSENSE = [
    ["--since", "yesterday"],
    ["--since", "999999d"],
    ["--until", "0001-01-01T00:00+14:00"],
    ["--client", "x"],
    ["--app", "/a/***"],
]


@pytest.mark.parametrize("arguments", NONSENSE)
async def test_sessions_are_not_listed_for_nonsense(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """A wrong time, address or glob is 64."""
    await some_sessions(tmp_path / "audit")
    assert run(["sessions", *arguments, *configured(tmp_path)]) == 64
    assert capsys.readouterr().out == ""


class Recorder:
    """The audit log, as the plane lets one write it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.append = plane.record


def answers(path: Path) -> bool:
    """Tell whether somebody listens at the socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@asynccontextmanager
async def gateway(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """Run a control plane and its socket where the configuration says."""
    async with in_process(tmp_path) as plane, asyncio.TaskGroup() as tasks:
        calls = OperatorCalls(log=Recorder(plane), live=plane.live, kill=plane.kill, new_id=iter("123").__next__)
        path = tmp_path / "run" / "plane.sock"
        server = PlaneServer(plane, path, operator=calls, grace=1)
        serving = tasks.create_task(server.run())
        await until(lambda: answers(path))
        yield plane
        plane.attachments.close()
        server.stop()
        await serving


async def test_kill_ends_a_live_session(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its worker is told to, and the trail says by whom and why; what is not live is 68, a worker that does not listen 69."""
    arguments = ["--reason", "change\nfreeze", *configured(tmp_path)]
    async with gateway(tmp_path) as plane:
        await plane.admit("s-1", ALICE, Connection(id="c-1", client="10.0.0.1:4000", worker="w-1"), "web.1", SHELL)
        assert await asyncio.to_thread(run, ["kill", "s-1", *arguments]) == 69
        commands = aiter(plane.attach("w-1", 1, ()))
        assert await anext(commands) == Attached()
        assert await asyncio.to_thread(run, ["kill", "s-1", *arguments]) == 0
        assert await anext(commands) == KillSession(session="s-1", reason="change\\nfreeze")
        assert await asyncio.to_thread(run, ["kill", "s-2", *arguments]) == 68
    killed = [line for line in trail(tmp_path) if line["event"] == "admin.kill"]
    assert [(line["session"], line["login"], line["operator"]) for line in killed] == [("s-1", "alice", operator())] * 2
    assert capsys.readouterr().out.splitlines()[-1] == "s-1 is told to end"


def test_kill_needs_a_gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one it is 69, in one line."""
    assert run(["kill", "s-1", *configured(tmp_path)]) == 69
    assert capsys.readouterr().err == (
        "octopus: no gateway runs with this configuration, or it is another user's, and only a running one ends sessions: "
        "the control plane does not answer 'kill': No such file or directory\n"
    )


async def old_trail(directory: Path) -> None:
    """Write a trail of five files, long ago, each with a session and its recording: a terminal's, or the copy of a file."""
    now = [NOON]
    for number in range(5):
        name = f"s-{number}.1.copy" if number == 1 else f"s-{number}.cast"
        path = directory / "recordings" / "2023" / f"{number}" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"abc")
        recording = {
            "path": f"2023/{number}/{name}",
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "size": 3,
        }
        now[0] += DAY
        told = "file.uploaded" if number == 1 else "session.ended"
        await write(directory, [event(told, f"s-{number}", recordings=[recording])], lambda: now[0])


async def test_prune_removes_what_is_old(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Finished files but the newest, with their recordings and empty folders; the rest verifies."""
    audit = tmp_path / "audit"
    await old_trail(audit)
    config = configured(tmp_path)
    before = finished_files(audit)
    assert await asyncio.to_thread(run, ["prune", "--dry-run", *config]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{path.name}: would be removed, with 1 recordings" for path in before[:-1]]
    assert finished_files(audit) == before
    assert await asyncio.to_thread(run, ["prune", *config]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{path.name}: removed, with 1 recordings" for path in before[:-1]]
    verdict = verify(audit)
    assert (verdict.faults, verdict.recordings) == ((), 2)
    assert f"{len(before) - 1} files were pruned" in verdict.notes[0]
    assert sorted(path.name for path in (audit / "recordings" / "2023").iterdir()) == ["3", "4"]
    # The note began another file, so there is one more to remove, and then no more.
    assert await asyncio.to_thread(run, ["prune", *config]) == 0
    assert await asyncio.to_thread(run, ["prune", *config]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing is old enough to be removed"
    assert verify(audit).faults == ()


async def test_prune_keeps_what_still_has_to_be_shipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says so; told to remove it all the same, the trail says what was never shipped."""
    audit = tmp_path / "audit"
    await old_trail(audit)
    config = [*configured(tmp_path), "--dry-run"]
    text = (tmp_path / "octopus.toml").read_text().replace("[audit]\n", '[audit]\nsyslog = "tcp://127.0.0.1:1"\n')
    (tmp_path / "octopus.toml").write_text(text)
    names = [one.name for one in audit_prune.old_files(audit, NOON + 400 * DAY)]
    assert await asyncio.to_thread(run, ["prune", *config]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{name}: kept; not shipped yet to syslog" for name in names]
    second = audit_prune.old_files(audit, NOON + 400 * DAY)[1]
    StateFile(audit / "shipping" / "syslog.json").save(Shipped(position=Position(first=second.first, seq=second.first - 1)))
    assert await asyncio.to_thread(run, ["prune", *config]) == 0
    assert [line.split(": ")[1][:4] for line in capsys.readouterr().out.splitlines()] == ["woul", "kept", "kept"]
    assert await asyncio.to_thread(run, ["prune", *config[:-1], "--unshipped"]) == 0
    assert [name for name in names if (audit / name).exists()] == []
    [note] = [line for line in map(json.loads, (audit / "audit.jsonl").read_bytes().splitlines()) if line["event"] == "audit.pruned"]
    assert note["not_shipped"] == names[1:]
    assert verify(audit).faults == ()


@pytest.mark.parametrize("there", [False, True])
def test_before_the_first_start_nothing_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str], there: bool) -> None:
    """Each verb says so, and where it looked: no sessions, nothing proven, nothing to remove."""
    config, audit = configured(tmp_path), tmp_path / "audit"
    if there:
        audit.mkdir()
    nowhere = f"there is no trail in {audit}"
    for arguments, status, out, err in (
        (["sessions", "--json"], 0, "[]\n", f"octopus: nothing has been recorded yet: {nowhere}\n"),
        (["verify"], 1, f"audit.jsonl: missing: {nowhere}: nothing has been recorded yet, or all of it was taken away\n", ""),
        (["prune"], 0, "nothing is old enough to be removed\n", ""),
    ):
        assert run([*arguments, *config]) == status
        told = capsys.readouterr()
        assert (told.out.startswith(out), told.err) == (True, err), told
    assert run(["verify", "--json", *config]) == 1
    assert json.loads(capsys.readouterr().out)["lines"] == 0
    assert audit.exists() is there


async def test_prune_half_done_verifies_and_is_finished(tmp_path: Path) -> None:
    """After the note, and after each thing that is removed."""
    audit = tmp_path / "audit"
    await old_trail(audit)
    files = audit_prune.old_files(audit, NOON + 400 * DAY)
    assert len(files) == 3
    await write(audit, [audit_prune.note(files)], lambda: NOON + 400 * DAY)
    assert verify(audit).faults == ()
    for one in files:
        (audit / "recordings" / one.recordings[0]).unlink()
        assert verify(audit).faults == ()
        (audit / one.name).unlink()
        assert verify(audit).faults == ()
        assert audit_prune.old_files(audit, NOON + 5 * DAY)[:1] != [one]


async def test_prune_without_a_note_is_a_fault(tmp_path: Path) -> None:
    """What somebody else removed is missing."""
    await old_trail(tmp_path)
    finished_files(tmp_path)[0].unlink()
    assert [fault.kind for fault in verify(tmp_path).faults] == ["missing"]


async def test_prune_works_beside_a_gateway(tmp_path: Path) -> None:
    """The gateway, which holds the trail, writes the note."""
    audit = tmp_path / "audit"
    await old_trail(audit)
    async with gateway(tmp_path):
        assert await asyncio.to_thread(run, ["prune", *configured(tmp_path)]) == 0
        assert [line["event"] for line in trail(tmp_path)].count("audit.pruned") == 1
    assert verify(audit).faults == ()


async def test_what_is_not_old_stays(tmp_path: Path) -> None:
    """As the retention says; and a file that cannot be read stays, with all after it."""
    await old_trail(tmp_path)
    names = [path.name for path in finished_files(tmp_path)]
    assert [one.name for one in audit_prune.old_files(tmp_path, NOON + 2.5 * DAY)] == names[:2]
    assert audit_prune.old_files(tmp_path, NOON) == []
    (tmp_path / names[1]).write_bytes(b"garbage\n")
    assert [one.name for one in audit_prune.old_files(tmp_path, NOON + 400 * DAY)] == names[:1]


async def test_prune_removes_nothing_outside(tmp_path: Path) -> None:
    """Whatever a line says its recording is."""
    outside = tmp_path / "outside.cast"
    outside.touch()
    one = audit_prune.OldFile(name="x", first=1, last=1, hash="", ended="", recordings=("../outside.cast", str(outside), "a\0.cast", "x"))
    audit_prune.remove(tmp_path / "audit", [one])
    assert outside.exists()


def recorded(tmp_path: Path, name: str = "s-1.cast") -> Path:
    """Write a recording where the configuration has them."""
    cast = Asciicast(size=TermSize(cols=80, rows=24), started=NOON, title="/web web.1")
    path = tmp_path / "audit" / "recordings" / "2023" / "11" / "14" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    events = [(0.01, b"$ cat secret\r\n"), (0.02, b"\x1b]0;title\x07hunter2\r\n")]
    path.write_bytes(b"".join([cast.header(), *(cast.encode(Output(data=data), at) for at, data in events)]))
    return path


@pytest.mark.parametrize("name", ["s-1.cast", "s-1.cast.part"])
def test_replay_prints_a_session_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """By its session, finished or not, or by its file."""
    path = recorded(tmp_path, name)
    for what in ("s-1", str(path)):
        assert run(["replay", what, "--text", *configured(tmp_path)]) == 0
        assert capsys.readouterr().out == "$ cat secret\nhunter2\n"


def test_replay_searches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Times and lines; nothing found is 1."""
    path = str(recorded(tmp_path))
    assert run(["replay", path, "--search", "HUNTER"]) == 0
    assert capsys.readouterr().out == "time\tline\n0:00:00\thunter2\n"
    assert run(["replay", path, "--search", "none"]) == 1


def test_replay_shows_output_as_it_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """But for what would act on the terminal."""
    assert run(["replay", str(recorded(tmp_path))]) == 0
    assert capsys.readouterr().out == "$ cat secret\r\nhunter2\r\n"


def test_replay_says_what_it_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No such session 68, no recording 65."""
    config = configured(tmp_path)
    assert run(["replay", "s-2", *config]) == 68
    assert run(["replay", "../*", *config]) == 68
    assert run(["replay", str(tmp_path / "octopus.toml"), *config]) == 65
    assert run(["replay", "x" * 300, *config]) == 68
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "recordings").symlink_to("recordings")
    assert run(["replay", "s-2", *config]) == 64
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 5
    assert told[-1].endswith("recordings: cannot be read: Too many levels of symbolic links")


def test_replay_obeys_keys_on_a_terminal(tmp_path: Path) -> None:
    """A recording of a day ends with q, and the terminal is as it was."""
    path = recorded(tmp_path)
    with path.open("ab") as file:
        file.write(b'[86400.0, "o", "late"]\n')
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-c", "from octopus.cli import main; main()", "replay", str(path)]
    playing = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.STDOUT)
    try:
        shown = b""
        while b"hunter2" not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, b"/secret\r")
        while b"cat secret" not in shown.partition(b"\x1bc")[2]:
            shown += os.read(ours, 1000)
        os.write(ours, b"q")
        assert playing.wait(timeout=60) == 0
    finally:
        playing.kill()
        playing.wait()
    assert termios.tcgetattr(theirs) == before
    assert b"title" not in shown
    os.close(ours)
    os.close(theirs)
