"""A disk without room: nothing is shown that is not on the record, and nobody has to restart anything afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from octopus.demo.engines import free_port
from tests.e2e.people import People
from tests.e2e.planes import becomes, ends
from tests.e2e.scene import Scene, behind, gateway_for, ldap, over_tls
from tests.e2e.trail import Event
from tests.parts.directory import Slapd
from tests.parts.ssh_client import Terminal
from tests.parts.tools import missing, need

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

SIZE = 4 << 20
TOLD = rb"octopus: the audit trail cannot be written \[s-[0-9a-f]+\]\n"
SSH_ITSELF = 255
"""What ssh ends with where it was not let in."""


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Give a disk of four megabytes."""
    with tempfile.TemporaryDirectory(prefix="octopus-disk-") as directory:
        mounted = subprocess.run([need("mount", "mount"), "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", directory], check=False)
        if mounted.returncode:
            missing("a small disk takes root to mount")
        try:
            yield Path(directory)
        finally:
            subprocess.run([need("umount", "mount"), "--lazy", directory], check=True)


def fill(path: Path) -> None:
    """Leave not a byte of room."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


async def until_told(terminal: Terminal) -> tuple[str, int]:
    """Type into cat until something else than an echo comes; return that line, and how many lines were seen before."""
    seen = 0
    while True:
        terminal.send(b"x" * 200 + b"\n")
        said = await terminal.expect(rb"x{200}\r\n|octopus: [^\r\n]*\]")
        if said[0].startswith(b"octopus"):
            return said[0].decode(), seen
        seen += 1


def recorded(directory: Path) -> str:
    """Return what the one unfinished recording shows."""
    [part] = directory.rglob("*.cast.part")
    _, *lines = part.read_bytes().split(b"\n")[:-1]
    return "".join(event[2] for event in map(json.loads, lines) if event[1] == "o")


async def test_without_room_sessions_end_and_begin_again_with_it(scene: Scene, company: Slapd, people: People, small_disk: Path) -> None:
    """The live terminal ends with one line, others are refused; with room again all is as before and every line of the trail valid."""
    key, filler = people.alice.key, small_disk / "filler"
    sections: dict[str, Any] = {**ldap(company), **behind(scene.cluster), **over_tls(scene.engines[0])}
    async with gateway_for(people, sections, {"audit": {"directory": str(small_disk / "audit")}}) as gateway:
        # Not followed: a line that did not fit is there for a moment before it is taken back.
        gateway.trail.path = small_disk / "audit" / "audit.jsonl"
        control = ("-o", f"ControlPath={gateway.directory}/mux")
        await gateway.serves("web_front", key=key)
        master = await gateway.ssh.run(
            "web_front", "true", key=key, options=(*control, "-o", "ControlMaster=yes", "-o", "ControlPersist=yes")
        )
        assert master.status == 0
        async with gateway.ssh.terminal("web_front", "echo in; exec cat", key=key, options=["-t"]) as terminal:
            await terminal.expect(rb"in\r\n")
            fill(filler)
            line, seen = await until_told(terminal)
            assert re.fullmatch(r"octopus: the session cannot be recorded \[s-[0-9a-f]+\]", line), line
            assert await terminal.wait() == 69
        assert recorded(small_disk).count("x" * 200) >= seen > 0

        # The trail's last page has room for some more lines yet: what is on the record may be shown.
        while not (shared := await gateway.ssh.run("web_front", "true", key=key, options=control)).status:
            assert (shared.stdout, shared.stderr) == (b"", b"")
        assert (shared.status, re.fullmatch(TOLD, shared.stderr) is not None) == (69, True), shared
        argv = [word.replace("LogLevel=ERROR", "LogLevel=INFO") for word in gateway.ssh.command("web_front", "true", key=key)]
        while not (stranger := await gateway.ssh.run_program(argv)).status:
            assert stranger.stdout == b""
        assert stranger.status in (69, SSH_ITSELF)
        assert stranger.stderr.count(b"octopus: the audit trail cannot be written") == 1, stranger

        filler.unlink()
        again = await gateway.ssh.run("web_front", "echo again", key=key)
        assert (again.stdout, again.stderr) == (b"again\n", b"")
        await gateway.ssh.run("web_front", key=key, options=(*control, "-O", "exit"))
        await becomes(gateway.misdeeds, [])
        events = [json.loads(line) for line in gateway.trail.path.read_text().splitlines()]
        failed = lost(events)
        assert failed
        assert all("No space left on device" in event["reason"] for event in failed)
        print(f"full disk: {len(ends(events))} terminal events, {len(failed)} of them for want of room")


async def test_whatever_becomes_of_the_directory(scene: Scene, people: People, small_disk: Path) -> None:
    """Gone or hanging, nobody gets in (69, one line) and /readyz says so; read-only, no terminal; then all is well without a restart."""
    key, audit, port = people.alice.key, small_disk / "audit", free_port("127.0.0.1")
    sections: dict[str, Any] = {
        "auth.users": {"file": "users.toml"},
        "audit": {"directory": str(audit), "checkpoint_lines": 1, "write_timeout": "5s"},
        "admin": {"listen": f"127.0.0.1:{port}"},
    }

    def ready() -> dict[str, bool]:
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=30)
        return {one["name"]: not one["why"] for one in answer.json()["dependencies"]} | {"all": answer.status_code == 200}

    async with gateway_for(people, sections, behind(scene.cluster), over_tls(scene.engines[0])) as gateway:
        gateway.trail.path = audit / "audit.jsonl"
        control = ("-o", f"ControlPath={gateway.directory}/mux", "-o", "ControlPersist=yes")
        await gateway.serves("web_front", key=key)
        await gateway.ssh.run("web_front", "true", key=key, options=(*control, "-o", "ControlMaster=yes"))
        for harm in (gone, hanging):
            await becomes(lambda: ready()["all"], True)
            with harm(audit):
                # What is on the disk already may be shown: a disk that hangs is felt by the next event.
                while not (refused := await gateway.ssh.run("web_front", "true", key=key, options=control)).status:
                    pass
                assert (refused.status, re.fullmatch(TOLD, refused.stderr) is not None) == (69, True), (harm, refused)
                await becomes(lambda: ready()["audit trail"], False)
            while (again := await gateway.ssh.run("web_front", "echo again", key=key, options=control)).status == 69:
                pass
            assert (again.stdout, again.stderr) == (b"again\n", b""), (harm, again)
        with read_only(audit):
            refused = await gateway.ssh.run("web_front", "echo in", key=key, options=(*control, "-tt"))
            assert (refused.status, b"in\r\n" in refused.stdout, b"cannot be recorded" in refused.stderr) == (69, False, True), refused
        again = await gateway.ssh.run("web_front", "echo again", key=key, options=(*control, "-tt"))
        assert again.stdout == b"again\r\n", again
        await gateway.ssh.run("web_front", key=key, options=(*control, "-O", "exit"))
        await becomes(gateway.misdeeds, [])


@contextlib.contextmanager
def gone(audit: Path) -> Iterator[None]:
    """Take the directory away meanwhile."""
    aside = audit.rename(audit.with_name("aside"))
    try:
        yield
    finally:
        aside.rename(audit)


@contextlib.contextmanager
def read_only(audit: Path) -> Iterator[None]:
    """Let nobody write there meanwhile, not even root, by a mount over it."""
    subprocess.run([need("mount", "mount"), "--bind", str(audit), str(audit)], check=True)
    subprocess.run([need("mount", "mount"), "-o", "remount,bind,ro", str(audit)], check=True)
    try:
        yield
    finally:
        subprocess.run([need("umount", "mount"), "--lazy", str(audit)], check=True)


@contextlib.contextmanager
def hanging(audit: Path) -> Iterator[None]:
    """Let whoever writes the last checkpoint hang meanwhile: a pipe without a reader stands where it is written."""
    pipe = audit / "audit.head.new"
    os.mkfifo(pipe)
    try:
        yield
    finally:
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        pipe.unlink()
        os.close(reader)


def lost(events: Sequence[Event]) -> list[Event]:
    """Return the sessions that failed."""
    return [event for event in ends(events) if event["event"] == "session.failed"]
