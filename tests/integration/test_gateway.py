"""Sessions through the gateway with OpenSSH's own client: what docker exec and ssh itself would do."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import asyncssh
import pytest

from octopus.core.errors import AuditUnavailable, ContainerUnavailable, OctopusError
from octopus.core.types import Obligations, TermSize
from tests.parts.gateway import GatewayPart, gateway_part
from tests.parts.ssh_client import Ended


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[GatewayPart]:
    """A gateway for one test."""
    async with gateway_part(tmp_path) as part:
        yield part


async def test_command_gives_output_errors_and_status_apart(part: GatewayPart) -> None:
    """stdout, stderr and the exit status arrive as the command gave them."""
    ended = await part.ssh.run("t", "echo out; echo err >&2; exit 7", key=part.key)
    assert (ended.status, ended.stdout, ended.stderr) == (7, b"out\n", b"err\n")


async def test_binary_both_ways_with_half_close(part: GatewayPart) -> None:
    """Every byte value passes unchanged in both directions, and the end of input ends the command."""
    data = bytes(range(256)) * 4096
    ended = await part.ssh.run("t", "cat", key=part.key, stdin=data)
    assert (ended.status, ended.stdout) == (0, data)


async def test_output_continues_after_the_end_of_input(part: GatewayPart) -> None:
    """A command that outlives its input still gives its output and status."""
    ended = await part.ssh.run("t", "wc -c; sleep 0.5; echo later; exit 3", key=part.key, stdin=b"x" * 100_000)
    assert (ended.status, ended.stdout.split()) == (3, [b"100000", b"later"])


async def test_no_input_at_all(part: GatewayPart) -> None:
    """``ssh -n`` works."""
    ended = await part.ssh.run("t", "cat; echo done", key=part.key, stdin=None, options=["-n"])
    assert (ended.status, ended.stdout) == (0, b"done\n")


async def test_command_that_stops_reading_keeps_its_output(part: GatewayPart) -> None:
    """Input nobody reads does not hold up or cut the output and the status."""
    ended = await part.ssh.run("t", "head -c 3; exec <&-; echo; echo end; exit 4", key=part.key, stdin=b"abc" * 500_000)
    assert (ended.status, ended.stdout) == (4, b"abc\nend\n")


async def test_death_by_signal_is_128_and_its_number(part: GatewayPart) -> None:
    """A command killed by TERM gives 143."""
    assert (await part.ssh.run("t", "kill -TERM $$", key=part.key)).status == 143


async def test_environment_goes_to_the_policy_as_sent(part: GatewayPart) -> None:
    """What the client sends with SendEnv stands in the request; what becomes of it is the control plane's to say."""
    await part.ssh.run("t", "true", key=part.key, options=["-o", "SetEnv=LC_X=y FOO=bar"])
    assert part.plane.requests[0].env == {"LC_X": "y", "FOO": "bar"}


async def test_terminal_has_its_size_from_the_first_byte_and_follows(part: GatewayPart) -> None:
    """stty sees the client's window at once, and a resize before the next command."""
    async with part.ssh.terminal("t", key=part.key, size=TermSize(cols=97, rows=31)) as terminal:
        await terminal.expect(rb"\$ ")
        terminal.send(b"stty size; echo $TERM\r")
        await terminal.expect(rb"31 97\r\n")
        await terminal.expect(rb"xterm-256color\r\n")
        terminal.resize(TermSize(cols=120, rows=40))
        terminal.send(b"while [ \"$(stty size)\" != '40 120' ]; do :; done; echo resi''zed\r")
        await terminal.expect(rb"resized")
        terminal.send(b"exit 5\r")
        assert await terminal.wait() == 5
    [end] = await part.plane.ended()
    assert end.data["exit_status"] == 5
    assert end.data["recordings"][0]["path"].endswith(f"{end.session}.cast")


async def test_control_characters_reach_the_terminal(part: GatewayPart) -> None:
    """^C interrupts, ^P is passed on as it is, ^D ends the shell."""
    async with part.ssh.terminal("t", key=part.key) as terminal:
        await terminal.expect(rb"\$ ")
        terminal.send(b"sh -c \"echo be''gun; exec sleep 1000\"\r")
        await terminal.expect(rb"begun\r\n")
        terminal.send(b"\x03")
        await terminal.expect(rb"\^C")
        await terminal.expect(rb"\$ ")
        terminal.send(b"stty raw -echo; echo rea''dy; head -c 2 | od -An -tx1; stty sane\r")
        await terminal.expect(rb"ready")
        terminal.send(b"\x10\x11")
        await terminal.expect(rb"10 11")
        await terminal.expect(rb"\$ ")
        terminal.send(b"\x04")
        await terminal.wait()


async def test_forced_terminal_for_a_command(part: GatewayPart) -> None:
    """``ssh -tt`` gives a command a terminal although the client has none."""
    ended = await part.ssh.run("t", "tty >/dev/null && echo yes", key=part.key, stdin=None, options=["-tt"])
    assert (ended.status, ended.stdout) == (0, b"yes\r\n")


async def test_recording_holds_what_was_shown(part: GatewayPart) -> None:
    """A terminal's output is on record, byte for byte; input only where the rule says so."""
    part.plane.obligations = Obligations(record_input=True)
    async with part.ssh.terminal("t", key=part.key) as terminal:
        await terminal.expect(rb"\$ ")
        terminal.send(b"echo shown\r")
        await terminal.expect(rb"shown\r\n.*shown\r\n")
        terminal.send(b"exit\r")
        await terminal.wait()
    [end] = await part.plane.ended()
    file = part.recordings / end.data["recordings"][0]["path"]
    events = [json.loads(line) for line in file.read_bytes().splitlines()[1:]]
    assert "shown\r\nshown\r\n" in "".join(text for _, code, text in events if code == "o")
    assert "".join(text for _, code, text in events if code == "i") == "echo shown\rexit\r"
    assert end.data["recordings"][0]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


async def test_what_is_typed_without_echo_is_not_recorded(part: GatewayPart) -> None:
    """A password, though the rule has input recorded: the line is left out, and a mark stands in its place."""
    part.plane.obligations = Obligations(record_input=True)
    async with part.ssh.terminal("t", key=part.key) as terminal:
        await terminal.expect(rb"\$ ")
        terminal.send(b"stty -echo; printf 'Pass''word: '; read x; stty echo; echo read $x | tr a-z A-Z\r")
        await terminal.expect(rb"Password: ")
        terminal.send(b"wonder\r")
        await terminal.expect(rb"READ WONDER\r\n")
        await terminal.expect(rb"\$ ")  # what is typed while something else is written is left out as well
        terminal.send(b"exit\r")
        await terminal.wait()
    [end] = await part.plane.ended()
    text = (part.recordings / end.data["recordings"][0]["path"]).read_text()
    events = [json.loads(line) for line in text.splitlines()[1:]]
    assert "".join(data for _, code, data in events if code == "i").endswith("A-Z\rexit\r")
    assert [data for _, code, data in events if code == "m"] == ["what was typed is left out: it was not echoed"]
    assert "wonder" not in text


async def test_the_beginning_of_a_commands_output_is_recorded_where_the_rule_says_so(part: GatewayPart) -> None:
    """So many bytes of both outputs together, and that there was more; all is delivered; transfers have none."""
    part.plane.obligations = Obligations(record_output=1000)
    ended = await part.ssh.run("t", "seq 1 1000; echo err >&2", key=part.key)
    assert (len(ended.stdout), ended.stderr) == (3893, b"err\n")
    [end] = await part.plane.ended()
    [recording] = end.data["recordings"]
    events = [json.loads(line) for line in (part.recordings / recording["path"]).read_text().splitlines()[1:]]
    shown = "".join(data for _, code, data in events if code == "o")
    assert len(shown.replace("\r\n", "\n")) == 1000
    assert shown.startswith("1\r\n2\r\n")
    assert [data for _, code, data in events if code == "m"] == ["the output is recorded up to here"]


async def test_commands_without_a_terminal_are_counted_not_recorded(part: GatewayPart) -> None:
    """An exec's bytes are counted both ways; there is no recording of them."""
    await part.ssh.run("t", "cat; echo 12 >&2", key=part.key, stdin=b"12345")
    [end] = await part.plane.ended()
    assert (end.event, end.data["bytes_in"], end.data["bytes_out"], end.data["recordings"]) == ("session.ended", 5, 8, [])
    assert part.gateway.moved == 13


async def test_every_session_is_on_the_trail_from_start_to_end(part: GatewayPart) -> None:
    """started, then ended, once each, under keys of the session, naming person and target; then nothing lives."""
    await part.ssh.run("t", "true", key=part.key)
    await part.plane.ended()
    started, ended = part.plane.events
    assert (started.event, ended.event) == ("session.started", "session.ended")
    assert started.key == f"{started.session}/started"
    assert ended.key == f"{started.session}/end"
    assert (ended.login, ended.target["app"], ended.target["container"]) == ("alice", "/logging/logstash", "local")
    assert ended.client.startswith("127.0.0.1:")
    assert part.gateway.sessions() == ()


async def test_a_clock_that_is_set_back_shortens_nothing(tmp_path: Path) -> None:
    """A session takes as long as it takes, and its recording goes forward, whatever the machine's clock does meanwhile."""
    times = itertools.count(1_700_000_000, -3600)
    async with gateway_part(tmp_path, clock=lambda: float(next(times))) as part:
        await part.ssh.run("t", "echo a; echo b; echo c", key=part.key, options=["-tt"], stdin=None)
        [end] = await part.plane.ended()
        assert 0 <= end.data["seconds"] < 60
        [recording] = end.data["recordings"]
        lines = (part.recordings / recording["path"]).read_text().splitlines()[1:]
        ats = [json.loads(line)[0] for line in lines]
        assert ats == sorted(ats)
        assert min(ats) >= 0


async def test_several_sessions_on_one_connection(part: GatewayPart) -> None:
    """With ControlMaster sessions share a connection, side by side, and each has its own end."""
    control = ["-o", "ControlMaster=auto", "-o", f"ControlPath={part.directory}/cm", "-o", "ControlPersist=yes"]
    # The master keeps its descriptors: it must not hold the pipes of this test.
    await part.ssh.run_program([*part.ssh.command("t", key=part.key, options=[*control, "-N", "-f"])], stdin=None)
    results = await asyncio.gather(
        *(part.ssh.run("t", f"cat; exit {number}", key=part.key, options=control, stdin=b"%d" % number) for number in range(5))
    )
    assert [(one.status, one.stdout) for one in results] == [(number, b"%d" % number) for number in range(5)]
    assert part.gateway.connections == 1
    assert len(await part.plane.ended(5)) == 5
    await part.ssh.run_program(part.ssh.command("t", options=[*control, "-O", "exit"]))


async def test_signal_request_reaches_the_command(part: GatewayPart) -> None:
    """A signal sent by an SSH client (RFC 4254 6.9) is delivered."""
    async with asyncssh.connect(
        "127.0.0.1", part.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None
    ) as connection:
        process = await connection.create_process("trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 0.05; done")
        assert await process.stdout.readline() == "ready\n"
        process.send_signal("USR1")
        assert await process.stdout.readline() == "got\n"
        assert (await process.wait()).exit_status == 9


async def test_operator_ends_a_session(part: GatewayPart) -> None:
    """A killed session tells why in one line, gives 129, leaves nothing, and its end says why."""
    async with part.ssh.terminal("t", key=part.key) as terminal:
        await terminal.expect(rb"\$ ")
        [live] = part.gateway.sessions()
        assert (live.container, live.identity.login) == ("local", "alice")
        await part.gateway.kill(live.session, "maintenance")
        await terminal.expect(rb"octopus: this session was ended: maintenance \[" + live.session.encode() + rb"\]")
        assert await terminal.wait() == 129
    [end] = await part.plane.ended()
    assert (end.event, end.data["reason"]) == ("session.failed", "ended: maintenance")
    assert part.backend.running == []
    await part.gateway.kill("s-none", "nobody")


async def test_idle_session_is_closed_with_a_word(part: GatewayPart) -> None:
    """A rule's idle timeout ends the session with a line that says how long it was."""
    part.plane.obligations = Obligations(idle_timeout=0.5)
    async with part.ssh.terminal("t", key=part.key) as terminal:
        await terminal.expect(rb"octopus: idle for 0.5s, closed \[s-[0-9a-f]+\]")
        assert await terminal.wait() == 129


@pytest.mark.parametrize("command", ["sleep 1000", "cat /dev/zero", "while :; do sleep 0.05; done"])
async def test_client_that_vanishes_leaves_nothing(part: GatewayPart, command: str) -> None:
    """A client killed without a word ends its command, and the session has its end on the trail."""
    async with part.ssh.terminal("t", command, key=part.key, options=["-tt"]) as terminal:
        async with part.plane.recorded:
            await part.plane.recorded.wait_for(lambda: bool(part.plane.events))
        terminal.vanish()
    [end] = await part.plane.ended()
    assert (end.event, end.data["reason"]) == ("session.failed", "the client is gone")
    assert part.backend.running == []


async def test_channel_closed_with_unread_input_is_noticed(part: GatewayPart) -> None:
    """A client that closes its channel while its input is stuck is gone at once; the connection lives on."""
    async with asyncssh.connect(
        "127.0.0.1", part.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None
    ) as connection:
        process = await connection.create_process("sleep 1000", encoding=None)
        process.stdin.write(b"x" * 1_500_000)
        async with part.plane.recorded:
            await part.plane.recorded.wait_for(lambda: bool(part.plane.events))
        process.close()
        [end] = await part.plane.ended()
        assert end.data["reason"] == "the client is gone"
        assert (await connection.run("echo alive")).stdout == "alive\n"


async def test_refusal_is_one_line_and_a_status(part: GatewayPart) -> None:
    """A refusal is one line with the session's id, and its sysexits status."""
    ended = await part.ssh.run("nowhere", "true", key=part.key)
    assert ended.status == 68
    assert re.fullmatch(rb"octopus: no running task matches 'nowhere' \[s-[0-9a-f]{12}\]\n", ended.stderr)
    assert part.backend.started == 0


async def test_failure_to_start_is_one_line_and_the_end(part: GatewayPart) -> None:
    """An engine that is away is 69 for the person, and the reason is on the trail."""
    part.backend.refusal = ContainerUnavailable("agent-1: connect: refused")
    ended = await part.ssh.run("t", "true", key=part.key)
    assert (ended.status, ended.stderr.startswith(b"octopus: the container is unavailable [")) == (69, True)
    [end] = await part.plane.ended()
    assert (end.event, end.data["reason"]) == ("session.failed", "agent-1: connect: refused")


async def test_audit_that_cannot_be_written_ends_the_session(part: GatewayPart) -> None:
    """Where ``session.started`` cannot be written nothing is shown and the command is ended."""
    part.plane.failing["session.started"] = AuditUnavailable("disk full")
    ended = await part.ssh.run("t", "echo never; sleep 1000", key=part.key)
    assert (ended.status, ended.stdout) == (69, b"")
    assert b"octopus: the audit trail cannot be written [" in ended.stderr
    assert part.backend.running == []


async def test_recording_that_cannot_be_written_refuses(part: GatewayPart) -> None:
    """Without a place for recordings there is no terminal session; commands without one still run."""
    part.recordings.write_text("in the way")
    ended = await part.ssh.run("t", "echo never", key=part.key, options=["-tt"], stdin=None)
    assert ended.status == 69
    assert b"octopus: the session cannot be recorded [" in ended.stderr + ended.stdout
    assert (await part.ssh.run("t", "echo ever", key=part.key)).stdout == b"ever\n"


async def test_recording_that_is_full_ends_the_session(tmp_path: Path) -> None:
    """Once nothing more can be recorded nothing more is shown: the session ends with one line, and its end is on the trail."""
    async with gateway_part(tmp_path, max_recording=5000) as part:
        async with part.ssh.terminal("t", "yes; echo survived", key=part.key, options=["-tt"]) as terminal:
            await terminal.expect(rb"octopus: the session cannot be recorded \[s-")
            assert await terminal.wait() == 69
        [end] = await part.plane.ended()
        assert end.event == "session.failed"
        assert end.data["recordings"] == []
        assert part.backend.running == []


async def test_client_that_does_not_read_can_be_ended(part: GatewayPart) -> None:
    """An operator ends a session whose client takes nothing more, not even the reason."""
    async with asyncssh.connect(
        "127.0.0.1", part.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None
    ) as connection:
        process = await connection.create_process("cat /dev/zero", encoding=None, window=65536)
        process.channel.pause_reading()
        async with part.plane.recorded:
            await part.plane.recorded.wait_for(lambda: bool(part.plane.events))
        [live] = part.gateway.sessions()
        await part.gateway.kill(live.session, "stuck")
        [end] = await part.plane.ended()
        assert end.data["reason"] == "ended: stuck"


async def test_gateway_that_stops_ends_its_sessions_on_the_record(tmp_path: Path) -> None:
    """Cancelled in the middle of sessions, each still has its one terminal event."""
    async with gateway_part(tmp_path) as part:
        async with part.ssh.terminal("t", key=part.key) as terminal:
            await terminal.expect(rb"\$ ")
            await part.stop()
            await terminal.wait()
        [end] = await part.plane.ended()
        assert (end.event, end.data["reason"]) == ("session.failed", "the session's worker was stopped")
        assert end.data["recordings"][0]["size"] > 0
        assert part.backend.running == []


async def test_bug_is_one_line_and_others_live_on(part: GatewayPart) -> None:
    """An error nobody thought of is 70 for its own session, the connection stays."""
    part.plane.refusals["t"] = cast(OctopusError, ZeroDivisionError("secret detail"))
    ended = await part.ssh.run("t", "true", key=part.key)
    assert ended.status == 70
    assert re.fullmatch(rb"octopus: internal error \[s-[0-9a-f]+\]\n", ended.stderr)


async def test_end_of_the_container_names_the_replacement(part: GatewayPart) -> None:
    """When the container went with the command, one line says so and who replaces it."""
    part.backend.gone, part.plane.successor = True, "logging_logstash.new"
    ended = await part.ssh.run("t", "exit 137", key=part.key)
    assert ended.status == 137
    assert ended.stderr.startswith(b"octopus: the container has ended; its replacement is logging_logstash.new [s-")


async def talk(part: GatewayPart, *arguments: str, env: dict[str, str] | None = None) -> Ended:
    """Run ssh as alice with its own messages shown; ``arguments`` stand before the host."""
    command = part.ssh.command("t", key=part.key, options=arguments)
    return await part.ssh.run_program([word.replace("LogLevel=ERROR", "LogLevel=INFO") for word in command], env=env)


async def test_subsystem_is_refused_in_words(part: GatewayPart) -> None:
    """What is not offered is refused in one clear line, with a status."""
    ended = await part.ssh.run("t", "netconf", key=part.key, options=["-s"])
    assert ended.status == 64
    assert re.fullmatch(rb"octopus: the netconf subsystem is not offered \[s-[0-9a-f]+\]\n", ended.stderr)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (b"echo \xc4\xe3", b"is not UTF-8 text"),
        (b"echo a\0b", b"holds a NUL character"),
        (b"x" * 131_072, b"has 131072 bytes; the system takes 131071"),
    ],
)
async def test_a_command_that_cannot_be_handed_on_is_refused_in_words(part: GatewayPart, command: bytes, said: bytes) -> None:
    """As of a terminal in another encoding: one line and 64, and the connection goes on to serve."""
    connecting = asyncssh.connect("127.0.0.1", part.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None)
    async with connecting as connection:
        ended = await connection.run(cast(str, command))  # sent as it is
        assert ended.exit_status == 64
        assert re.fullmatch(rb"octopus: the command %s \[s-[0-9a-f]+\]\n" % said, str(ended.stderr).encode())
        assert (await connection.run("echo ok")).stdout == "ok\n"
    assert [request.command for request in part.plane.requests] == ["echo ok"]


async def test_a_terminal_of_an_odd_name_is_an_unknown_one(part: GatewayPart) -> None:
    """A TERM of other bytes ends no connection."""
    argv = part.ssh.command("t", "echo [$TERM]", key=part.key, options=["-tt"])
    for term in (b"xterm\xff", "möwe".encode()):
        ended = await part.ssh.run_program(argv, env={"TERM": os.fsdecode(term)})
        assert (ended.status, ended.stdout) in ((0, b"[]\r\n"), (0, b"[dumb]\r\n")), ended
    async with asyncssh.connect(
        "127.0.0.1", part.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None
    ) as connection:
        assert "ok" in str((await connection.run("echo ok", term_type="x\0y")).stdout)


async def test_a_user_name_of_other_bytes_is_refused_in_words(part: GatewayPart) -> None:
    """And not in those of a library."""
    ended = await part.ssh.run("t", "true", key=part.key, options=["-l", os.fsdecode(b"t\xff")])
    assert ended.status == 255
    assert b"octopus: that user name cannot be read: expected less than 1024 bytes of printable UTF-8" in ended.stderr


async def test_remote_forward_agent_and_x11_are_refused_and_the_session_goes_on(part: GatewayPart) -> None:
    """-R, -A and -X do not stop a session; nothing listens for them."""
    arguments = ["-R", "0:127.0.0.1:1", "-A", "-X", "-o", "RemoteCommand=echo $SSH_AUTH_SOCK $DISPLAY ok"]
    ended = await talk(part, *arguments, env={"DISPLAY": ":0"})
    assert (ended.status, ended.stdout) == (0, b"ok\n")
    assert b"remote port forwarding failed" in ended.stderr
    assert b"X11 forwarding request failed" in ended.stderr
