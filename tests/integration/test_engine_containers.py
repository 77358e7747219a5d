"""Finding a task's container on a real engine, and its users' shells."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from octopus.core.errors import ContainerUnavailable
from octopus.core.types import ContainerClue, Target
from octopus.engine.backend import DockerBackend
from tests.contracts import PTY, run_to_end, spec_for
from tests.parts.engines import Engine

CID = "08b1b972-b5e5-4f63-9c55-4133894bb591"
CLUE = ContainerClue(agent_id="m-S0", framework_id="m-0000", task_id="app.1", container_id=CID)


@pytest.fixture
async def backend() -> AsyncIterator[DockerBackend]:
    """A backend with its default limits."""
    async with DockerBackend() as backend:
        yield backend


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """A sandbox as an agent makes it."""
    folder = tmp_path / "slaves/m-S0/frameworks/m-0000/executors/app.1/runs" / CID
    folder.mkdir(parents=True)
    return folder


def mounted(folder: Path, at: str = "/mnt/mesos/sandbox") -> dict[str, Any]:
    """How Mesos starts a container, without a network."""
    return {"NetworkMode": "none", "Binds": [f"{folder}:{at}"]}


def target_of(engine: Engine, clue: ContainerClue) -> Target:
    """A target with this clue."""
    return Target(app="/app", task="app.1", agent="agent-1", engine=engine.address, clue=clue)


UNKNOWN_RUN = ContainerClue(agent_id="m-S0", framework_id="m-0000", task_id="app.1")


@pytest.mark.parametrize(
    ("name", "clue"),
    [(f"mesos-{CID}", CLUE), (f"mesos-m-S0.{CID}", CLUE), ("by-hand", CLUE), ("by-hand", UNKNOWN_RUN)],
    ids=["new name", "old name", "other name", "before 1.2"],
)
async def test_a_task_is_found_by_name_or_by_its_sandbox(
    backend: DockerBackend, docker_engine: Engine, sandbox: Path, name: str, clue: ContainerClue
) -> None:
    """Whatever Mesos it was that started it."""
    with docker_engine.container(name=name, host_config=mounted(sandbox)) as container:
        async with backend.start(target_of(docker_engine, clue), spec_for("true")) as stream:
            assert stream.container == container


async def test_the_containers_own_word_is_not_taken(backend: DockerBackend, docker_engine: Engine, sandbox: Path) -> None:
    """Environment, label and a mount elsewhere claim to be the task: it is not entered."""
    claims: dict[str, Any] = {"environment": {"MESOS_TASK_ID": "app.1"}, "labels": {"MESOS_TASK_ID": "app.1"}}
    with docker_engine.container(host_config=mounted(sandbox, "/data"), **claims), pytest.raises(ContainerUnavailable) as caught:
        await backend.start(target_of(docker_engine, CLUE), spec_for("true")).__aenter__()
    assert caught.value.notice == "the container is gone"


async def test_a_name_alone_does_not_make_it_the_task(backend: DockerBackend, docker_engine: Engine, tmp_path: Path) -> None:
    """A container of the right name over another executor's sandbox is refused, and the operator is told why."""
    other = tmp_path / "slaves/m-S0/frameworks/m-0000/executors/other.1/runs" / CID
    other.mkdir(parents=True)
    named = docker_engine.container(name=f"mesos-{CID}", host_config=mounted(other))
    with named, pytest.raises(ContainerUnavailable, match=r"executor other\.1") as caught:
        await backend.start(target_of(docker_engine, CLUE), spec_for("true")).__aenter__()
    assert caught.value.notice == "the container is not the task's"


async def test_an_exited_container_is_gone(backend: DockerBackend, docker_engine: Engine, sandbox: Path) -> None:
    """The engine lists it for a while yet."""
    with docker_engine.container(name=f"mesos-{CID}", host_config=mounted(sandbox)) as container:
        with docker_engine.api() as api:
            api.kill(container)
            api.wait(container)
        with pytest.raises(ContainerUnavailable) as caught:
            await backend.start(target_of(docker_engine, CLUE), spec_for("true")).__aenter__()
        assert caught.value.notice == "the container is gone"
        assert await backend.reap(target_of(docker_engine, CLUE), spec_for("true"))


def put(engine: Engine, container: str, *members: tuple[str, bytes, str]) -> None:
    """Put files (name, content, "") or links (name, b"", where to) into a container."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content, link in members:
            info = tarfile.TarInfo(name)
            info.mode, info.size, info.linkname = 0o755, len(content), link
            info.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
            tar.addfile(info, io.BytesIO(content))
    with engine.api() as api:
        assert api.put_archive(container, "/", buffer.getvalue())


@pytest.mark.parametrize(
    ("passwd", "user", "shell"),
    [
        (b"root:x:0:0::/:/bin/own\n", "", b"own\r\n"),
        (b"root:x:0:0::/:/bin/own\napp:x:1000:1000::/:/bin/sh\n", "1000:1000", b"my shell is /bin/sh\r\n"),
        (b"root:x:0:0::/:/no/such/shell\n", "", b"bash\r\n"),
        (b"root:x:0:0::/:/usr/sbin/nologin\n", "", b"bash\r\n"),
        (b"", "", b"bash\r\n"),
    ],
)
async def test_the_login_shell_is_the_users(backend: DockerBackend, docker_engine: Engine, passwd: bytes, user: str, shell: bytes) -> None:
    """From /etc/passwd, a link here, where the shell is there and is one; else bash; the image's PATH is kept."""
    with docker_engine.container(host_config={"NetworkMode": "none"}) as container:
        shells = [(f"bin/{name}", b"#!/bin/sh\necho %b\n" % name.encode(), "") for name in ("own", "bash")]
        put(docker_engine, container, *shells, ("etc/passwd", b"", "../usr/users"), ("usr/users", passwd, ""))
        spec = spec_for(None, pty=PTY, user=user)
        target = target_of(docker_engine, ContainerClue(engine_id=container))
        out, _, exit = await run_to_end(backend, target, spec, b"echo my shell is $0; exit\n")
    assert exit.status == 0
    assert shell in out
