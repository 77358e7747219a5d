"""Transfers cut in the middle, by the engine, the client or a full disk: no half file, no process, no spool file, one terminal event."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.gateway import HOST, Gateway, Sections
from tests.e2e.planes import becomes
from tests.e2e.scene import IPS, Scene, behind, gateway_for, launch, on, own_socket
from tests.e2e.test_forward import arguments
from tests.e2e.test_full_disk import small_disk
from tests.e2e.trail import Chapter
from tests.parts.proxy import Proxy, in_front_of
from tests.parts.tools import need

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

IMAGES = {"web_front": "/web/front", "ops_bare": "/ops/bare"}
PROTOCOLS = ["-s", "-O"]
SIZE = 256 << 20
USERS: Sections = {"auth.users": {"file": "users.toml"}}
RULES: Sections = {"policy": [{"users": ["alice"], "apps": ["/**"], "allow": ["exec", "download", "upload"]}]}
CHANGES = re.compile(rb"(PUT|GET) /v[0-9.]+/containers/[^ ]+/archive\?path=%2Fcut")
"""Where there is no shell: a file on its way in or out. The directory of one on its way in is /cut."""


__all__ = ["small_disk"]


@dataclass(frozen=True)
class Stage:
    """A gateway of its own, whose engine is reached through a proxy."""

    scene: Scene
    gateway: Gateway
    proxy: Proxy
    directory: Path

    async def begin(self, protocol: str, *words: str) -> asyncio.subprocess.Process:
        """Start scp as alice, slow enough to be met in the middle; ``TASK:PATH`` is there."""
        ssh = self.gateway.ssh
        argv = [need("scp", "openssh-client"), "-l", "40000", protocol, *ssh.options, "-i", str(self.scene.people.alice.key)]
        words = tuple(word.replace(":", f"@{HOST}:", 1) if word.partition(":")[0] in IMAGES else word for word in words)
        return await asyncio.create_subprocess_exec(*argv, *words, env=ssh.environment(), stderr=asyncio.subprocess.PIPE)

    async def run(self, name: str, *lines: str) -> None:
        """Run lines of sftp; each has to succeed."""
        ssh = self.gateway.ssh
        argv = [need("sftp", "openssh-client"), *ssh.options, "-i", str(self.scene.people.alice.key), "-b", "-", f"{name}@{HOST}"]
        ended = await ssh.run_program(argv, stdin="\n".join(lines).encode() + b"\n")
        assert ended.status == 0, ended
        await self.gateway.still()

    def spooled(self) -> list[int]:
        """Return the sizes of the nameless files that the gateway's processes have open."""
        found = []
        for pid in self.gateway.processes:
            with contextlib.suppress(OSError):  # one that works out a report is gone before long
                for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        if "/tmp/" in os.readlink(descriptor) and os.readlink(descriptor).endswith(" (deleted)"):
                            found.append(descriptor.stat().st_size)
        return found

    def files(self, name: str) -> set[str]:
        """Return what is new or changed in a container, as its engine tells it."""
        task = self.scene.task(IMAGES[name])
        with self.scene.engine(task).api() as api:
            return {str(change["Path"]) for change in api.diff(self.scene.container(task)) or ()}

    async def nothing_left(self, name: str, before: set[str]) -> None:
        """Wait until no process of a session is left in the container, and see that no file is, there or here."""
        await becomes(lambda: self.scene.processes(IMAGES[name]), [])
        await becomes(lambda: self.files(name) - before, set())
        await becomes(self.spooled, [])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Give that gateway, and in both containers a directory /cut with a large file in it."""
    async with in_front_of(own_socket(scene.engines[0]).url).serve(IPS[0]) as proxy:
        limits: dict[str, Any] = {"url": f"http://{{ip}}:{proxy.port}", "call_timeout": "5s"}
        async with gateway_for(scene.people, USERS, behind(scene.cluster), {"docker": limits}, RULES) as running:
            await running.serves("web_front", key=scene.people.alice.key)
            stage = Stage(scene, running, proxy, tmp_path_factory.mktemp("cut"))
            with (stage.directory / "large").open("wb") as file:
                file.truncate(SIZE)
            for name in IMAGES:
                await stage.run(name, "mkdir /cut", f"put {stage.directory}/large /cut/there")
            yield stage
            for name in IMAGES:
                await stage.run(name, "rm /cut/there")


@pytest.fixture
def met(stage: Stage) -> Any:
    """Give what waits until a transfer is in its midst."""

    async def midst(name: str, way: str, protocol: str) -> None:
        async with asyncio.timeout(60):
            if name == "ops_bare" and stage.proxy.hang_at:
                await stage.proxy.hung.wait()
                return
            while not _under_way(stage, name, way, protocol):  # noqa: ASYNC110 (files have no events)
                await asyncio.sleep(0)

    return midst


def _under_way(stage: Stage, name: str, way: str, protocol: str) -> bool:
    if way == "down":
        back = stage.directory / f"back{name}{protocol}"
        return back.exists() and back.stat().st_size > 100_000
    if name == "ops_bare":
        return any(size > 100_000 for size in stage.spooled())
    return any(".octopus-" in path for path in stage.files(name))


def words(stage: Stage, name: str, way: str, protocol: str) -> list[str]:
    """Return what is copied where."""
    if way == "up":
        return [str(stage.directory / "large"), f"{name}:/cut/new"]
    (stage.directory / f"back{name}{protocol}").unlink(missing_ok=True)
    return [f"{name}:/cut/there", str(stage.directory / f"back{name}{protocol}")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("name", list(IMAGES))
async def test_client_that_is_killed(stage: Stage, met: Any, name: str, way: str, protocol: str) -> None:
    """Each kind of transfer, with and without a shell in the image."""
    before = stage.files(name)
    record = stage.gateway.trail.from_now()
    process = await stage.begin(protocol, *words(stage, name, way, protocol))
    await met(name, way, protocol)
    process.kill()
    await process.communicate()
    await ended_badly(record, way)
    await stage.nothing_left(name, before)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("name", list(IMAGES))
async def test_engine_that_is_cut(stage: Stage, met: Any, name: str, way: str, protocol: str) -> None:
    """All its connections are reset in the middle of it: the client is told in one line, and once it can be reached nothing is left."""
    before = stage.files(name)
    record = stage.gateway.trail.from_now()
    transfer = words(stage, name, way, protocol)
    if name == "ops_bare":
        stage.proxy.hang_at = CHANGES
        transfer[0] = transfer[0].replace(str(stage.directory / "large"), str(stage.directory / "small"))
        (stage.directory / "small").write_bytes(bytes(1 << 20))
    process = await stage.begin(protocol, *transfer)
    try:
        await met(name, way, protocol)
    finally:
        stage.proxy.cut()
        stage.proxy.thaw()
    _, stderr = await process.communicate()
    assert process.returncode != 0
    assert b"octopus: " in stderr
    await ended_badly(record, way)
    await stage.nothing_left(name, before)


async def test_worker_that_is_killed_among_many_files(stage: Stage) -> None:
    """Each file that the client was told is there is on the trail, and nothing else is left; one more may be just in its place."""
    before = stage.files("web_front")
    tree, record = stage.directory / "many", stage.gateway.trail.from_now()
    tree.mkdir()
    for number in range(1000):
        (tree / f"f{number}").write_bytes(b"x" * 100)
    ssh = stage.gateway.ssh
    argv = [need("sftp", "openssh-client"), *ssh.options, "-i", str(stage.scene.people.alice.key), "-b", "-", f"web_front@{HOST}"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, env=ssh.environment(), stdin=pipe, stdout=pipe, stderr=pipe)
    ending = asyncio.create_task(process.communicate(f"put -r {tree} /cut/many\n".encode()))
    await record.event("file.uploaded")
    for worker in stage.gateway.processes:
        if b"session_worker" in arguments(worker):
            os.kill(worker, signal.SIGKILL)
    await ending
    assert process.returncode != 0
    story = await record.session()
    assert story.end["event"] == "session.failed"
    told = {event["path"] for event in story.events if event["event"] == "file.uploaded" and event["complete"]}
    await becomes(lambda: stage.scene.processes(IMAGES["web_front"]), [])
    there = {path for path in stage.files("web_front") - before if path != "/cut/many"}
    assert told
    assert told <= there
    assert len(there - told) <= 1
    await stage.gateway.serves("web_front", key=stage.scene.people.alice.key)
    await stage.run("web_front", "rm /cut/many/*", "rmdir /cut/many")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_full_disk_in_the_container(stage: Stage, protocol: str) -> None:
    """What does not fit is told and leaves nothing: 256 MiB into the 64 of /dev/shm, after something that fits."""
    ssh, key = stage.gateway.ssh, stage.scene.people.alice.key
    roomy = f"roomy{PROTOCOLS.index(protocol)}"
    [task] = await launch(stage.scene.cluster, f"/ops/{roomy}", mem=512, **on(1))  # in 64 MiB the kernel would kill who fills as many
    await stage.gateway.serves(f"ops_{roomy}", key=key)
    await stage.gateway.still()
    record = stage.gateway.trail.from_now()
    argv = [need("scp", "openssh-client"), protocol, *ssh.options, "-i", str(key)]
    (stage.directory / "fits").write_bytes(b"fits")
    ended = await ssh.run_program(
        [*argv, str(stage.directory / "fits"), str(stage.directory / "large"), f"ops_{roomy}@{HOST}:/dev/shm/"], stdin=None
    )
    assert ended.status == 1, ended
    assert b"no space left" in ended.stderr, ended
    [story] = await record.sessions()
    assert [event["complete"] for event in story.events if event["event"] == "file.uploaded"] == [True, False]
    assert story.names[-1] == "session.ended"
    listed = await ssh.run(f"ops_{roomy}", "ls -A /dev/shm", key=key)
    assert listed.stdout == b"fits\n"
    await becomes(lambda: len(stage.scene.engine(task).processes(stage.scene.container(task))), 1)
    stage.scene.cluster.scale(f"/ops/{roomy}", 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_full_disk_of_the_spool(stage: Stage, small_disk: Path, protocol: str) -> None:
    """Where there is no shell 256 MiB do not fit through four, either way: that is told, and nothing is left, there or here."""
    docker = {"url": f"http://{{ip}}:{stage.proxy.port}", "spool_directory": str(small_disk)}
    scene, before = stage.scene, stage.files("ops_bare")
    async with gateway_for(scene.people, USERS, behind(scene.cluster), {"docker": docker}, RULES) as gateway:
        await gateway.serves("web_front", key=scene.people.alice.key)
        await gateway.still()
        record = gateway.trail.from_now()
        argv = [need("scp", "openssh-client"), protocol, *gateway.ssh.options, "-i", str(scene.people.alice.key)]
        there = f"ops_bare@{HOST}:/cut"
        for words in ([str(stage.directory / "large"), f"{there}/new"], [f"{there}/there", str(stage.directory / "back")]):
            ended = await gateway.ssh.run_program([*argv, *words], stdin=None)
            assert ended.status == 1, ended
            assert b"the gateway's spool is full" in ended.stderr, ended
        stories = await record.sessions(2)
        assert [story.end["event"] for story in stories] == ["session.ended"] * 2
        told = [event["complete"] for story in stories for event in story.events if event["event"].startswith("file.")]
        assert told[0] is False
        assert True not in told
        assert list(small_disk.iterdir()) == []
        assert Stage(scene, gateway, stage.proxy, stage.directory).spooled() == []
    assert stage.files("ops_bare") - before == set()


async def ended_badly(record: Chapter, way: str) -> None:
    """Hold the one session to its one end, and its file to what is said of it."""
    story = await record.session()
    assert story.end["event"] == "session.failed", story.names
    told = [event for event in story.events if event["event"] == ("file.uploaded" if way == "up" else "file.downloaded")]
    assert [event["complete"] for event in told] in ([], [False])
