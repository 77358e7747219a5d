"""What makes the files of containers hard: rights, races, full disks, engines that vanish, and what must not be left behind."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from octopus.core.errors import ContainerUnavailable
from octopus.core.files import AttributeChanges, FileDenied, FileFailure, FileUnsupported, NoSpace, PathChanged, WriteMode
from octopus.core.ports import ContainerFiles, FileWriter
from octopus.core.types import EngineAddress
from octopus.demo.images import SHELLLESS, archive, plain
from octopus.engine.backend import DockerBackend
from octopus.engine.limits import EngineLimits, FileLimits
from tests.files_contract import attributes, download, names, symlink, upload
from tests.integration.test_container_files import HOST, target_of, token
from tests.parts.engines import Engine
from tests.parts.proxy import in_front_of

MIB = 1024 * 1024


@pytest.fixture
def container(docker_engine: Engine) -> Iterator[str]:
    """A container with a shell."""
    with docker_engine.container(host_config=HOST) as container:
        yield container


@pytest.fixture
def bare(docker_engine: Engine) -> Iterator[str]:
    """A container without one."""
    with docker_engine.container(image=SHELLLESS, host_config=HOST) as container:
        yield container


@pytest.fixture
async def backend() -> AsyncIterator[DockerBackend]:
    """A backend with its default limits."""
    async with DockerBackend() as backend:
        yield backend


@pytest.fixture
async def files(backend: DockerBackend, docker_engine: Engine, container: str) -> AsyncIterator[ContainerFiles]:
    """The files as the image's ``app``."""
    async with backend.files(target_of(container, docker_engine.address), "app", token()) as files:
        yield files


async def fill(writer: FileWriter, size: int) -> None:
    """Write zeros, a MiB at a time, and close."""
    for at in range(0, size, MIB):
        await writer.write(at, bytes(MIB))
    await writer.close()


def sh(engine: Engine, container: str, command: str) -> bytes:
    """Run a command in the container as root."""
    status, output = engine.run(container, "/bin/sh", "-c", command)
    assert status == 0, output
    return output


async def test_the_kernel_decides_what_the_user_may(files: ContainerFiles, docker_engine: Engine, container: str) -> None:
    """What is root's cannot be read, written, replaced, changed or entered; what one makes is one's own."""
    sh(docker_engine, container, "echo s > /tmp/secret; chmod 600 /tmp/secret; mkdir -m 700 /tmp/closed; echo x > /etc/x")
    secret, closed, plain = [await files.resolve(path) for path in (b"/tmp/secret", b"/tmp/closed", b"/etc/x")]
    with pytest.raises(FileDenied):
        await files.open_read(secret)
    for place in (secret, plain, await files.resolve(b"/etc/new")):
        with pytest.raises(FileDenied):
            await files.open_write(place, WriteMode())
    for work in (
        files.remove(secret),
        files.rename(plain, await files.resolve(b"/tmp/x"), replace=True),
        files.change(plain, AttributeChanges(mode=0o777)),
        files.change(plain, AttributeChanges(size=0)),
        files.make_directory(await files.resolve(b"/etc/d")),
        files.resolve(b"/tmp/closed/f"),
        anext(aiter(files.entries(closed))),
    ):
        with pytest.raises(FileDenied):
            await work
    await upload(files, b"/tmp/mine", b"m", WriteMode(mode=0o640))
    found = await attributes(files, b"/tmp/mine")
    assert (found.uid, found.gid, found.mode) == (1000, 1000, 0o100640)
    assert sh(docker_engine, container, "cat /etc/x /tmp/secret; ls /etc/.octopus* /tmp/.octopus* 2>/dev/null; true") == b"x\ns\n"


async def test_without_a_shell_owner_and_mode_decide(backend: DockerBackend, docker_engine: Engine, bare: str) -> None:
    """The archive API acts as root; the user of the rule may do less."""
    target = target_of(bare, docker_engine.address)
    async with backend.files(target, "", token()) as root:
        await upload(root, b"/secret", b"s", WriteMode(mode=0o600))
        await root.make_directory(await root.resolve(b"/home"))
        await root.change(await root.resolve(b"/home"), AttributeChanges(uid=1000, gid=1000, mode=0o755))
    async with backend.files(target, "1000:1000", token()) as files:
        for place in (await files.resolve(b"/secret"), await files.resolve(b"/new")):
            with pytest.raises(FileDenied):
                await files.open_write(place, WriteMode())
        with pytest.raises(FileDenied):
            await files.open_read(await files.resolve(b"/secret"))
        with pytest.raises(FileDenied):
            await files.remove(await files.resolve(b"/secret"))
        await upload(files, b"/home/mine", b"m")
        found = await attributes(files, b"/home/mine")
        assert (found.uid, found.gid) == (1000, 1000)


async def test_where_the_archive_api_is_blind(backend: DockerBackend, docker_engine: Engine, container: str, bare: str) -> None:
    """A memory file system and /proc: with a shell as any other, without one a clear word."""
    async with backend.files(target_of(container, docker_engine.address), "", token()) as files:
        await upload(files, b"/small/f", b"f")
        assert (await download(files, b"/small/f"))[0] == b"f"
        content, passed = await download(files, b"/proc/version")
        assert (content[:6], passed.complete) == (b"Linux ", True)
    async with backend.files(target_of(bare, docker_engine.address), "", token()) as files:
        for path in (b"/small/f", b"/proc/version"):
            with pytest.raises(FileUnsupported, match="without a shell"):
                await files.resolve(path)


async def test_a_link_swapped_in_is_not_followed(files: ContainerFiles, docker_engine: Engine, container: str) -> None:
    """Between deciding and doing, the directory and the file are made to lead elsewhere: nothing is done there."""
    sh(docker_engine, container, "cd /tmp; mkdir -m 777 open shut; echo no > shut/f; echo yes > open/f; chmod 666 */f")
    inside, new = await files.resolve(b"/tmp/open/f"), await files.resolve(b"/tmp/open/new")
    sh(docker_engine, container, "cd /tmp; mv open was; ln -s shut open")
    for work in (
        files.open_read(inside),
        files.open_write(inside, WriteMode()),
        upload(files, b"", b"new", place=new),
        files.remove(inside),
        files.rename(inside, new, replace=True),
        files.change(inside, AttributeChanges(mode=0o600)),
        files.make_directory(new),
        files.symlink(b"x", new),
    ):
        with pytest.raises(PathChanged):
            await work
    sh(docker_engine, container, "cd /tmp; rm open; mv was open; rm open/f; ln -s ../shut/f open/f")
    for work in (
        files.open_read(inside),
        files.open_write(inside, WriteMode(truncate=False)),
        files.change(inside, AttributeChanges(mode=0o600)),
    ):
        with pytest.raises(PathChanged):
            await work
    assert sh(docker_engine, container, "cd /tmp/shut; ls -a; cat f; stat -c %a f") == b".\n..\nf\nno\n666\n"


async def test_a_full_disk_leaves_the_old_file(files: ContainerFiles, docker_engine: Engine, container: str) -> None:
    """NoSpace from the write or the close, nothing beside it, and the file that was to be replaced as it was."""
    await upload(files, b"/small/f", b"old")
    with pytest.raises(NoSpace):
        await upload(files, b"/small/f", os.urandom(3 * MIB))
    assert await names(files, b"/small") == [b"f"]
    assert (await download(files, b"/small/f"))[0] == b"old"
    writer = await files.open_write(await files.resolve(b"/small/g"), WriteMode())
    with pytest.raises(NoSpace):
        await fill(writer, 8 * MIB)
    await writer.abort()
    assert sh(docker_engine, container, "ls -A /small") == b"f\n"


async def test_a_full_spool_is_told(docker_engine: Engine, bare: str, tmp_path: Path) -> None:
    """Without a shell files need room here: beyond it they fail, and leave nothing, here or there."""
    limits = FileLimits(spool=MIB, spool_directory=str(tmp_path))
    async with DockerBackend(file_limits=limits) as backend, backend.files(target_of(bare, docker_engine.address), "", token()) as files:
        with pytest.raises(NoSpace, match=str(MIB)):
            await upload(files, b"/f", bytes(MIB + 1))
        assert ((await files.resolve(b"/f")).attributes, list(tmp_path.iterdir())) == (None, [])
        with docker_engine.api() as api, closing(api):
            api.put_archive(bare, "/", archive([plain("f", bytes(2 * MIB))]))
        with pytest.raises(NoSpace, match=str(MIB)):
            await download(files, b"/f")
        assert list(tmp_path.iterdir()) == []


async def test_a_slow_reader_holds_up_nobody(backend: DockerBackend, docker_engine: Engine, bare: str) -> None:
    """An engine locks a container as long as it sends an archive of it: it is not kept at that while a client reads."""
    target = target_of(bare, docker_engine.address)
    async with backend.files(target, "", token()) as files, backend.files(target, "", token()) as others:
        await fill(await files.open_write(await files.resolve(b"/slow"), WriteMode()), 64 << 20)
        reader = await files.open_read(await files.resolve(b"/slow"))
        assert await reader.read(0, 32_768) == bytes(32_768)
        for one in (files, others):
            assert b"slow" in await names(one, b"/")
        assert await reader.read((64 << 20) - 1, 32_768) == b"\0"
        await reader.close()


async def test_a_file_that_changes_while_it_is_read(files: ContainerFiles, docker_engine: Engine, container: str) -> None:
    """It ends where it ends by then; one put in its place is not mistaken for it."""
    sh(docker_engine, container, "head -c 1000000 /dev/zero > /tmp/f")
    reader = await files.open_read(await files.resolve(b"/tmp/f"))
    assert len(await reader.read(0, 1000)) == 1000
    sh(docker_engine, container, "head -c 5000000 /dev/zero >> /tmp/f")
    assert (len(await reader.read(5_999_990, 100)), (await reader.stat()).size) == (10, 6_000_000)
    sh(docker_engine, container, "head -c 500 /dev/zero > /tmp/f")
    assert await reader.read(3_000_000, 10) == b""
    sh(docker_engine, container, "cd /tmp; mv f g; head -c 6000000 /dev/zero > f")
    with pytest.raises(PathChanged):
        await reader.read(4_000_000, 10)
    await reader.close()


async def test_devices_and_pipes_are_not_opened(files: ContainerFiles, docker_engine: Engine, container: str) -> None:
    """Opening a pipe would wait for ever."""
    sh(docker_engine, container, "mkfifo -m 666 /tmp/p")
    for path in (b"/tmp/p", b"/dev/null"):
        with pytest.raises(FileFailure, match="regular"):
            await files.open_read(await files.resolve(path))
        with pytest.raises(FileFailure, match="regular"):
            await files.open_write(await files.resolve(path), WriteMode())


async def test_holes_cost_nothing(files: ContainerFiles) -> None:
    """A byte 5 GiB into a file of nothing, and back."""
    writer = await files.open_write(await files.resolve(b"/tmp/sparse"), WriteMode())
    await writer.write(5 * 1024 * MIB, b"x")
    await writer.close()
    reader = await files.open_read(await files.resolve(b"/tmp/sparse"))
    assert (reader.size, await reader.read(5 * 1024 * MIB - 1, 5)) == (5 * 1024 * MIB + 1, b"\0x")
    await reader.close()


async def test_a_large_directory_is_listed_by_one_command(files: ContainerFiles, docker_engine: Engine, container: str) -> None:
    """20,000 names with their attributes."""
    sh(docker_engine, container, "mkdir /tmp/many; cd /tmp/many; seq 20000 | xargs touch")
    assert len(await names(files, b"/tmp/many")) == 20_000


async def test_memory_stays_flat(files: ContainerFiles) -> None:
    """96 MiB up and down within a few blocks."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    writer = await files.open_write(await files.resolve(b"/tmp/large"), WriteMode())
    piece = os.urandom(32 * 1024)
    for at in range(0, 96 * MIB, len(piece)):
        await writer.write(at, piece)
    sent = await writer.close()
    reader = await files.open_read(await files.resolve(b"/tmp/large"))
    at = 0
    while data := await reader.read(at, len(piece)):
        at += len(data)
    received = await reader.close()
    assert received == sent
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024


async def test_parallel_requests_do_not_mix(files: ContainerFiles) -> None:
    """Many files at once, each piece of each its own task."""
    contents = {b"/tmp/par%d" % number: os.urandom(300_000 + number) for number in range(8)}

    async def both_ways(path: bytes, data: bytes) -> None:
        writer = await files.open_write(await files.resolve(path), WriteMode())
        await asyncio.gather(*(writer.write(at, data[at : at + 32768]) for at in range(0, len(data), 32768)))
        await writer.close()
        reader = await files.open_read(await files.resolve(path))
        pieces = await asyncio.gather(*(reader.read(at, 32768) for at in range(0, len(data), 32768)))
        assert b"".join(pieces) == data
        await reader.close()

    await asyncio.gather(*(both_ways(path, data) for path, data in contents.items()))


@pytest.mark.parametrize("size", [2 * MIB, 40 * MIB])
@pytest.mark.parametrize("ending", ["leave", "cancel", "cut"])
async def test_nothing_is_left_of_an_upload_that_is_broken_off(docker_engine: Engine, container: str, ending: str, size: int) -> None:
    """No file under any name and no process, whether the session is left, cancelled, or its engine vanishes."""
    before = docker_engine.processes(container)
    begun = asyncio.Event()
    limits = EngineLimits(call=3, reap=3)
    async with in_front_of(docker_engine.address.url).serve() as proxy, DockerBackend(limits) as backend:
        address = EngineAddress(url=f"http://127.0.0.1:{proxy.port}")

        async def session() -> None:
            async with backend.files(target_of(container, address), "app", token()) as files:
                writer = await files.open_write(await files.resolve(b"/tmp/f"), WriteMode())
                for at in range(0, size, MIB // 4):
                    await writer.write(at, bytes(MIB // 4))
                assert (await writer.stat()).size == size
                begun.set()
                if ending != "leave":
                    await asyncio.Event().wait()

        task = asyncio.create_task(session())
        await begun.wait()
        if ending == "cut":
            proxy.cut()
        if ending != "leave":
            task.cancel()
        await asyncio.wait({task})
    assert await asyncio.to_thread(settled, docker_engine, container, before) == b""


def settled(engine: Engine, container: str, processes: list[str]) -> bytes:
    """Wait until no process of a session is left; return what lies in /tmp."""
    while [line for line in engine.processes(container) if "defunct" not in line] != processes:
        pass
    return sh(engine, container, "ls -A /tmp")


async def test_nothing_runs_on_of_a_download_that_is_broken_off(docker_engine: Engine, container: str, backend: DockerBackend) -> None:
    """Its helper ends soon though nobody reads what it still sends, while the session goes on."""
    sh(docker_engine, container, "dd if=/dev/zero of=/tmp/f bs=1M count=0 seek=1024 2>/dev/null")
    async with backend.files(target_of(container, docker_engine.address), "", token()) as files:
        before = docker_engine.processes(container)
        reader = await files.open_read(await files.resolve(b"/tmp/f"))
        for at in range(0, 48 * MIB, MIB // 4):
            assert await reader.read(at, MIB // 4) == bytes(MIB // 4)
        await reader.close()
        assert await asyncio.to_thread(settled, docker_engine, container, before) == b"f\n"


async def test_an_engine_that_vanishes_is_told(docker_engine: Engine, container: str) -> None:
    """Every call after the cut, and the one under way, fail as the engine's."""
    limits = EngineLimits(call=3, reap=3)
    async with in_front_of(docker_engine.address.url).serve() as proxy, DockerBackend(limits) as backend:
        target = target_of(container, EngineAddress(url=f"http://127.0.0.1:{proxy.port}"))
        async with backend.files(target, "", token()) as files:
            writer = await files.open_write(await files.resolve(b"/tmp/f"), WriteMode())
            proxy.cut()
            with pytest.raises(ContainerUnavailable):
                await fill(writer, 16 * MIB)
            assert not (await writer.abort()).complete


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("size", [MIB, 40 * MIB])
async def test_an_engine_that_falls_silent_is_told(docker_engine: Engine, container: str, way: str, size: int) -> None:
    """In the middle of a file, small or large, an engine that only holds its connections open fails within a call's time."""
    sh(docker_engine, container, "dd if=/dev/zero of=/tmp/f bs=1M count=0 seek=400 2>/dev/null")
    backend = DockerBackend(EngineLimits(call=3, reap=3), file_limits=FileLimits(call=3, leave=1))
    async with in_front_of(docker_engine.address.url).serve() as proxy, backend:
        target = target_of(container, EngineAddress(url=f"http://127.0.0.1:{proxy.port}"))
        async with backend.files(target, "", token()) as files:
            writer = await files.open_write(await files.resolve(b"/tmp/g"), WriteMode())
            reader = await files.open_read(await files.resolve(b"/tmp/f"))

            async def move(begin: int, end: int) -> None:
                for at in range(begin, end, MIB // 4):
                    await (reader.read(at, MIB // 4) if way == "down" else writer.write(at, bytes(MIB // 4)))

            await move(0, size)
            proxy.freeze()
            with pytest.raises(ContainerUnavailable):
                await move(size, 400 * MIB)
            proxy.thaw()


@pytest.mark.parametrize("image", ["shell", "bare"])
async def test_over_tls(two_tls_engines: tuple[Engine, Engine], image: str) -> None:
    """Both ways to the files work over a TLS engine as they do over a socket."""
    engine, _ = two_tls_engines
    options = {"image": SHELLLESS} if image == "bare" else {}
    with engine.container(host_config=HOST, **options) as made:
        async with DockerBackend() as backend, backend.files(target_of(made, engine.address), "", token()) as files:
            data = os.urandom(5 * MIB + 1)
            assert (await upload(files, b"/t\xff", data)).complete
            assert (await download(files, b"/t\xff"))[0] == data
            await symlink(files, b"t\xff", b"/l")
            await files.rename(await files.resolve(b"/l"), await files.resolve(b"/new"), replace=True)
            assert (await attributes(files, b"/new")).size == len(data)
        await asyncio.sleep(0)  # the last connection closes in the loop's next turn, and removing the container holds up the loop


async def test_a_file_given_away_is_theirs_at_once(backend: DockerBackend, docker_engine: Engine, bare: str) -> None:
    """What is remembered of owners does not outlive what the session itself changed."""
    async with backend.files(target_of(bare, docker_engine.address), "", token()) as files:
        path = b"/given"
        await upload(files, path, b"a")
        before = await files.resolve(path)
        await files.change(before, AttributeChanges(uid=1234, gid=5678))
        after = await attributes(files, path)
        assert (after.uid, after.gid) == (1234, 5678)
