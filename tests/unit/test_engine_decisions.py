"""What the engine's side decides without asking anybody: whose container it is, what to start, how to read answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from octopus.core.errors import BadUpstream
from octopus.core.types import ContainerClue, ExecSpec, Pty, TermSize
from octopus.engine import wire
from octopus.engine.hijack import parse_head, start_request
from octopus.engine.identify import candidates, mismatch, names
from octopus.engine.launch import direct_argv, exec_config
from octopus.engine.mesos_wire import read_exit, read_output
from octopus.engine.quiet import all_older
from octopus.engine.shell import passwd_shell

AGENT, FRAMEWORK, CID = "36e2-S0", "36e2-0000", "08b1b972-b5e5-4f63-9c55-4133894bb591"
TASK = "logging_logstash.3f9c7a5e-8a11-11e5-9c5b-56847afe9799"
CLUE = ContainerClue(agent_id=AGENT, framework_id=FRAMEWORK, task_id=TASK, container_id=CID)
SANDBOX = "/mnt/mesos/sandbox"


def path(*, agent: str = AGENT, framework: str = FRAMEWORK, executor: str = TASK, container: str = CID) -> str:
    """A sandbox on the agent's disk."""
    return f"/var/lib/mesos/slaves/{agent}/frameworks/{framework}/executors/{executor}/runs/{container}"


def container(source: str, *, destination: str = SANDBOX, name: str = f"/mesos-{CID}", kind: str = "bind") -> wire.Container:
    """A running container with one mount."""
    mount = wire.Mount(type=kind, source=source, destination=destination)
    return wire.Container(id="c0ffee", name=name, state=wire.State(running=True), mounts=(mount,))


def test_both_names_of_every_mesos_version_are_tried() -> None:
    """With the agent's id in between from 0.23 to 1.3, without it before and after."""
    assert names(CLUE) == (f"mesos-{CID}", f"mesos-{AGENT}.{CID}")
    assert names(ContainerClue(container_id=CID)) == (f"mesos-{CID}",)
    assert names(ContainerClue(task_id=TASK)) == ()


@pytest.mark.parametrize(
    ("clue", "found"),
    [
        (CLUE, container(path())),
        (CLUE, container(path() + "/")),
        (CLUE, container("/deep/slaves/x/frameworks/y/executors/z/runs/w" + path())),
        (ContainerClue(framework_id=FRAMEWORK, task_id=TASK), container(path())),
        (
            ContainerClue(framework_id=FRAMEWORK, task_id=TASK, executor_id=f"marathon-{TASK}"),
            container(path(executor=f"marathon-{TASK}")),
        ),
        (CLUE, container(f"/var/lib/mesos/docker/links/{CID}")),
        (ContainerClue(engine_id="c0ffee"), container("/anything")),
    ],
)
def test_the_sandbox_of_the_task_is_recognized(clue: ContainerClue, found: wire.Container) -> None:
    """By executor, framework, agent and run, as far as Mesos told them; by the run alone where the path is a link."""
    assert mismatch(clue, found) == ""


@pytest.mark.parametrize(
    ("clue", "found"),
    [
        (CLUE, container(path(executor="other.1"))),
        (CLUE, container(path(framework="36e2-0001"))),
        (CLUE, container(path(agent="36e2-S1"))),
        (CLUE, container(path(container="0"))),
        (CLUE, container(path() + "/data")),
        (CLUE, container(path(), destination="/host/sandbox")),
        (CLUE, container(path(), kind="volume")),
        (CLUE, container(path(), name=f"/mesos-{CID}.executor")),
        (CLUE, container("/var/lib/mesos/docker/links/0")),
        (ContainerClue(framework_id=FRAMEWORK, task_id=TASK), container(f"/var/lib/mesos/docker/links/{CID}")),
        (ContainerClue(task_id=TASK), container(path())),
        (ContainerClue(framework_id=FRAMEWORK), container(path(executor=""))),
        (ContainerClue(), container(path())),
        (ContainerClue(engine_id="c0ffe"), container(path())),
        (CLUE, wire.Container(id="c0ffee", name="/x", state=wire.State(running=True), mounts=None)),
    ],
)
def test_anothers_container_is_not_entered(clue: ContainerClue, found: wire.Container) -> None:
    """Another executor, framework, agent or run, the executor's own container, or a mount that only looks like a sandbox."""
    assert mismatch(clue, found)


def test_the_newest_run_of_an_executor_comes_first() -> None:
    """Where the master does not tell the run, as before 1.2."""
    clue = ContainerClue(framework_id=FRAMEWORK, task_id=TASK)

    def listed(name: str, created: int, source: str) -> wire.Listed:
        return wire.Listed(id=name, names=("/x",), created=created, mounts=(wire.Mount(type="bind", source=source, destination=SANDBOX),))

    runs = [listed("old", 1, path(container="1")), listed("new", 2, path(container="2")), listed("other", 3, path(executor="x"))]
    assert candidates(clue, runs) == ["new", "old"]


@pytest.mark.parametrize(
    ("server", "least", "chosen"),
    [("1.24", "1.12", (1, 24)), ("1.41", "1.12", (1, 41)), ("1.52", "1.44", (1, 45)), ("1.60", "1.50", (1, 50))],
)
def test_the_version_is_the_engines_within_what_both_know(server: str, least: str, chosen: tuple[int, int]) -> None:
    """Never older than the engine takes, never newer than we know unless it must be."""
    assert wire.negotiate(wire.Version(api_version=server, min_api_version=least)) == chosen


@pytest.mark.parametrize("server", ["1.18", "", "1", "1.x", "1.-4", "\u0661.\u0664", "1.999999999"])
def test_a_version_nobody_speaks_is_the_engines_fault(server: str) -> None:
    """Older than 1.24, or no version at all."""
    with pytest.raises(BadUpstream):
        wire.negotiate(wire.Version(api_version=server))


PASSWD = "root:x:0:0:root:/root:/bin/ash\napp:x:1000:33:app:/home/app:/usr/bin/zsh\nwww:x:33:33::/:/usr/sbin/nologin\nbad:x:7"


@pytest.mark.parametrize(
    ("user", "shell"),
    [
        ("", "/bin/ash"),
        ("root", "/bin/ash"),
        ("app", "/usr/bin/zsh"),
        ("1000", "/usr/bin/zsh"),
        ("app:33", "/usr/bin/zsh"),
        ("1000:0", "/usr/bin/zsh"),
        ("www", ""),
        ("bad", ""),
        ("4242", ""),
    ],
)
def test_the_login_shell_is_the_users_own(user: str, shell: str) -> None:
    """By name, uid, with a group; accounts that may not log in offer none."""
    assert passwd_shell(PASSWD, user) == shell


def test_a_shell_that_is_no_path_is_not_used() -> None:
    """Neither a relative one nor one a terminal would act on."""
    assert passwd_shell("root:x:0:0::/:sh\n", "") == ""
    assert passwd_shell("root:x:0:0::/:/bin/\x1b[2Jsh\n", "") == ""


@pytest.mark.parametrize(
    "command", ["ls", "/a | /b", "/a $HOME", "/a *", "/a\n/b", "/a 'x", "/a;", "/a `b`", "/a\0b", "", "~/x", "/a > /b"]
)
def test_only_a_plain_path_with_arguments_needs_no_shell(command: str) -> None:
    """Whatever a shell would treat specially is not split by us."""
    assert direct_argv(command) is None


def test_a_plain_command_is_split_as_a_shell_would() -> None:
    """Quotes are the only syntax."""
    assert direct_argv("/app/tool --name 'a b' \"c d\" e=f") == ["/app/tool", "--name", "a b", "c d", "e=f"]


def spec(*, pty: bool) -> ExecSpec:
    """A spec whose client sends a locale and a TERM of its own."""
    size = TermSize(cols=123, rows=45)
    env = {"LC_ALL": "de_DE.UTF-8", "TERM": "evil"}
    return ExecSpec(command="x", pty=Pty(term="vt220", size=size) if pty else None, env=env, user="app", token="t" * 32)


def config(version: tuple[int, int], *, pty: bool, shell: str = "/bin/sh") -> dict[str, Any]:
    """What a command ``/bin/sh -c x`` becomes."""
    return exec_config(["/bin/sh", "-c", "x"], spec(pty=pty), shell, version)


def test_a_new_engine_is_told_the_size_height_first() -> None:
    """The command is not wrapped, and ^P is not a detach key."""
    made = config((1, 42), pty=True)
    assert made["ConsoleSize"] == [45, 123]
    assert made["Cmd"] == ["/bin/sh", "-c", "x"]
    assert made["Env"] == ["LANG=C.UTF-8", "LC_ALL=de_DE.UTF-8", "TERM=vt220", f"OCTOPUS_SESSION={'t' * 32}"]
    assert "ctrl-p" not in made["DetachKeys"]
    assert (made["Tty"], made["User"]) == (True, "app")


def test_an_older_engine_sets_the_size_by_stty() -> None:
    """The command is passed as arguments, never into the script."""
    assert config((1, 41), pty=True)["Cmd"] == [
        "/bin/sh",
        "-c",
        'stty rows 45 cols 123 2>/dev/null; exec "$0" "$@"',
        "/bin/sh",
        "-c",
        "x",
    ]
    assert config((1, 41), pty=True, shell="")["Cmd"] == ["/bin/sh", "-c", "x"]


def test_the_oldest_engine_gets_the_environment_by_a_shell() -> None:
    """API 1.24 has no Env; TERM is for terminals only."""
    made = config((1, 24), pty=False)
    assert "Env" not in made
    assert made["Cmd"][3:] == ["sh", "LANG=C.UTF-8", "LC_ALL=de_DE.UTF-8", f"OCTOPUS_SESSION={'t' * 32}", "", "/bin/sh", "-c", "x"]


def test_the_start_asks_for_an_upgrade() -> None:
    """One request, its body's length right."""
    head, _, body = start_request((1, 41), "abc", {"Tty": True}).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1.41/exec/abc/start HTTP/1.1\r\n")
    assert b"Upgrade: tcp" in head
    assert b"Content-Length: %d" % len(body) in head
    assert json.loads(body) == {"Tty": True}


@pytest.mark.parametrize(
    ("head", "hijacked"),
    [
        (b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade", True),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream", True),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json", False),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\nTransfer-Encoding: chunked", False),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2", False),
    ],
)
def test_a_stream_begins_only_where_the_engine_says_so(head: bytes, hijacked: bool) -> None:
    """101, or 200 with a stream's type and no coding on top."""
    assert parse_head(head).hijacked is hijacked


@pytest.mark.parametrize("head", [b"", b"SSH-2.0-x", b"HTTP/2 101", b"HTTP/1.1 101 OK\r\nno colon", b"HTTP/1.1 1O1 OK"])
def test_what_is_no_http_is_the_engines_fault(head: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(BadUpstream):
        parse_head(head)


@pytest.mark.parametrize(("mode", "regular", "executable"), [(0o755, True, True), (0o644, True, False), (1 << 31 | 0o755, False, False)])
def test_gos_file_modes_are_read(mode: int, regular: bool, executable: bool) -> None:
    """A folder's x bits do not make it a program."""
    stat = wire.decode_stat(base64.b64encode(json.dumps({"name": "sh", "mode": mode, "linkTarget": ""}).encode()).decode())
    assert (stat.regular, stat.executable, stat.symlink) == (regular, executable, False)


@pytest.mark.parametrize(
    "header",
    ["", "!", "\xff", *(base64.b64encode(body).decode() for body in (b"{}", b'{"mode": "x"}', b'{"mode": 1, "linkTarget": "\xff"}'))],
)
def test_a_broken_stat_is_the_engines_fault(header: str) -> None:
    """No base64, no JSON, no mode, no text."""
    with pytest.raises(BadUpstream):
        wire.decode_stat(header)


@pytest.mark.parametrize("body", [b'{"message": "\xff"}', b'{"more":' * 100_000])
def test_what_an_engine_says_of_a_fault_need_not_be_text(body: bytes) -> None:
    """It is shown as it came."""
    assert wire.fault_text(body) == body.decode("utf-8", "replace")


@pytest.mark.parametrize(("word", "status"), [(0, 0), (1792, 7), (9, 137), (15, 143), (139, 139), (65280, 255)])
def test_an_agents_status_is_a_wait_word(word: int, status: int) -> None:
    """wait(2): the signal in the low seven bits (0x80 is a core dump), else the status above."""
    assert read_exit(json.dumps({"wait_nested_container": {"exit_status": word}}).encode()) == status


def test_a_heartbeat_is_no_output() -> None:
    """Only DATA is shown."""
    assert read_output(b'{"type":"CONTROL","control":{"type":"HEARTBEAT"}}') is None


TITLES = ("PID", "STAT", "ELAPSED")


@pytest.mark.parametrize(
    ("processes", "age", "quiet"),
    [
        ([("1", "Ss", "100")], 5, True),
        ([("1", "Ss", "100"), ("2", "Z", "0")], 5, True),
        ([("1", "Ss", "100"), ("2", "S", "6")], 5, False),
        ([("1", "Ss", "100"), ("2", "S", "5")], 5, False),
        ([("1", "Ss", "100"), ("2", "S", "-")], 5, False),
        ([("1", "Ss", "100"), ("2", "S", "9" * 5000)], 5, False),
        ([("1", "Ss", "100"), ("2", "S")], 5, False),
        ([("1", "Ss", "100")], 99, False),
        ([], 5, False),
    ],
)
def test_a_container_is_quiet_when_all_in_it_is_older_than_the_session(processes: list[tuple[str, ...]], age: float, quiet: bool) -> None:
    """In doubt it is not, and the session's processes are looked for."""
    assert all_older(wire.Top(titles=TITLES, processes=tuple(processes)), age) is quiet
    assert not all_older(wire.Top(titles=("PID",), processes=tuple(processes)), age)
