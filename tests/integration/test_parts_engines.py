"""The engines that tests and the demo stand on."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import docker.errors
import pytest

from octopus.core.types import EngineAddress
from octopus.demo.engines import answers, first_answering, open_engine
from octopus.demo.images import SHELLLESS
from tests.parts.engines import Engine, private_engine
from tests.parts.tools import need


def test_the_image_has_a_shell_and_two_people(docker_engine: Engine) -> None:
    """Root and app can log in by /bin/sh."""
    with docker_engine.container() as container:
        assert docker_engine.run(container, "/bin/sh", "-c", "id -un; pwd", user="app") == (0, b"app\n/\n")
        assert docker_engine.run(container, "grep", "-c", ":/bin/sh$", "/etc/passwd") == (0, b"2\n")


def test_the_shellless_image_has_no_shell(docker_engine: Engine) -> None:
    """/cat runs, a shell does not, not even by asking busybox for one."""
    with docker_engine.container(image=SHELLLESS) as container:
        assert docker_engine.run(container, "/cat", "/proc/self/comm") == (0, b"cat\n")
        for command in (["/bin/sh"], ["sh"], ["/cat", "sh"]):
            assert docker_engine.run(container, *command)[0] != 0


def test_two_engines_answer_over_tls_to_a_client_certificate_only(two_tls_engines: tuple[Engine, Engine]) -> None:
    """Each has its own containers, and a stranger gets no answer."""
    one, two = two_tls_engines
    with one.container() as container, two.api() as api, pytest.raises(docker.errors.NotFound):
        api.inspect_container(container)
    assert not answers(EngineAddress(url=one.address.url))


def test_an_engine_that_answers_is_found(docker_engine: Engine) -> None:
    """Empty and dead URLs are passed over."""
    url = docker_engine.address.url
    if docker_engine.address.url.startswith("unix://"):
        assert first_answering(["", "unix:///nowhere.sock", url]) == EngineAddress(url=url)
    assert first_answering(["", "unix:///nowhere.sock"]) is None


def test_a_private_engine_leaves_nothing() -> None:
    """With a container still running: no process, no mount, no folder."""
    with private_engine() as engine, contextlib.closing(open_engine(engine.address)) as api:
        api.start(api.create_container("octopus-demo/busybox:latest")["Id"])
        assert engine.private is not None
        directory = engine.private.directory
    assert_nothing_left(directory)


KILLED = """
import os, signal, time
from octopus.demo.engines import PrivateEngine, open_engine
with PrivateEngine() as engine:
    api = open_engine(engine.local)
    api.start(api.create_container("octopus-demo/busybox:latest", stop_signal="SIGKILL")["Id"])
    print(engine.directory, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_private_engine_does_not_outlive_who_started_it() -> None:
    """After a SIGKILL, which no finally covers, the keeper still clears away."""
    need("dockerd", "docker.io")
    ended = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=100)
    directory = Path(ended.stdout.strip())
    assert ended.returncode == -9
    wait_until_gone(directory)
    assert_nothing_left(directory)


def wait_until_gone(directory: Path) -> None:
    """Return when no process names the folder any more."""
    while pids := processes_of(directory):
        with contextlib.suppress(ProcessLookupError):
            subprocess.run(["tail", f"--pid={pids[0]}", "-f", "/dev/null"], timeout=60, check=False)


def processes_of(directory: Path) -> list[int]:
    """Return the processes that name the folder in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(directory).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def assert_nothing_left(directory: Path) -> None:
    """Fail where a process, a mount or the folder itself is still there."""
    assert processes_of(directory) == []
    assert str(directory) not in Path("/proc/mounts").read_text()
    assert not directory.exists()
