"""The command itself, as a process: what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import IO

import pytest

from octopus.identity.passwords import read_hash, verify
from octopus.printing import table
from tests.parts.engines import Engine

VERBS = (
    "serve",
    "check",
    "demo",
    "tasks",
    "verify",
    "sessions",
    "replay",
    "kill",
    "prune",
    "hostkeys",
    "hostkeys create",
    "hostkeys list",
    "users",
    "users hash",
)


def octopus(*arguments: str, given: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``octopus`` and return how it ended and what it wrote."""
    command = [sys.executable, "-c", "from octopus.cli import main; main()", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environ})


def octopus_in(
    directory: Path, *arguments: str, stdout: IO[str] | int = subprocess.PIPE, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run ``octopus`` in a directory and return how it ended and what it wrote."""
    command = [sys.executable, "-c", "from octopus.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environ}
    return subprocess.run(command, cwd=directory, stdout=stdout, stderr=-1, text=True, check=False, timeout=60, env=environment)


def config(directory: Path, engine: str) -> Path:
    """Write and return a configuration of the one engine, with host keys and a users file."""
    hashed = octopus("users", "hash", given="hunter2\n").stdout.strip()
    users = directory / "users.toml"
    users.touch(mode=0o600)
    users.write_text(f'[users.al]\npassword = "{hashed}"\n')
    path = directory / "octopus.toml"
    path.write_text(
        f'[ssh]\nhost_keys = "keys"\n[audit]\ndirectory = "."\n[auth.users]\nfile = "users.toml"\n'
        f'[docker]\nurl = "{engine}"\ninventory = true\n[[policy]]\nusers = ["al"]\napps = ["**"]\nallow = ["shell"]\n'
    )
    return path


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    """--help says what the verb does, and those that do something give an example."""
    ended = octopus(*verb.split(), "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"Usage: octopus {verb}" in ended.stdout
    assert verb in ("demo", "hostkeys", "users") or "Example" in ended.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["sevre"], ["check", "--cofig", "x"], ["hostkeys", "create", "a", "b"], ["hostkeys", "create", ""], ["users"]]
)
def test_wrong_use_is_64(arguments: list[str]) -> None:
    """Nothing, an unknown verb, an unknown option, too much: usage on stderr, nothing on stdout."""
    ended = octopus(*arguments)
    assert (ended.returncode, ended.stdout) == (64, "")
    assert "Usage: octopus" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("verb", ["serve", "check", "tasks", "hostkeys list"])
def test_a_broken_configuration_is_78_with_all_its_faults(tmp_path: Path, verb: str) -> None:
    """Each fault is a line with file, line and key; control characters in it do nothing."""
    path = tmp_path / "octopus.toml"
    path.write_text('[ssh]\nlistne = 1\n[auth.users]\nfile = "\\u001b[2J"\n')
    ended = octopus(*verb.split(), "--config", str(path))
    assert (ended.returncode, ended.stdout) == (78, "")
    lines = ended.stderr.splitlines()
    assert lines[-2:] == [
        f"octopus: {path}:2: ssh.listne: unknown key (did you mean listen?)",
        f"octopus: {path}:4: auth.users.file: '\\x1b[2J': No such file or directory; expected the path of a file",
    ]
    assert all(line.startswith(f"octopus: {path}") for line in lines)


def test_options_before_unique_scale_are_meant_for_it(tmp_path: Path) -> None:
    """A configuration named there is the one whose gateway is asked to scale, never the machine's own."""
    other = tmp_path / "other.toml"
    ended = octopus("unique", "--config", str(other), "scale", "/ops/statsd")
    assert (ended.returncode, ended.stderr) == (78, f"octopus: {other}: cannot be read: No such file or directory\n")
    ended = octopus("unique", "--app", "/ops/statsd", "scale", "/ops/statsd")
    assert (ended.returncode, "expected: octopus unique scale /ops/statsd" in ended.stderr) == (64, True)


PRINTING = ("--help", "--version", "hostkeys create keys", "hostkeys list keys --json", "verify .")


@pytest.mark.parametrize("arguments", PRINTING)
def test_a_full_disk_is_one_line_and_74(tmp_path: Path, arguments: str) -> None:
    """Whether Python holds the output back or not; a bug of ours it is not."""
    (tmp_path / "audit.jsonl").touch()
    octopus_in(tmp_path, "hostkeys", "create", "keys")
    for unbuffered in ("", "1"):
        with Path("/dev/full").open("w") as full:
            ended = octopus_in(tmp_path, *arguments.split(), stdout=full, PYTHONUNBUFFERED=unbuffered)
        assert (ended.returncode, ended.stderr) == (74, "octopus: standard output cannot be written: No space left on device\n")


def test_closed_streams_are_nowhere(tmp_path: Path) -> None:
    """What the caller closed is not the next file that is opened; an error is not told on standard output instead."""
    (tmp_path / "audit.jsonl").touch()
    for closing, status in ((">&-", 0), ("<&- >&- 2>&-", 0), ("2>&-", 0)):
        command = f'exec "$0" -c "from octopus.cli import main; main()" verify . {closing}'
        ended = subprocess.run(["sh", "-c", command, sys.executable], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert (ended.returncode, ended.stderr) == (status, "")
    command = 'exec "$0" -c "from octopus.cli import main; main()" check -c none.toml 2>&-'
    ended = subprocess.run(["sh", "-c", command, sys.executable], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (78, "")


def test_the_version_is_told() -> None:
    """As the package has it."""
    ended = octopus("--version")
    assert (ended.returncode, ended.stdout) == (0, f"octopus {metadata.version('octopus-gateway')}\n")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ("verify none", 69, "none: cannot be read: No such file or directory"),
        ("verify file", 69, "file/audit.head: cannot be read: Not a directory"),
        ("verify . --public-key none", 78, "none: cannot be read: No such file or directory"),
        ("hostkeys list file", 78, "file: cannot be read: Not a directory"),
        ("hostkeys list LONG", 78, "LONG: cannot be read: File name too long"),
        ("hostkeys create LONG", 78, "LONG: cannot be written: File name too long"),
        ("simulate LONG --url http://127.0.0.1:1", 69, "the gateway at http://127.0.0.1:1 does not answer: All connection attempts failed"),
        ("replay file", 65, "file: not a recording (asciicast v2)"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_one_line(tmp_path: Path, arguments: str, status: int, said: str) -> None:
    """It names the file and what is wrong with it, in words and not in numbers."""
    (tmp_path / "file").touch()
    long = "x" * 300
    ended = octopus_in(tmp_path, *arguments.replace("LONG", long).split())
    assert (ended.returncode, ended.stderr) == (status, f"octopus: {said.replace('LONG', long)}\n")


def told_of(folder: Path, toml: str) -> str:
    """Return what ``check`` says of the faults of such a configuration, each with the file's name."""
    path = folder / "octopus.toml"
    path.write_text(toml)
    ended = octopus("check", "--config", str(path))
    assert (ended.returncode, ended.stdout) == (78, "")
    assert f"octopus: {path}:" in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("key", ["runtime_directory", "host_keys"])
def test_a_directory_that_cannot_be_looked_at_is_a_fault_of_the_configuration(tmp_path: Path, key: str) -> None:
    """With file, line and key, as any other: whoever lacks the right to look must be told which directory it is."""
    told = told_of(tmp_path, f'[ssh]\n{key} = "/{"x" * 300}"\n')
    assert f":2: ssh.{key}: '/xxx" in told
    assert "File name too long; expected the path of a directory" in told
    assert "Traceback" not in told


def test_a_runtime_directory_leaves_room_for_sockets(tmp_path: Path) -> None:
    """Found by check and not by the start that fails."""
    told = told_of(tmp_path, f'[ssh]\nruntime_directory = "/{"x" * 95}"\n')
    assert ":2: ssh.runtime_directory: " in told
    assert "is too long for sockets in it; expected at most 90 bytes" in told


@pytest.mark.parametrize("section", ["ssh.runtime_directory", "ssh.host_keys", "audit.directory"])
def test_a_directory_that_everybody_may_write_to_is_a_fault(tmp_path: Path, section: str) -> None:
    """They could put a socket, a key or a trail of their own there in place of ours."""
    table, key = section.split(".")
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o1777)
    path = tmp_path / "octopus.toml"
    path.write_text(f'[{table}]\n{key} = "open"\n')
    ended = octopus("check", "--config", str(path))
    assert ended.returncode == 78
    assert f"{path}:2: {section}: 'open' can be written by everybody (mode 1777); expected mode 0700" in ended.stderr


@pytest.mark.parametrize("arguments", [["kill", "s-\udcff"], ["kill", "s-1", "--reason", "\udcff"], ["unique", "scale", "/\udcff"]])
def test_arguments_that_are_no_text_are_64(arguments: list[str]) -> None:
    """Where others are told of them."""
    ended = octopus(*arguments)
    assert (ended.returncode, ended.stdout) == (64, "")
    assert "\\xff is no UTF-8 text" in ended.stderr


def test_a_narrow_terminal_leaves_nothing_out(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines wrap, and what is there to be copied stays in one piece."""
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    row = [
        "s-0123456789abcdef",
        "alice",
        "192.0.2.117:51078",
        "/web/frontend",
        "t" * 60,
        "2026-11-26T07:29:06Z",
        "2026-11-26T07:29:06Z",
        "ended 0",
    ]
    table(["session", "login", "client", "app", "task", "began", "ended", "outcome"], [row], as_json=False)
    shown = capsys.readouterr().out
    assert "s-0123456789abcdef" in shown
    assert "alice" in shown
    assert shown.count("t") >= 60


def test_a_password_is_hashed_from_a_pipe() -> None:
    """The hash checks; nothing else is printed; an empty password is refused."""
    ended = octopus("users", "hash", given="pässword \n")
    assert (ended.returncode, ended.stderr) == (0, "")
    hashed = read_hash(ended.stdout.strip())
    assert verify("pässword ", hashed)
    assert not verify("pässword", hashed)
    assert octopus("users", "hash", given="\n").returncode == 64


def test_host_keys_are_made_and_listed(tmp_path: Path) -> None:
    """Lines for people, JSON for programs; a second run makes nothing."""
    made = octopus("hostkeys", "create", str(tmp_path))
    assert made.returncode == 0
    assert made.stdout.count("(new)") == made.stdout.count("IN SSHFP") == 2
    listed = json.loads(octopus("hostkeys", "list", str(tmp_path), "--json").stdout)
    assert [key["algorithm"] for key in listed] == ["ssh-ed25519", "ssh-rsa"]
    assert all(key["fingerprint"] in made.stdout for key in listed)
    assert "(new)" not in octopus("hostkeys", "create", str(tmp_path)).stdout
    missing = octopus("hostkeys", "list", str(tmp_path / "none"))
    assert (missing.returncode, missing.stdout, missing.stderr.count("\n")) == (78, "", 1)


def test_check_and_tasks_tell_of_a_plain_engine(tmp_path: Path, docker_engine: Engine) -> None:
    """A table for people or JSON; a fault makes exit status 1; nothing but the answer is printed."""
    path = str(config(tmp_path, docker_engine.address.url))
    faulty = octopus("check", "--config", path)
    assert (faulty.returncode, faulty.stderr) == (1, "")
    assert f"fault\thost keys\t{tmp_path}/keys: holds no host key" in faulty.stdout
    octopus("hostkeys", "create", "--config", path)
    with docker_engine.container(name="cli-test") as container:
        good = octopus("check", "--config", path, "--json")
        assert good.returncode == 0
        assert {found["status"] for found in json.loads(good.stdout)} == {"ok"}
        [task] = json.loads(octopus("tasks", "cli-test", "--config", path, "--json").stdout)
        assert (task["task"], task["agent"]) == (container, "localhost")
        table = octopus("tasks", "cli-*", "--config", path).stdout.splitlines()
        assert [line.split("\t")[0] for line in table] == ["app", task["app"]]


def test_a_gateway_without_host_keys_does_not_start(tmp_path: Path) -> None:
    """One line that says what to do, before anything listens."""
    ended = octopus("serve", "--config", str(config(tmp_path, "unix:///nowhere/docker.sock")))
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (78, "", 1)
    assert ended.stderr == f"octopus: {tmp_path}/keys: holds no host key (ssh_host_*_key): octopus hostkeys create {tmp_path}/keys\n"


def test_a_gateway_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    """An address in use is a fault of the configuration, an audit trail that cannot be written is 69; no traceback."""
    path = str(config(tmp_path, "unix:///nowhere/docker.sock"))
    octopus("hostkeys", "create", "--config", path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        runtime = {"OCTOPUS_SSH__RUNTIME_DIRECTORY": str(tmp_path / "run"), "OCTOPUS_SSH__LISTEN": address, "OCTOPUS_ADMIN__LISTEN": ""}
        in_use = octopus("serve", "--config", path, **runtime)
        no_trail = octopus("serve", "--config", path, **runtime, OCTOPUS_AUDIT__DIRECTORY="/proc/nowhere")
    for ended, status, word in ((in_use, 78, address), (no_trail, 69, "/proc/nowhere")):
        told = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
        assert (ended.returncode, len(told)) == (status, 1)
        assert told[0].startswith("octopus: ")
        assert word in told[0]


def test_what_is_down_is_one_line_and_69(tmp_path: Path) -> None:
    """No traceback, no log line: what did not answer, and how."""
    ended = octopus("tasks", "--config", str(config(tmp_path, "unix:///nowhere/docker.sock")))
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (69, "", 1)
    assert ended.stderr.startswith("octopus: unix:///nowhere/docker.sock: ")


def test_the_environment_reaches_the_configuration(tmp_path: Path) -> None:
    """A variable overlays the file, and a fault in it is told by its name."""
    path = config(tmp_path, "unix:///nowhere/docker.sock")
    ended = octopus("check", "--config", str(path), OCTOPUS_SSH__WORKERS="many")
    assert (ended.returncode, ended.stderr.count("\n")) == (78, 1)
    assert ended.stderr.startswith("octopus: OCTOPUS_SSH__WORKERS: ssh.workers: 'many' is no number of workers")


def test_help_does_not_wait_for_libraries() -> None:
    """What a verb needs is imported when it runs."""
    code = "import sys, octopus.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncssh", "docker", "httpx", "kazoo", "ldap3", "pydantic", "rich"} & set(loaded)
