"""A person at a terminal: its size from the first byte, its keys, its colours, the picker, and the recording of it all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyte
import pytest

from octopus.core.types import TermSize
from tests.e2e.gateway import program
from tests.e2e.scene import Scene
from tests.e2e.trail import Chapter, Story
from tests.parts.ssh_client import Terminal

pytestmark = pytest.mark.asyncio(loop_scope="session")

ODD = TermSize(cols=101, rows=37)
PROMPT = rb"[#$] (?:\x1b\[6n)?$"
"""busybox asks the terminal where the cursor is; nobody answers, as nobody needs to."""


async def test_size_before_the_first_read(scene: Scene) -> None:
    """``stty size`` as the very command, and as the first thing a shell runs, sees the client's terminal."""
    for command in (["stty size"], []):
        async with scene.gateway.ssh.terminal("web_front", *command, key=scene.people.alice.key, size=ODD, options=["-t"]) as terminal:
            if not command:
                terminal.send(b"stty size; exit\r")
            await terminal.expect(rb"37 101\r\n")
            assert await terminal.wait() == 0


async def test_resize_is_seen(scene: Scene) -> None:
    """A window that is dragged is told to the program inside, as a signal and as a size."""
    async with scene.gateway.ssh.terminal("web_front", key=scene.people.alice.key, size=ODD) as terminal:
        await terminal.expect(PROMPT)
        terminal.send(b"trap 'echo now $(stty size)' WINCH; while :; do read -t 1 x; done\r")
        await terminal.expect(rb"done\r\n")
        for size in (TermSize(cols=60, rows=20), TermSize(cols=213, rows=51)):
            terminal.resize(size)
            await terminal.expect(b"now %d %d\r\n" % (size.rows, size.cols))
        terminal.send(b"\x03")
        await terminal.expect(PROMPT)


async def test_terminal_and_language(scene: Scene) -> None:
    """TERM, LANG and LC_* are the client's."""
    options = ["-o", "SendEnv=LANG LC_*"]
    env = {"TERM": "screen-256color", "LANG": "sv_SE.UTF-8", "LC_ALL": "C.UTF-8"}
    async with scene.gateway.ssh.terminal("web_front", key=scene.people.alice.key, options=options, env=env) as terminal:
        await terminal.expect(PROMPT)
        terminal.send(b"echo $TERM+$LANG+$LC_ALL; exit\r")
        await terminal.expect(rb"screen-256color\+sv_SE.UTF-8\+C.UTF-8\r\n")


async def test_control_keys(scene: Scene) -> None:
    """^C interrupts, ^Z stops and fg goes on, ^P and ^P^Q pass through at once, ^D ends the shell."""
    async with scene.gateway.ssh.terminal("web_front", key=scene.people.alice.key) as terminal:
        await terminal.expect(PROMPT)
        terminal.send(b"sh -c 'echo rea''dy; sleep 1000'\r")
        await terminal.expect(rb"ready\r\n")
        terminal.send(b"\x03")
        await terminal.expect(PROMPT)
        terminal.send(b"echo status $?\r")
        await terminal.expect(rb"status 130\r\n")
        await terminal.expect(PROMPT)
        terminal.send(b"sh -c 'echo go''ing; sleep 1000'\r")
        await terminal.expect(rb"going\r\n")
        terminal.send(b"\x1a")
        await terminal.expect(rb"Stopped")
        terminal.send(b"fg\r")
        await terminal.expect(rb"fg\r\nsh [^\r]*\r\n")
        terminal.send(b"\x03")
        await terminal.expect(PROMPT)
        terminal.send(b"stty raw -echo; echo lis''tening; head -c 3 | od -An -tx1; stty sane\r")
        await terminal.expect(rb"listening\r?\n")
        terminal.send(b"\x10\x11\x10")
        await terminal.expect(rb"10 11 10")
        await terminal.expect(PROMPT)
        terminal.send(b"\x04")
        await terminal.wait()


async def test_a_single_control_p_is_not_held_back(scene: Scene) -> None:
    """One ^P arrives without another key: the shell shows the line before."""
    async with scene.gateway.ssh.terminal("web_front", key=scene.people.alice.key) as terminal:
        await terminal.expect(PROMPT)
        terminal.send(b"echo line-be''fore\r")
        await terminal.expect(rb"line-before\r\n")
        await terminal.expect(PROMPT)
        terminal.send(b"\x10")
        await terminal.expect(rb"echo line-be''fore")
        terminal.send(b"\r")
        await terminal.expect(rb"line-before\r\n")


async def test_eight_bit_clean(scene: Scene) -> None:
    """On a raw terminal every byte arrives as sent, in both directions."""
    command = "stty raw -echo; echo ready; head -c 256 | od -An -v -tx1 | tr -d ' \\n'; printf '\\377\\200\\000end'"
    async with scene.gateway.ssh.terminal("web_front", command, key=scene.people.alice.key, options=["-tt", "-e", "none"]) as terminal:
        await terminal.expect(rb"ready\r?\n")
        terminal.send(bytes(range(256)))
        await terminal.expect(bytes(range(256)).hex().encode())
        await terminal.expect(rb"\xff\x80\x00end")
        assert await terminal.wait() == 0


async def test_login_shell(scene: Scene) -> None:
    """The shell is the one that /etc/passwd names for the user, in the image's working directory, as the image's user."""
    async with scene.gateway.ssh.terminal("ops_app-user", key=scene.people.alice.key) as terminal:
        await terminal.expect(PROMPT)
        terminal.send(b"echo $(id -un) in $PWD by $(readlink /proc/$$/exe); exit 4\r")
        await terminal.expect(rb"app in / by /bin/busybox\r\n")
        assert await terminal.wait() == 4


async def test_recording_is_what_was_seen(scene: Scene, record: Chapter, tmp_path: Path) -> None:
    """``asciinema cat`` replays exactly the bytes the person saw, resizes included, and the trail holds the file's hash."""
    async with scene.gateway.ssh.terminal("web_front", key=scene.people.alice.key, size=ODD) as terminal:
        seen = Seen(terminal)
        await seen.expect(PROMPT)
        terminal.send(b"printf '\\033[1;31mred\\033[0m \\303\\274 %s\\n' $((6*7))\r")
        await seen.expect(rb" 42\r\n")
        terminal.resize(TermSize(cols=90, rows=30))
        await seen.expect(PROMPT)
        terminal.send(b"while [ \"$(stty size)\" != '30 90' ]; do :; done; exit 5\r")
        assert await terminal.wait() == 5
        seen.rest()
    story = await record.session()
    file = recording(scene, story)
    assert story.end["recordings"][0]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    replayed = await scene.gateway.ssh.run_program([program("asciinema"), "cat", str(file)], stdin=None)
    assert (replayed.status, replayed.stdout) == (0, seen.text)
    header, *events = [json.loads(line) for line in file.read_text().splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 101, 37)
    assert [text for _, code, text in events if code == "r"] == ["90x30"]
    assert [code for _, code, _ in events if code == "i"] == []
    assert screen(seen.text).display[0].rstrip().endswith("exit 5") is False
    assert any("red ü 42" in line for line in screen(seen.text).display)


class Seen:
    """Everything a terminal has shown, expectations included."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.text = b""

    async def expect(self, pattern: bytes) -> None:
        """Wait for the pattern and keep all up to its end."""
        match = await self._terminal.expect(pattern)
        self.text += match.string[: match.end()]

    def rest(self) -> None:
        """Keep what is left on the screen; ssh's own farewell is none of the container's."""
        self.text += bytes(self._terminal.screen).split(b"Connection to ")[0]


def recording(scene: Scene, story: Story) -> Path:
    """Return the file of a session's one recording."""
    [one] = story.end["recordings"]
    return scene.gateway.recordings / str(one["path"])


def screen(shown: bytes, size: TermSize = ODD) -> pyte.Screen:
    """Return the screen as a terminal would draw it."""
    drawn = pyte.Screen(size.cols, size.rows)
    pyte.ByteStream(drawn).feed(shown)
    return drawn


async def test_picker_finds_by_typing(scene: Scene, record: Chapter) -> None:
    """``ssh alice@octopus`` shows what alice may enter; typing narrows it down; Enter goes in; the session is on the trail."""
    async with scene.gateway.ssh.terminal("alice", key=scene.people.alice.key) as terminal:
        await terminal.expect(rb"/logging/logstash")
        terminal.send(b"heka agent-2")
        await terminal.expect(rb"heka agent-2")
        terminal.send(b"\r")
        await terminal.expect(PROMPT)
        terminal.send(b"echo $MARATHON_APP_ID on $HOST; exit\r")
        await terminal.expect(rb"/heka on agent-2.corp.example\r\n")
        assert await terminal.wait() == 0
    assert (await record.session()).end["target"]["app"] == "/heka"


async def test_picker_shows_only_what_one_may_see(scene: Scene) -> None:
    """bob's picker knows nothing of what bob may not enter; Esc leaves it."""
    async with scene.gateway.ssh.terminal("bob", key=scene.people.bob.key) as terminal:
        match = await terminal.expect(rb"/web/front")
        terminal.send(b"\x1b")
        assert await terminal.wait() == 130
        assert b"logstash" not in match.string + bytes(terminal.screen)


async def test_several_instances_are_a_choice_on_a_terminal(scene: Scene, record: Chapter) -> None:
    """An app with three instances opens a picker; the second is a key away; the refusal before it has an end of its own."""
    async with scene.gateway.ssh.terminal("logging_logstash", key=scene.people.alice.key) as terminal:
        await terminal.expect(rb"(?s)agent-\d.*agent-\d.*agent-\d")
        terminal.send(b"\x1b[B\r")
        await terminal.expect(PROMPT)
        terminal.send(b"echo at $MESOS_TASK_ID; exit\r")
        match = await terminal.expect(rb"at (logging_logstash\.instance-\S+)\r\n")
        assert match[1].decode() == scene.task("/logging/logstash", 2).id
        assert await terminal.wait() == 0
    assert (await record.sessions(2))[-1].end["event"] == "session.ended"
