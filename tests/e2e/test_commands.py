"""Commands without a terminal: what ``docker exec`` and ssh itself would do, over TLS to the agent."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.scene import Scene
from tests.e2e.trail import Chapter
from tests.parts.ssh_client import Ended

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVERY_BYTE = bytes(range(256)) * 4096


async def run(scene: Scene, command: str, *, stdin: bytes | None = b"", options: tuple[str, ...] = (), name: str = "web_front") -> Ended:
    """Run a command as alice."""
    return await scene.gateway.ssh.run(name, command, key=scene.people.alice.key, stdin=stdin, options=options)


async def test_output_errors_and_status_apart(scene: Scene, record: Chapter) -> None:
    """stdout, stderr and status come as the command gave them, and the trail has command, status and counts."""
    ended = await run(scene, "echo out; echo err >&2; exit 3")
    assert (ended.status, ended.stdout, ended.stderr) == (3, b"out\n", b"err\n")
    story = await record.session()
    assert story.names == ["session.requested", "exec", "session.started", "session.ended"]
    assert story.events[1]["command"] == "echo out; echo err >&2; exit 3"
    assert (story.end["exit_status"], story.end["bytes_out"], story.end["recordings"]) == (3, 8, [])


@pytest.mark.parametrize(
    ("command", "status"),
    [("true", 0), ("/etc/passwd", 126), ("no-such-program", 127), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("exit 255", 255)],
)
async def test_exit_status(scene: Scene, record: Chapter, command: str, status: int) -> None:
    """0, 126 and 127 as a shell tells them, 128 and the signal's number."""
    assert (await run(scene, command)).status == status
    assert (await record.session()).end["exit_status"] == status


async def test_every_byte_both_ways(scene: Scene) -> None:
    """Binary passes unchanged in both directions, and on stderr."""
    ended = await run(scene, "tee /dev/stderr", stdin=EVERY_BYTE)
    assert (ended.status, ended.stdout == EVERY_BYTE, ended.stderr == EVERY_BYTE) == (0, True, True)


async def test_half_close(scene: Scene) -> None:
    """``cat big | ssh t 'wc -c'`` ends with the count, though the agent's engine is behind TLS."""
    ended = await run(scene, "wc -c", stdin=b"x" * 20_000_000)
    assert (ended.status, ended.stdout.strip()) == (0, b"20000000")


async def test_command_that_outlives_its_input(scene: Scene) -> None:
    """Output and status come though stdin ended long before: here the command waits until it sees that."""
    ended = await run(scene, "cat; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo later; exit 9", stdin=b"first\n")
    assert (ended.status, ended.stdout) == (9, b"first\nlater\n")


async def test_input_nobody_reads(scene: Scene) -> None:
    """A command that takes little and ends keeps its output and status."""
    ended = await run(scene, "head -c 3; exec <&-; echo; exit 4", stdin=b"abc" * 1_000_000)
    assert (ended.status, ended.stdout) == (4, b"abc\n")


async def test_no_input(scene: Scene) -> None:
    """``ssh -n`` and an empty stdin are an end of input at once."""
    assert (await run(scene, "cat; echo end", stdin=None, options=("-n",))).stdout == b"end\n"


@pytest.mark.parametrize("option", ["-t", "-tt"])
async def test_terminal_asked_for(scene: Scene, option: str) -> None:
    """``-t`` has no terminal to give where the client has none; ``-tt`` makes one all the same, and status and end of input are right."""
    ended = await run(scene, "tty; cat; exit 7", stdin=b"typed\n", options=(option,))
    assert ended.status == 7
    assert (b"/dev/pts/" in ended.stdout) == (option == "-tt")
    assert b"typed" in ended.stdout


async def test_command_arrives_as_typed(scene: Scene) -> None:
    """Quotes, globs, newlines and other alphabets are the container's shell's to read, nobody else's."""
    command = "printf '%s|' \"a  b\" 'c;d' $((2+3)) 'ü€'; echo\necho \"$0\""
    assert (await run(scene, command)).stdout.decode().startswith("a  b|c;d|5|ü€|\n")


async def test_several_sessions_on_one_connection(scene: Scene, record: Chapter) -> None:
    """With ControlMaster sessions share one connection, each with its own input, status and end."""
    options = ("-o", "ControlMaster=auto", "-o", f"ControlPath={scene.gateway.directory}/cm", "-o", "ControlPersist=yes")
    key = scene.people.alice.key
    await scene.gateway.ssh.run_program(scene.gateway.ssh.command("web_front", key=key, options=[*options, "-N", "-f"]), stdin=None)
    try:
        ended = await asyncio.gather(*(run(scene, f"cat; exit {number}", stdin=b"%d" % number, options=options) for number in range(6)))
        assert [(one.status, one.stdout) for one in ended] == [(number, b"%d" % number) for number in range(6)]
        stories = await record.sessions(6)
        assert len({story.events[0]["connection"] for story in stories}) == 1
        assert record.names.count("auth.accepted") == 1
    finally:
        await scene.gateway.ssh.run_program(scene.gateway.ssh.command("web_front", options=[*options, "-O", "exit"]))


async def test_container_without_a_shell(scene: Scene, record: Chapter) -> None:
    """No shell: a clear word for what needs one, and a program named by its path runs."""
    assert (await run(scene, "/cat", stdin=b"through\n", name="ops_bare")).stdout == b"through\n"
    assert (await run(scene, "/cat /no-such-file", name="ops_bare")).status == 1
    await record.sessions(2)
    for command in (["echo $HOME | wc"], []):
        ended = await scene.gateway.ssh.run("ops_bare", *command, key=scene.people.alice.key)
        assert ended.stdout == b""
        assert ended.stderr.startswith(b"octopus: ")
        assert b"no shell" in ended.stderr
        assert ended.status in (64, 69, 126)


async def test_logins_shell_reads_a_script(scene: Scene) -> None:
    """Without a command and a terminal the login shell takes its commands from stdin, as ssh's would."""
    ended = await scene.gateway.ssh.run("web_front", key=scene.people.alice.key, stdin=b"echo from stdin\nexit 6\n")
    assert (ended.status, ended.stdout) == (6, b"from stdin\n")
