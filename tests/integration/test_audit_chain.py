"""The audit trail over files, checkpoints and crashes: always a chain that verifies, to us and to a stranger."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus.control.audit_file import finished_files
from octopus.control.audit_log import FileAuditLog
from octopus.control.audit_signing import PublicKeys, Signer, name_of, read_public
from octopus.control.audit_verify import verify
from octopus.core.errors import AuditUnavailable, ConfigError
from octopus.core.proof import Kind
from octopus.core.types import AuditEvent
from tests.stranger import prove
from tests.streams import until

NOON = 1_700_000_000.0
DAY = 86_400.0


class Clock:
    """Tells the time it was set to."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        """Return it."""
        return self.now


def event(number: int, name: str = "session.requested", **data: Any) -> AuditEvent:
    """Return an event of a session."""
    return AuditEvent(event=name, key=f"s-{number}/{name}", session=f"s-{number}", login="alice", data={"worker": "w-1", **data})


def lines(*paths: Path) -> list[dict[str, Any]]:
    """Return what is on these files."""
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def checkpoints(directory: Path) -> list[str]:
    """Return why there are checkpoints, in all files."""
    every = lines(*finished_files(directory), directory / "audit.jsonl")
    return [line["reason"] for line in every if line["event"] == "audit.checkpoint"]


@pytest.fixture
def clock() -> Clock:
    """Noon, until it is set."""
    return Clock()


@pytest.fixture
def signing_key(tmp_path: Path) -> Path:
    """A new key, as OpenSSL writes it."""
    path = tmp_path / "signing.key"
    path.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


async def test_files_are_finished_by_size_and_the_chain_goes_on(tmp_path: Path, clock: Clock) -> None:
    """Each has its first line's time and number for a name, and ends with a checkpoint."""
    async with FileAuditLog(tmp_path, clock=clock, rotate_size=2000) as log:
        for number in range(30):
            await log.append(event(number, "exec"))
    finished = finished_files(tmp_path)
    assert len(finished) > 3
    assert [path.name for path in finished] == [f"audit-20231114-221320-{lines(path)[0]['seq']:012}.jsonl" for path in finished]
    assert {lines(path)[-1]["reason"] for path in finished} == {"rotation"}
    assert all(path.stat().st_size < 3000 for path in finished)
    verdict = verify(tmp_path)
    assert (verdict.faults, verdict.notes) == ((), ())
    assert prove(tmp_path) == verdict.lines


async def test_a_file_is_finished_with_its_day(tmp_path: Path, clock: Clock) -> None:
    """With the first event of the next one."""
    async with FileAuditLog(tmp_path, clock=clock) as log:
        await log.append(event(1))
        clock.now += DAY
        await log.append(event(2))
        await log.append(event(3))
        [finished] = finished_files(tmp_path)
        assert [line["event"] for line in lines(finished)] == ["audit.checkpoint", "session.requested", "audit.checkpoint"]
        assert [line["event"] for line in lines(log_file(tmp_path))] == ["audit.carried", "session.requested", "session.requested"]
    assert verify(tmp_path).faults == ()


async def test_days_do_not_matter_where_they_are_not_asked_for(tmp_path: Path, clock: Clock) -> None:
    """One file goes on."""
    async with FileAuditLog(tmp_path, clock=clock, rotate_daily=False) as log:
        clock.now += DAY
        await log.append(event(1))
    assert finished_files(tmp_path) == []


def log_file(directory: Path) -> Path:
    """Return the current file."""
    return directory / "audit.jsonl"


async def test_a_start_reads_two_files(tmp_path: Path, clock: Clock) -> None:
    """What was open before stands at the head of each file, however much it is; older files need not even be there."""
    async with FileAuditLog(tmp_path, clock=clock) as log:
        await asyncio.gather(*(log.append(event(number)) for number in range(250)))
        await asyncio.gather(*(log.append(event(number, "session.ended")) for number in range(100, 105)))
        for number in range(3):
            clock.now += DAY
            await log.append(event(number, "session.ended"))
    expected = {f"s-{number}" for number in range(3, 250)} - {f"s-{number}" for number in range(100, 105)}
    first, second, last = finished_files(tmp_path)
    assert [len(line["open"]) for line in lines(last) if line["event"] == "audit.carried"] == [100, 100, 44]
    for older in (first, second):
        older.rename(tmp_path / "moved")
    async with FileAuditLog(tmp_path, clock=clock) as log:
        assert {one.session for one in log.open_sessions()} == expected
        assert log.holds("s-1/end")
        assert not log.holds("s-0/end")


async def test_checkpoints_stand_where_they_should(tmp_path: Path, clock: Clock) -> None:
    """At the start, after so many lines, at the end of a file, at the end."""
    async with FileAuditLog(tmp_path, clock=clock, checkpoint_lines=3) as log:
        for number in range(4):
            await log.append(event(number))
        clock.now += DAY
        await log.append(event(5))
    assert checkpoints(tmp_path) == ["start", "lines", "rotation", "stop"]


async def test_a_checkpoint_stands_after_a_while(tmp_path: Path, clock: Clock) -> None:
    """But only when there is something new."""
    async with FileAuditLog(tmp_path, clock=clock, checkpoint_interval=0.01) as log:
        await log.append(event(1))
        await until(lambda: checkpoints(tmp_path) == ["start", "interval"])
        await log.append(event(2))
        await until(lambda: checkpoints(tmp_path) == ["start", "interval", "interval"])
        await until(lambda: (tmp_path / "audit.head").read_bytes() in log_file(tmp_path).read_bytes().splitlines(keepends=True)[-1:])
    assert checkpoints(tmp_path) == ["start", "interval", "interval", "stop"]


async def test_checkpoints_are_signed(tmp_path: Path, clock: Clock, signing_key: Path) -> None:
    """By the key that is given; its public half proves it, another does not."""
    signer = Signer(signing_key)
    directory = tmp_path / "audit"
    async with FileAuditLog(directory, clock=clock, signer=signer) as log:
        await log.append(event(1))
    verdict = verify(directory, check=PublicKeys([signer.public]).check)
    assert (verdict.faults, verdict.checkpoints, verdict.signed) == ((), 2, 2)
    assert prove(directory, signer.public) == verdict.lines
    stranger = ed25519.Ed25519PrivateKey.generate().public_key()
    assert {fault.kind for fault in verify(directory, check=PublicKeys([stranger]).check).faults} == {Kind.SIGNATURE}
    with pytest.raises(InvalidSignature):
        prove(directory, stranger)


async def test_a_trail_signed_no_more_is_a_fault(tmp_path: Path, clock: Clock, signing_key: Path) -> None:
    """Who cuts a trail and writes it on has no key."""
    signer = Signer(signing_key)
    directory = tmp_path / "audit"
    async with FileAuditLog(directory, clock=clock, signer=signer):
        pass
    async with FileAuditLog(directory, clock=clock):
        pass
    assert {fault.kind for fault in verify(directory, check=PublicKeys([signer.public]).check).faults} == {Kind.SIGNATURE}
    assert verify(directory).faults == ()


def test_keys_are_those_of_openssl(tmp_path: Path, signing_key: Path) -> None:
    """A public key from its file has the name its private half signs by; any other file is refused without quoting it."""
    signer = Signer(signing_key)
    public = tmp_path / "public.pem"
    public.write_bytes(signer.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert name_of(read_public(public)) == signer.name
    other = rsa.generate_private_key(65537, 2048)
    wrong = tmp_path / "wrong"
    for content in (
        b"not a secret",
        other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        wrong.write_bytes(content)
        for read in (Signer, read_public):
            with pytest.raises(ConfigError, match=r"wrong: .*openssl") as refused:
                read(wrong)
            assert "secret" not in str(refused.value)
    with pytest.raises(ConfigError):
        read_public(tmp_path / "none")
    assert PublicKeys([signer.public]).check(signer.name, b"x", b"?") is False


async def test_a_directory_that_is_gone_refuses_until_it_is_back(tmp_path: Path, clock: Clock) -> None:
    """Nothing goes to a file that nobody would find; with the directory back the same log writes on."""
    directory, away = tmp_path / "audit", tmp_path / "away"
    async with FileAuditLog(directory, clock=clock) as log:
        await log.append(event(1))
        assert log.problem == ""
        directory.rename(away)
        with pytest.raises(AuditUnavailable, match=r"audit\.jsonl"):
            await log.append(event(2))
        assert "audit.jsonl" in log.problem
        away.rename(directory)
        await log.append(event(2))
        assert log.problem == ""
    assert verify(directory).faults == ()
    assert [line["session"] for line in lines(log_file(directory)) if line["session"]] == ["s-1", "s-2"]


async def test_a_disk_that_hangs_refuses_until_it_goes_on(tmp_path: Path, clock: Clock) -> None:
    """An event waits, then is refused, and why is known; what waited is written once, when the disk goes on."""
    pipe = tmp_path / "audit.head.new"
    async with FileAuditLog(tmp_path, clock=clock, checkpoint_lines=1, write_timeout=0.2) as log:
        os.mkfifo(pipe)  # without a reader whoever opens it to write hangs
        await log.append(event(1))
        with pytest.raises(AuditUnavailable, match="has taken nothing for"):
            await log.append(event(2))
        assert "has taken nothing" in log.problem
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        await until(lambda: not log.problem)
        pipe.unlink()
        await log.append(event(2))
        await log.append(event(3))
        os.close(reader)
    assert [line["session"] for line in lines(log_file(tmp_path)) if line["event"] != "audit.checkpoint"] == ["s-1", "s-2", "s-3"]
    assert verify(tmp_path).faults == ()


async def test_that_trouble_is_over_shows_by_itself(tmp_path: Path, clock: Clock) -> None:
    """Without anybody's event."""
    directory, away = tmp_path / "audit", tmp_path / "away"
    async with FileAuditLog(directory, clock=clock, checkpoint_interval=0.01) as log:
        directory.rename(away)
        with pytest.raises(AuditUnavailable):
            await log.append(event(1))
        away.rename(directory)
        await until(lambda: log.problem == "")
    assert verify(directory).faults == ()


@pytest.mark.parametrize("replace", ["nothing", "another", "shorter"])
async def test_another_file_is_not_written_on(tmp_path: Path, clock: Clock, replace: str) -> None:
    """Neither a new one, nor one of the same length, nor an older copy; the true one is, once it is back."""
    path = log_file(tmp_path)
    async with FileAuditLog(tmp_path, clock=clock) as log:
        await log.append(event(1))
        path.rename(tmp_path / "true")
        content = (tmp_path / "true").read_bytes()
        if replace != "nothing":
            path.write_bytes(content[:-100] if replace == "shorter" else content[::-1])
        with pytest.raises(AuditUnavailable):
            await log.append(event(2))
        (tmp_path / "true").rename(path)
        await log.append(event(2))
    assert verify(tmp_path).faults == ()


async def test_a_rotation_that_fails_is_made_up_for(tmp_path: Path, clock: Clock) -> None:
    """The event is refused, one checkpoint is written, and the next event finishes the file."""
    async with FileAuditLog(tmp_path, clock=clock) as log:
        await log.append(event(1))
        clock.now += DAY
        (tmp_path / "audit-20231114-221320-000000000001.jsonl").mkdir()
        for _ in range(2):
            with pytest.raises(AuditUnavailable, match="finish"):
                await log.append(event(2))
        (tmp_path / "audit-20231114-221320-000000000001.jsonl").rmdir()
        await log.append(event(2))
    assert checkpoints(tmp_path) == ["start", "rotation", "stop"]
    assert verify(tmp_path).faults == ()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trail of several files, by two runs."""
    directory = tmp_path_factory.mktemp("history")
    clock = Clock()

    async def write() -> None:
        for _ in range(2):
            async with FileAuditLog(directory, clock=clock, checkpoint_lines=4, rotate_size=2500) as log:
                for _ in range(8):
                    clock.now += 60
                    await log.append(event(int(clock.now), command="é" * 20))

    asyncio.run(write())
    return directory


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1), renamed=st.booleans(), lag=st.integers(0, 1))
def test_a_copy_at_any_byte_is_a_valid_state(history: Path, tmp_path: Path, at: float, renamed: bool, lag: int) -> None:
    """A start goes on from it. The last checkpoint may lag behind by one, and a file that is full may be renamed or not yet."""
    directory = tmp_path / "copy"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    written = _copy_until(history, directory, at, renamed)
    known = [line for line in written if b'"event":"audit.checkpoint"' in line][: -lag or None]
    if known:
        (directory / "audit.head").write_bytes(known[-1])
    crashed = verify(directory)
    assert crashed.faults == ()
    asyncio.run(_start(directory))
    repaired = verify(directory)
    assert repaired.faults == ()
    assert repaired.lines >= len(written) + 3
    torn = any("torn" in note for note in crashed.notes)
    assert torn == (sum("cut off at a start" in note for note in repaired.notes) > 0)
    assert prove(directory) == repaired.lines


def _copy_until(history: Path, directory: Path, at: float, renamed: bool) -> list[bytes]:
    """Copy the bytes of all files up to a place; return the whole lines among them."""
    paths = [*finished_files(history), history / "audit.jsonl"]
    left = round(at * sum(path.stat().st_size for path in paths))
    whole: list[bytes] = []
    for path in paths:
        content = path.read_bytes()[:left]
        full = len(content) == path.stat().st_size
        left -= len(content)
        whole += [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
        name = path.name if full and (left or renamed) else "audit.jsonl"
        (directory / name).write_bytes(content)
        if not left:
            break
    return whole


async def _start(directory: Path) -> None:
    async with FileAuditLog(directory, clock=Clock(), rotate_daily=False) as log:
        await log.append(event(1, "exec"))


async def _with_recordings(directory: Path) -> None:
    path = directory / "recordings" / "2026" / "a.cast"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    (directory / "recordings" / "b.cast").write_bytes(b"")
    (directory / "recordings" / "c.cast.part").write_bytes(b"")
    (directory / "recordings" / "d.1.copy.part").write_bytes(b"")
    (directory / "recordings" / "d.2.copy").write_bytes(b"abc")
    recording = {"path": "2026/a.cast", "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "size": 3}
    async with FileAuditLog(directory, clock=Clock()) as log:
        await log.append(event(1, "session.ended", recordings=[recording]))
        await log.append(event(2, "file.downloaded", recordings=[recording | {"path": "d.2.copy"}]))


async def test_recordings_are_proven(tmp_path: Path) -> None:
    """What is beside them is noted."""
    await _with_recordings(tmp_path)
    read: list[int] = []
    verdict = verify(tmp_path, progress=read.append)
    assert (verdict.faults, verdict.recordings) == ((), 2)
    assert verdict.notes == ("2 recordings are not complete yet (.part)", "1 recordings are not on the trail")
    assert sum(read) == log_file(tmp_path).stat().st_size + 6


@pytest.mark.parametrize(("name", "line"), [("2026/a.cast", 2), ("d.2.copy", 3)], ids=["terminal", "file"])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"abd"), lambda path: path.write_bytes(b"abcd")])
async def test_a_recording_missing_or_altered_is_a_fault(tmp_path: Path, harm: Callable[[Path], object], name: str, line: int) -> None:
    """At the line that speaks of it: a terminal's, and the copy of a file."""
    await _with_recordings(tmp_path)
    harm(tmp_path / "recordings" / name)
    [fault] = verify(tmp_path).faults
    assert (fault.kind, fault.file, fault.line) == (Kind.RECORDING, "audit.jsonl", line)
    assert name in fault.text


@pytest.mark.parametrize("path", ["/etc/passwd", "../audit.jsonl", "a\0b"])
async def test_a_recording_is_nowhere_else(tmp_path: Path, path: str) -> None:
    """A path that leads out is a fault, and not followed."""
    async with FileAuditLog(tmp_path, clock=Clock()) as log:
        await log.append(event(1, "session.ended", recordings=[{"path": path, "sha256": "", "size": 0}]))
    [fault] = verify(tmp_path).faults
    assert "no path below" in fault.text


def test_nothing_is_no_trail(tmp_path: Path) -> None:
    """Whoever takes all away leaves no whole trail behind, nor does a directory that is not the one meant; an empty file is a beginning."""
    (tmp_path / "recordings").mkdir()
    [fault] = verify(tmp_path).faults
    assert (fault.kind, fault.file, fault.text.partition(": ")[0]) == (Kind.MISSING, "audit.jsonl", f"there is no trail in {tmp_path}")
    (tmp_path / "audit.jsonl").touch()
    assert (verify(tmp_path).lines, verify(tmp_path).faults) == (0, ())
    [fault] = verify(tmp_path, check=lambda *signed: True).faults
    assert (fault.kind, fault.text) == (Kind.SIGNATURE, "no checkpoint is signed by a key that was given")
    with pytest.raises(AuditUnavailable, match="none"):
        verify(tmp_path / "none")


async def test_a_finished_file_ends_with_a_whole_line(tmp_path: Path, clock: Clock) -> None:
    """Only the current one may be torn."""
    async with FileAuditLog(tmp_path, clock=clock) as log:
        clock.now += DAY
        await log.append(event(1))
    [finished] = finished_files(tmp_path)
    with finished.open("ab") as file:
        file.write(b"{half")
    [fault] = verify(tmp_path).faults
    assert (fault.kind, fault.file, fault.line) == (Kind.ALTERED, finished.name, 2)
