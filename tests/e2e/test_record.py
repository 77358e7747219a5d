"""The trail an auditor gets: complete, in order, in one form, and silent about secrets."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from tests.e2e.scene import Scene, behind, gateway_for, over_tls
from tests.e2e.trail import Chapter, faults
from tests.parts.tools import need

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIELDS = {"seq", "time", "event", "session", "login", "client", "target"}
EVENTS = {
    *("auth.accepted", "auth.refused", "session.requested", "session.denied", "session.started", "session.ended", "session.failed"),
    *("exec", "gateway.started", "gateway.stopped", "audit.checkpoint"),
    *("file.listed", "file.downloaded", "file.uploaded", "file.removed", "file.renamed", "file.linked", "file.changed", "file.denied"),
    *("directory.created", "directory.removed", "forward.opened", "forward.closed", "forward.refused"),
}


async def test_each_line_has_its_form(scene: Scene, record: Chapter) -> None:
    """Every line is one JSON object with the common fields, a UTC time, a place without gaps, and an event of the documented names."""
    await scene.gateway.ssh.run("web_front", "echo 'line\nbreak' \x1b[31m", key=scene.people.alice.key)
    await scene.gateway.ssh.run("no-such-app", "true", key=scene.people.bob.key)
    await record.sessions(2)
    text = scene.gateway.trail.path.read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all(set(event) >= FIELDS for event in events)
    assert {event["event"] for event in events} <= EVENTS
    assert all(datetime.fromisoformat(event["time"]).utcoffset() is not None and event["time"].endswith("Z") for event in events)
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+|", event["client"]) for event in events)
    assert faults(text) == []
    assert "\x1b" not in text


async def test_session_says_who_where_and_how_long(scene: Scene, record: Chapter) -> None:
    """From request to end: person, client, task, agent, container, command, rule, status, bytes, seconds."""
    task = scene.task("/ops/tool")
    await scene.gateway.ssh.run(f"bob+{task.id}", "cat; exit 9", key=scene.people.bob.key, stdin=b"12345")
    requested, command, started, ended = (await record.session()).events
    where = {"app": "/ops/tool", "task": task.id, "agent": "agent-1.corp.example", "container": scene.container(task)}
    assert (started["target"], ended["target"]) == (where, where)
    assert {event["login"] for event in (requested, command, started, ended)} == {"bob"}
    assert {event["client"] for event in (requested, command, started, ended)} == {requested["client"]}
    assert (requested["rule"], requested["kind"], command["command"]) == ("policy[0]", "exec", "cat; exit 9")
    assert (ended["exit_status"], ended["bytes_in"], ended["bytes_out"]) == (9, 5, 5)
    assert 0 < ended["seconds"] < 60


async def test_files_and_ports_are_marked_in_the_terminals_recording(scene: Scene, record: Chapter, tmp_path: Path) -> None:
    """Of the same connection: what was uploaded, and the port that was asked for, at their times; another connection's are not."""
    ssh, key = scene.gateway.ssh, scene.people.alice.key
    path = scene.gateway.directory / "marks"
    master, shared = (["-o", f"ControlPath={path}", "-o", f"ControlMaster={kind}"] for kind in ("yes", "no"))
    (tmp_path / "notes").write_bytes(b"12345")
    scp = [need("scp", "openssh-client"), *ssh.options, "-i", str(key), str(tmp_path / "notes")]
    async with ssh.terminal("web_front", "echo in; exec cat", key=key, options=["-t", *master]) as terminal:
        await terminal.expect(rb"in\r\n")
        assert (await ssh.run_program([*scp[:1], *shared, *scp[1:], "web_front@127.0.0.1:/tmp/marked"], stdin=None)).status == 0
        await ssh.run_program(ssh.command("web_front", key=key, options=[*shared, "-W", "localhost:9"]), stdin=None)
        assert (await ssh.run_program([*scp, "web_front@127.0.0.1:/tmp/other"], stdin=None)).status == 0
        refused = await record.event("forward.refused")
        terminal.send(b"\x04")
        await terminal.wait()
    await scene.gateway.still()
    uploaded = await record.event("file.uploaded", path="/tmp/marked")
    [end] = [story.end for story in await record.sessions(4) if story.end["recordings"]]
    lines = (scene.gateway.recordings / end["recordings"][0]["path"]).read_text().splitlines()
    marks = [data for _, code, data in map(json.loads, lines[1:]) if code == "m"]
    assert [mark.split(" ")[0] for mark in marks if "listed" not in mark] == ["file.uploaded", "forward.refused"], marks
    assert f"/tmp/marked 5 [{uploaded['session']}]" in marks[0]
    assert "localhost:9 " in marks[-1]
    assert f"[{refused['session']}]" in marks[-1]


async def test_no_secret_is_written_anywhere(scene: Scene, record: Chapter) -> None:
    """No password that was right or wrong, no private key, not the mark of a session's processes: in no file the gateway wrote."""
    typed = "a-pass-word-that-is-wrong"
    scene.gateway.secrets.add(typed)
    options = ["-o", "PreferredAuthentications=keyboard-interactive,password"]
    for password in (typed, scene.people.bob.password):
        await scene.gateway.ssh.run("bob+web_front", "true", answers={"assword": password}, options=options)
    mark = (await scene.gateway.ssh.run("web_front", "echo $OCTOPUS_SESSION", key=scene.people.alice.key)).stdout.decode().strip()
    assert len(mark) >= 16
    await record.sessions(2)
    written = [
        path for path in scene.gateway.directory.rglob("*") if path.is_file() and not path.is_relative_to(scene.gateway.directory / "run")
    ]
    told = [(path.name, secret) for path in written for secret in {mark, *scene.gateway.secrets} if holds(path, secret)]
    assert [(name, secret) for name, secret in told if name not in GIVEN and not name.startswith("askpass-")] == []


GIVEN = {"ldap.secret", "users.toml"}
"""What the gateway was given, and did not write."""


def holds(path: Path, secret: str) -> bool:
    """Tell whether a file holds a text."""
    return secret.encode() in path.read_bytes()


async def test_gateway_without_a_place_for_its_trail(scene: Scene) -> None:
    """Where the trail cannot be written any more nobody gets in; where it can be again they do, without a restart."""
    users = {"auth.users": {"file": "users.toml"}}
    async with gateway_for(scene.people, users, behind(scene.cluster), over_tls(scene.engines[0])) as running:
        key = scene.people.alice.key
        await running.serves("web_front", key=key)
        running.recordings.mkdir(mode=0o700, exist_ok=True)
        aside = running.recordings.rename(running.audit / "aside")
        running.recordings.touch(mode=0o600)
        refused = await running.ssh.run("web_front", "echo never", key=key, options=["-tt"], stdin=None)
        assert (refused.status, b"never" in refused.stdout) == (69, False)
        assert (await running.ssh.run("web_front", "echo ever", key=key)).stdout == b"ever\n"
        running.recordings.unlink()
        aside.rename(running.recordings)
        again = await running.ssh.run("web_front", "echo again", key=key, options=["-tt"], stdin=None)
        assert (again.status, again.stdout) == (0, b"again\r\n")
