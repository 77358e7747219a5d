"""Other people's clients: PuTTY's plink, dropbear's dbclient, paramiko; and what every client is refused in one clear line."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tests.e2e.scene import Scene
from tests.parts.ssh_client import Ended
from tests.parts.tools import need

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_plink(scene: Scene) -> None:
    """PuTTY's command line client logs in by password and passes output and status."""
    bob = scene.people.bob
    command = [need("plink", "putty-tools"), "-batch", "-ssh", "-P", str(scene.gateway.port), "-pw", bob.password]
    ended = await scene.gateway.ssh.run_program(
        [*command, *known(scene), "-l", "bob+web_front", "127.0.0.1", "cat; exit 6"], stdin=b"via putty"
    )
    assert (ended.status, ended.stdout) == (6, b"via putty"), ended.stderr


def known(scene: Scene) -> list[str]:
    """Return plink's options that name the gateway's host keys."""
    listed = subprocess.run(
        [need("ssh-keygen", "openssh-client"), "-lf", str(scene.people.host_keys / "ssh_host_ed25519_key.pub")],
        capture_output=True,
        check=True,
        text=True,
    )
    return ["-hostkey", listed.stdout.split()[1]]


async def test_dbclient(scene: Scene, tmp_path: Path) -> None:
    """dropbear's client logs in by key and passes output and status."""
    key = tmp_path / "alice.dropbear"
    convert = [need("dropbearconvert", "dropbear-bin"), "openssh", "dropbear", str(scene.people.alice.key), str(key)]
    assert (await scene.gateway.ssh.run_program(convert)).status == 0
    command = [need("dbclient", "dropbear-bin"), "-y", "-y", "-i", str(key), "-p", str(scene.gateway.port), "-l", "web_front", "127.0.0.1"]
    ended = await scene.gateway.ssh.run_program([*command, "cat; exit 5"], stdin=b"via dropbear")
    assert (ended.status, ended.stdout) == (5, b"via dropbear"), ended.stderr


@pytest.fixture
def paramiko_client(scene: Scene) -> Iterator[paramiko.SSHClient]:
    """A client of Python's that trusts what it meets."""
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        yield client


async def test_paramiko(scene: Scene, paramiko_client: paramiko.SSHClient) -> None:
    """paramiko runs commands with their status and talks to a shell on a terminal of any size."""

    def talk() -> tuple[int, bytes, bytes]:
        alice = str(scene.people.alice.key)
        paramiko_client.connect("127.0.0.1", scene.gateway.port, "web_front", key_filename=alice, allow_agent=False, look_for_keys=False)
        stdin, stdout, _ = paramiko_client.exec_command("cat; exit 3", timeout=30)
        stdin.write(b"via paramiko")
        stdin.channel.shutdown_write()
        said = stdout.read()
        shell = paramiko_client.invoke_shell(width=91, height=17)
        shell.settimeout(30)
        shell.sendall(b"stty size; exit 4\r")
        shown = b"".join(iter(lambda: shell.recv(4096), b""))
        return stdout.channel.recv_exit_status() * 10 + shell.recv_exit_status(), said, shown

    status, said, shown = await asyncio.to_thread(talk)
    assert (status, said) == (34, b"via paramiko")
    assert b"17 91" in shown


async def asked(scene: Scene, *options: str, command: str = "echo in") -> Ended:
    """Run OpenSSH with its own words shown, as alice."""
    line = scene.gateway.ssh.command("web_front", command, key=scene.people.alice.key, options=options)
    return await scene.gateway.ssh.run_program([word.replace("LogLevel=ERROR", "LogLevel=INFO") for word in line], stdin=None)


async def test_forwarding_back_is_refused(scene: Scene) -> None:
    """-R is refused in one line, and the command runs all the same."""
    ended = await asked(scene, "-R", "0:127.0.0.1:22")
    assert ended.stdout == b"in\n"
    assert b"remote port forwarding failed" in ended.stderr


async def test_agent_and_x11_are_refused(scene: Scene) -> None:
    """Agent and X11 forwarding are refused in one line; nothing of theirs is in the container, and the command runs all the same."""
    command = "env | grep -c -e SSH_AUTH_SOCK -e DISPLAY"
    line = scene.gateway.ssh.command("web_front", command, key=scene.people.alice.key, options=["-A"])
    line = [word.replace("IdentityAgent=none", "IdentityAgent=SSH_AUTH_SOCK") for word in line]
    ended = await scene.gateway.ssh.run_program([need("ssh-agent", "openssh-client"), *line], stdin=None)
    assert (ended.stdout, ended.stderr) == (b"0\n", b"octopus: agent forwarding is not offered\n")
    line = scene.gateway.ssh.command("web_front", command, key=scene.people.alice.key, options=["-X"])
    line = [word.replace("LogLevel=ERROR", "LogLevel=INFO") for word in line]
    ended = await scene.gateway.ssh.run_program(line, stdin=None, env={"DISPLAY": "127.0.0.1:99"})
    assert ended.stdout == b"0\n"
    assert b"X11 forwarding request failed" in ended.stderr


@pytest.mark.parametrize("subsystem", ["no-such-thing", "netconf"])
async def test_subsystem_is_refused(scene: Scene, subsystem: str) -> None:
    """A subsystem that is not offered is one clear line and a status."""
    ended = await asked(scene, "-s", command=subsystem)
    assert (ended.status, ended.stderr.startswith(f"octopus: the {subsystem} subsystem is not offered [s-".encode())) == (64, True)
