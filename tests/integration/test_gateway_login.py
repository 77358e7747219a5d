"""Authentication by stock clients: who gets in, what they are asked, and that refusals tell nothing."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

from octopus.core.errors import ConfigError, DirectoryUnavailable
from octopus.core.types import Identity
from octopus.session.ssh_keys import Authorities
from tests.parts.directory import ssh_key
from tests.parts.gateway import GatewayPart, gateway_part
from tests.parts.ssh_client import Ended
from tests.parts.tools import need


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[GatewayPart]:
    """A gateway that trusts the authority ``ca`` for one test."""
    authority = ssh_key(tmp_path, "ca")
    async with gateway_part(tmp_path, trusted_user_ca_keys=f"{authority}.pub") as part:
        yield part


def sign(part: GatewayPart, *options: str, key: Path | None = None, authority: str = "ca") -> Path:
    """Certify a key (the stranger's) by ssh-keygen; return the private half beside which the certificate lies."""
    key = key or part.stranger
    command = ["ssh-keygen", "-q", "-s", str(part.directory / authority), "-I", "id", *options, f"{key}.pub"]
    subprocess.run(command, check=True, timeout=30, stdin=subprocess.DEVNULL)
    return key


async def verbose(part: GatewayPart, user: str, key: Path) -> Ended:
    """Run ``ssh -v`` with one key and no other method."""
    options = ["-v", "-o", "PreferredAuthentications=publickey"]
    command = [word.replace("LogLevel=ERROR", "LogLevel=DEBUG1") for word in part.ssh.command(user, "true", key=key, options=options)]
    return await part.ssh.run_program(command)


async def test_key_finds_its_owner(part: GatewayPart) -> None:
    """Without a login the person is found by the key; with one it must be theirs."""
    assert (await part.ssh.run("t", "true", key=part.key)).status == 0
    part.plane.tasks["alice+t"] = part.plane.tasks["bob+t"] = part.plane.tasks["t"]
    assert (await part.ssh.run("alice+t", "true", key=part.key)).status == 0
    assert (await part.ssh.run("bob+t", "true", key=part.key)).status == 255
    assert [attempt.login for attempt in part.plane.attempts if attempt.method == "publickey"] == ["", "alice", "bob"]


async def test_probing_tells_nothing_of_keys(part: GatewayPart) -> None:
    """ssh -v shows the same for a known and an unknown key: both are asked for a signature; only that decides."""
    known, unknown = await verbose(part, "t", part.key), await verbose(part, "t", part.stranger)
    assert (known.status, unknown.status) == (0, 255)
    accepted = re.compile(rb"Server accepts key: \S+ ED25519")
    assert accepted.search(known.stderr)
    assert accepted.search(unknown.stderr)
    assert b"Permission denied (publickey,keyboard-interactive)." in unknown.stderr


async def test_probes_never_reach_the_directory(part: GatewayPart) -> None:
    """A key that is only asked about, without a signature, is not looked up."""
    with paramiko.Transport(("127.0.0.1", part.port)) as transport:
        await asyncio.to_thread(transport.start_client, timeout=20)
        # paramiko signs at once; what it sends with another's key is a wrong signature
        with pytest.raises(paramiko.AuthenticationException):
            await asyncio.to_thread(transport.auth_publickey, "t", _Forged(filename=str(part.key)))
    assert part.plane.attempts == []


class _Forged(paramiko.Ed25519Key):  # type: ignore[misc]  # paramiko has no types
    """Alice's public key in the hands of somebody who cannot sign with it."""

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> paramiko.Message:
        """Sign something else."""
        return super().sign_ssh_data(b"something else", algorithm)


async def test_sha1_signatures_are_refused(part: GatewayPart) -> None:
    """An RSA key is good with SHA-2 and refused with SHA-1."""
    key = ssh_key(part.directory, "rsa", kind="rsa")
    part.plane.keys[asyncssh.read_public_key(key.with_suffix(".pub")).get_fingerprint()] = "alice"
    assert (await part.ssh.run("t", "true", key=key)).status == 0
    assert (await part.ssh.run("t", "true", key=key, options=["-o", "PubkeyAcceptedAlgorithms=ssh-rsa"])).status == 255


async def test_weak_keys_are_refused(part: GatewayPart) -> None:
    """An RSA key under 2048 bits is not even asked for a signature."""
    path = part.directory / "weak"
    asyncssh.generate_private_key("ssh-rsa", key_size=1024).write_private_key(path)
    path.chmod(0o600)
    ended = await verbose(part, "t", path)
    assert ended.status == 255
    assert b"Server accepts key" not in ended.stderr
    assert part.plane.attempts == []


async def test_login_and_password_are_asked_for(part: GatewayPart) -> None:
    """Without a login in front, keyboard-interactive asks for it and for the password."""
    ended = await part.ssh.run("t", "true", answers={"LDAP login: ": "alice", "Password: ": "wonderland"})
    assert ended.status == 0
    assert (part.plane.attempts[-1].method, part.plane.attempts[-1].login) == ("keyboard-interactive", "alice")


@pytest.mark.parametrize("method", ["keyboard-interactive", "password"])
async def test_password_alone_with_a_login_in_front(part: GatewayPart, method: str) -> None:
    """With a login in front only the password is asked for, by both methods."""
    part.plane.tasks["alice+t"] = part.plane.tasks["t"]
    options = ["-o", f"PreferredAuthentications={method}"]
    ended = await part.ssh.run("alice+t", "true", answers={"assword: ": "wonderland"}, options=options)
    assert ended.status == 0
    assert (part.plane.attempts[-1].method, part.plane.attempts[-1].login) == (method, "alice")


async def test_password_method_is_not_offered_without_a_login(part: GatewayPart) -> None:
    """Nobody is asked for a password where no login can be said."""
    ended = await part.ssh.run("t", "true", answers={}, options=["-o", "PreferredAuthentications=password"])
    assert ended.stderr.endswith(b"Permission denied (publickey,keyboard-interactive).\r\n")
    ended = await part.ssh.run("bob+t", "true", answers={}, options=["-o", "PreferredAuthentications=none"])
    assert ended.stderr.endswith(b"Permission denied (publickey,keyboard-interactive,password).\r\n")
    assert part.plane.attempts == []


async def test_refusals_are_alike(part: GatewayPart) -> None:
    """Wrong password, unknown login, unknown target and an unreadable name give the same words before authentication."""
    said = {
        (await part.ssh.run(name, "true", answers={"login: ": login, "assword: ": "wrong"})).stderr.partition(b"@")[2]
        for name, login in (("t", "alice"), ("t", "nobody"), ("nowhere", "alice"), ("..%/", "alice"))
    }
    assert len(said) == 1


async def test_unreadable_name_is_told_after_authentication(part: GatewayPart) -> None:
    """A name nobody can read is refused in words, to people who are known."""
    part.plane.refusals["..%"] = ConfigError(["unreadable"])
    ended = await part.ssh.run("..%", "true", key=part.key)
    assert ended.status == 78


async def test_attempts_are_limited(part: GatewayPart) -> None:
    """After six passwords on one connection it is closed."""
    part.plane.tasks["alice+t"] = part.plane.tasks["t"]
    options = ["-o", "NumberOfPasswordPrompts=20", "-o", "PreferredAuthentications=password"]
    command = part.ssh.command("alice+t", "true", options=options)
    command = [word.replace("NumberOfPasswordPrompts=1", "NumberOfPasswordPrompts=20") for word in command]
    ended = await part.ssh.run_program(command, answers={"assword: ": "wrong"})
    assert len(part.plane.attempts) == 6
    assert b"too many authentication failures" in ended.stderr


async def test_directory_outage_is_told_to_everybody_alike(part: GatewayPart) -> None:
    """When nobody can be checked, a banner says so, once, whoever asks."""
    part.plane.outage = DirectoryUnavailable("ldap1: timed out")
    for login in ("alice", "nobody"):
        command = part.ssh.command("t", "true", key=part.stranger)
        command = [word.replace("LogLevel=ERROR", "LogLevel=INFO") for word in command]
        ended = await part.ssh.run_program(command, answers={"login: ": login, "assword: ": "x"})
        assert ended.stderr.count(b"octopus: the directory is unavailable, try again later") == 1
        assert b"ldap1" not in ended.stderr


async def test_bug_while_authenticating_refuses(part: GatewayPart) -> None:
    """An error nobody thought of is a refusal, not a dropped connection."""
    part.plane.keys = _Broken()
    ended = await part.ssh.run("t", "true", key=part.key)
    assert ended.stderr.endswith(b"Permission denied (publickey,keyboard-interactive).\r\n")


class _Broken(dict[str, str]):
    """A dictionary that fails."""

    def get(self, key: str, default: object = None) -> str:
        """Fail."""
        raise ZeroDivisionError


async def test_certificate_of_the_trusted_authority(part: GatewayPart) -> None:
    """A user certificate speaks for its principals."""
    key = sign(part, "-n", "bob,carol")
    assert (await part.ssh.run("t", "true", key=key)).status == 0
    attempt = part.plane.attempts[-1]
    assert (attempt.method, attempt.principals, attempt.login) == ("certificate", ("bob", "carol"), "")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="no principals"),
        pytest.param(("-n", "bob", "-V", "20200101:20210101"), id="expired"),
        pytest.param(("-n", "bob", "-V", "20990101:21000101"), id="not yet valid"),
        pytest.param(("-n", "bob", "-h"), id="of a host"),
        pytest.param(("-n", "bob", "-O", "force-command=true"), id="force-command"),
        pytest.param(("-n", "bob", "-O", "source-address=10.0.0.0/8"), id="other address"),
        pytest.param(("-n", "bob", "-O", "critical:new@example.com=1"), id="unknown critical option"),
        pytest.param(("-n", "bob", "-O", "verify-required"), id="verify-required"),
    ],
)
async def test_certificate_that_proves_nobody(part: GatewayPart, options: tuple[str, ...]) -> None:
    """What cannot be kept is refused; the key inside counts for nothing beyond itself."""
    assert (await part.ssh.run("t", "true", key=sign(part, *options))).status == 255
    assert {attempt.principals for attempt in part.plane.attempts if attempt.method == "certificate"} <= {()}


async def test_certificate_for_this_address(part: GatewayPart) -> None:
    """A source-address that holds the client's lets it in."""
    assert (await part.ssh.run("t", "true", key=sign(part, "-n", "bob", "-O", "source-address=127.0.0.0/8"))).status == 0


async def test_certificate_of_another_authority(part: GatewayPart) -> None:
    """A certificate of an authority that is not in the file proves nobody."""
    ssh_key(part.directory, "other")
    assert (await part.ssh.run("t", "true", key=sign(part, "-n", "bob", authority="other"))).status == 255


async def test_authorities_are_read_again_when_they_change(part: GatewayPart) -> None:
    """A new authority counts from the next attempt on; a file that is gone trusts nobody."""
    other = ssh_key(part.directory, "other")
    key = sign(part, "-n", "bob", authority="other")
    file = part.directory / "ca.pub"
    file.write_text(f"# both\n{file.read_text()}\n{other.with_suffix('.pub').read_text()}")
    assert (await part.ssh.run("t", "true", key=key)).status == 0
    file.unlink()
    assert (await part.ssh.run("t", "true", key=key)).status == 255


async def test_certificate_without_terminal(part: GatewayPart) -> None:
    """A certificate that permits no terminal gets none."""
    key = sign(part, "-n", "bob", "-O", "no-pty")
    ended = await part.ssh.run("t", "tty", key=key, options=["-tt"], stdin=None)
    assert b"PTY allocation request failed" in ended.stderr


def test_authorities_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    """A missing or garbled file of authorities is an error at the start."""
    with pytest.raises(ConfigError):
        Authorities(str(tmp_path / "none"))
    (tmp_path / "bad").write_text("hello\n")
    with pytest.raises(ConfigError):
        Authorities(str(tmp_path / "bad"))


async def test_putty(part: GatewayPart) -> None:
    """PuTTY's plink logs in by password and passes output, errors and status."""
    part.plane.tasks["alice+t"] = part.plane.tasks["t"]
    host_key = (part.directory / "hostkeys/ssh_host_ed25519_key.pub").read_text()
    fingerprint = asyncssh.import_public_key(host_key).get_fingerprint()
    ended = await part.ssh.run_program(
        [
            *(need("plink", "putty-tools"), "-batch", "-ssh", "-hostkey", fingerprint, "-P", str(part.port)),
            *("-l", "alice+t", "-pw", "wonderland", "127.0.0.1", "cat; echo err >&2; exit 7"),
        ],
        stdin=b"in",
    )
    assert (ended.status, ended.stdout, ended.stderr.splitlines()[-1]) == (7, b"in", b"err")


async def test_dropbear(part: GatewayPart) -> None:
    """Dropbear's dbclient, which knows no AES-GCM, logs in by key."""
    key = part.directory / "dropbear"
    await part.ssh.run_program([need("dropbearkey", "dropbear-bin"), "-t", "ed25519", "-f", str(key)])
    shown = await part.ssh.run_program([need("dropbearkey", "dropbear-bin"), "-y", "-f", str(key)])
    public = next(line for line in shown.stdout.decode().splitlines() if line.startswith("ssh-ed25519"))
    part.plane.keys[asyncssh.import_public_key(public).get_fingerprint()] = "alice"
    ended = await part.ssh.run_program(
        [need("dbclient", "dropbear-bin"), "-y", "-y", "-T", "-i", str(key), "-p", str(part.port), "t@127.0.0.1", "cat; exit 7"],
        stdin=b"in",
    )
    assert (ended.status, ended.stdout) == (7, b"in")


async def test_paramiko(part: GatewayPart) -> None:
    """paramiko logs in by keyboard-interactive and runs a command."""

    def run() -> tuple[int, bytes]:
        with closing(paramiko.Transport(("127.0.0.1", part.port))) as transport:
            transport.start_client(timeout=20)
            transport.auth_interactive("t", lambda _name, _words, asked: ["alice", "wonderland"][: len(asked)])
            channel = transport.open_session(timeout=20)
            channel.exec_command("echo hi; exit 7")
            return channel.recv_exit_status(), channel.recv(100)

    assert await asyncio.to_thread(run) == (7, b"hi\n")


async def test_paramiko_may_try_one_after_the_other(part: GatewayPart) -> None:
    """A key that nobody has, then one that somebody has, or the password: before each it asks for the service anew."""

    def run(keys: list[str], password: str | None) -> bytes:
        with paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            own: dict[str, Any] = {"allow_agent": False, "look_for_keys": False, "key_filename": keys, "password": password}
            client.connect("127.0.0.1", part.port, "alice+t", timeout=20, **own)
            return bytes(client.exec_command("echo hi", timeout=20)[1].read())

    part.plane.tasks["alice+t"] = part.plane.tasks["t"]
    assert await asyncio.to_thread(run, [str(part.stranger), str(part.key)], None) == b"hi\n"
    assert await asyncio.to_thread(run, [str(part.stranger)], "wonderland") == b"hi\n"


async def test_certificate_is_an_identity_by_certificate(part: GatewayPart) -> None:
    """The session's identity says how the person was proven."""
    async with part.ssh.terminal("t", key=sign(part, "-n", "bob")) as terminal:
        await terminal.expect(rb"\$ ")
        [live] = part.gateway.sessions()
        assert live.identity == Identity(login="bob", method="certificate")
        assert live.connection.client_version.startswith("SSH-2.0-OpenSSH")
