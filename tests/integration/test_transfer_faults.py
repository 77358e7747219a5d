"""Transfers cut in the middle, by the client, the operator, the rule, the trail or the disk: no half file, and one terminal event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest

from octopus.core.errors import AuditUnavailable, ContainerUnavailable
from octopus.core.types import Obligations
from tests.parts.disk import no_room_beyond
from tests.parts.gateway import GatewayPart, gateway_part
from tests.parts.tools import need


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[GatewayPart]:
    """A gateway for one test."""
    async with gateway_part(tmp_path) as part:
        yield part


def copying(part: GatewayPart, *words: str) -> list[str]:
    """Return a command line of OpenSSH's scp, slow enough to be met in the middle."""
    return [need("scp", "openssh-client"), "-l", "20000", *part.ssh.options, "-i", str(part.key), *words]


async def written(part: GatewayPart, where: Path) -> None:
    """Wait until a file of some size is being written there."""
    async with asyncio.timeout(30):
        while not any(path.stat().st_size > 100_000 for path in where.glob("*")):  # noqa: ASYNC110 (files have no events)
            await asyncio.sleep(0)


@contextmanager
def big(path: Path) -> Iterator[Path]:
    """Make a file of 64 MiB that takes no room."""
    with path.open("wb") as file:
        file.truncate(64 << 20)
    yield path


@pytest.mark.parametrize("protocol", ["-s", "-O"])
@pytest.mark.parametrize("cut", ["kill", "operator"])
async def test_upload_cut_in_the_middle(part: GatewayPart, protocol: str, cut: str) -> None:
    """Nothing is left in the container, the trail says how much passed, and the session has its one end."""
    with big(part.directory / "local") as local:
        process = await asyncio.create_subprocess_exec(
            *copying(part, protocol, str(local), "t@127.0.0.1:far"), env=part.ssh.environment(), stderr=asyncio.subprocess.PIPE
        )
        await written(part, part.home)
        assert not (part.home / "far").exists()
        [live] = part.gateway.sessions()
        if cut == "kill":
            process.kill()
        else:
            await part.gateway.kill(live.session, "maintenance")
        _, stderr = await process.communicate()
    [end] = await part.plane.ended()
    assert end.event == "session.failed"
    assert list(part.home.iterdir()) == []
    [uploaded] = part.plane.of("file.uploaded")
    assert (uploaded.data["complete"], uploaded.data["reason"]) == (False, "cut off")
    assert 100_000 < uploaded.data["size"] < 64 << 20
    assert cut == "kill" or b"octopus: this session was ended: maintenance" in stderr
    assert part.gateway.sessions() == ()


@pytest.mark.parametrize("protocol", ["-s", "-O"])
async def test_download_cut_in_the_middle(part: GatewayPart, protocol: str) -> None:
    """The trail says how much of the file passed, and the session has its one end."""
    with big(part.home / "far"):
        (part.directory / "to").mkdir()
        process = await asyncio.create_subprocess_exec(
            *copying(part, protocol, "t@127.0.0.1:far", str(part.directory / "to" / "near")), env=part.ssh.environment()
        )
        await written(part, part.directory / "to")
        while part.gateway.moved < 4_000_000:  # noqa: ASYNC110 (its ssh holds as much as it takes)
            await asyncio.sleep(0)
        process.kill()
        await process.wait()
        [end] = await part.plane.ended()
    assert end.event == "session.failed"
    [downloaded] = part.plane.of("file.downloaded")
    assert not downloaded.data["complete"]
    assert 0 < downloaded.data["size"] < 64 << 20


async def test_idle_transfer_is_closed_with_a_word(part: GatewayPart) -> None:
    """A rule's idle timeout ends an SFTP session nobody uses."""
    part.plane.obligations = Obligations(idle_timeout=0.5)
    argv = [need("sftp", "openssh-client"), *part.ssh.options, "-i", str(part.key), "t@127.0.0.1"]
    process = await asyncio.create_subprocess_exec(
        *argv, env=part.ssh.environment(), stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert process.stderr
    said = b""
    async with asyncio.timeout(30):
        while b"octopus: idle for 0.5s, closed" not in said:
            said += await process.stderr.read(1000)
    process.kill()
    await process.communicate()
    [end] = await part.plane.ended()
    assert (end.event, end.data["reason"]) == ("session.failed", "idle")


@pytest.mark.parametrize("protocol", ["-s", "-O"])
async def test_upload_that_cannot_be_recorded_is_no_success(part: GatewayPart, protocol: str) -> None:
    """The client is told of a failure, and the session ends."""
    (part.directory / "local").write_text("content")
    part.plane.failing["file.uploaded"] = AuditUnavailable("disk full")
    ended = await part.ssh.run_program(copying(part, protocol, str(part.directory / "local"), "t@127.0.0.1:far"), stdin=None)
    assert ended.status != 0
    assert b"octopus: the audit trail cannot be written [s-" in ended.stderr
    [end] = await part.plane.ended()
    assert end.event == "session.failed"


async def test_files_that_cannot_be_reached(part: GatewayPart) -> None:
    """An engine that is away is one line and 69, as for commands."""
    part.backend.local.failure = ContainerUnavailable("agent-1: connect: refused")
    ended = await part.ssh.run_program(copying(part, "-O", "t@127.0.0.1:a", str(part.directory / "b")), stdin=None)
    assert ended.status != 0
    assert b"octopus: the container is unavailable [s-" in ended.stderr
    [end] = await part.plane.ended()
    assert (end.event, end.data["reason"]) == ("session.failed", "agent-1: connect: refused")


@pytest.mark.parametrize("protocol", ["-s", "-O"])
async def test_full_disk_fails_the_one_file(part: GatewayPart, protocol: str) -> None:
    """A file that does not fit is told and leaves nothing; those that fit arrive."""
    (part.directory / "small").write_bytes(b"1" * 1000)
    (part.directory / "large").write_bytes(b"1" * 30_000_000)
    with no_room_beyond(10_000_000):
        argv = copying(part, protocol, str(part.directory / "large"), str(part.directory / "small"), f"t@127.0.0.1:{part.home}")
        ended = await part.ssh.run_program([argv[0], *argv[3:]], stdin=None)
    assert ended.status == 1
    assert [path.name for path in part.home.iterdir()] == ["small"]
    assert [event.data["complete"] for event in part.plane.of("file.uploaded")] == [False, True]


async def test_client_that_does_not_read_holds_up_nobody(part: GatewayPart) -> None:
    """Requests for more than a client takes are not answered ahead; it can be ended, and leaves nothing."""
    with big(part.home / "far"):
        async with (
            asyncssh.connect(
                "127.0.0.1", part.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None
            ) as connection,
            connection.start_sftp_client() as client,
        ):
            file = await client.open("far", "rb")
            reading = [asyncio.create_task(file.read(200_000, number * 200_000)) for number in range(300)]
            await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            client._handler._writer.channel.pause_reading()  # type: ignore[union-attr]
            [live] = part.gateway.sessions()
            moved = -1
            while moved != part.gateway.moved:
                moved = part.gateway.moved
                for _ in range(1000):
                    await asyncio.sleep(0)
            assert moved < 40_000_000
            await part.gateway.kill(live.session, "stuck")
            [end] = await part.plane.ended()
            assert end.data["reason"] == "ended: stuck"
            connection.abort()
            await asyncio.wait(reading)
            for task in reading:
                task.exception()
