"""The directory, the SSH server, ZooKeeper and the clients that other tests stand on."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import ldap3
import pytest
from kazoo.client import KazooClient

from octopus.core.types import TermSize
from tests.parts.directory import BIND_DN, BIND_PASSWORD, USER_BASE, Person, Slapd, ssh_key
from tests.parts.ssh_client import SshClient
from tests.parts.sshd import Sshd
from tests.parts.tools import need
from tests.parts.zookeeper import ZooKeeper


def search(server: ldap3.Server, login: str, *, start_tls: bool = False) -> list[dict[str, list[bytes]]]:
    """Return the attributes of the entries with this login, as the service account sees them."""
    connection = ldap3.Connection(server, BIND_DN, BIND_PASSWORD, auto_bind=ldap3.AUTO_BIND_NONE)
    try:
        if start_tls:
            connection.start_tls()
        assert connection.bind()
        connection.search(USER_BASE, f"(uid={login})", attributes=["*", "memberOf"])
        return [dict(entry["raw_attributes"]) for entry in connection.response]
    finally:
        connection.unbind()


@pytest.mark.parametrize("way", ["ldap", "starttls", "ldaps"])
def test_the_directory_answers_every_way(slapd: Slapd, way: str) -> None:
    """Plain, StartTLS and ldaps give the same person, with the groups in memberOf."""
    # from Python 3.12 on ldap3 itself compares names, and knows no addresses
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(slapd.ca), valid_names=["localhost"])
    server = ldap3.Server(slapd.tls_url if way == "ldaps" else slapd.url, tls=tls)
    (alice,) = search(server, "alice", start_tls=way == "starttls")
    assert sorted(alice["memberOf"]) == [b"cn=dev,ou=groups,dc=corp,dc=example", b"cn=logging-dev,ou=groups,dc=corp,dc=example"]


def test_people_can_be_added_with_their_keys(slapd: Slapd, tmp_path: Path) -> None:
    """A key comes back byte for byte."""
    line = ssh_key(tmp_path).with_suffix(".pub").read_text().strip()
    slapd.add(Person("dora", "dora-secret", keys=(line,)), groups=["dev"])
    (dora,) = search(ldap3.Server(slapd.url), "dora")
    assert dora["sshPublicKey"] == [line.encode()]
    assert dora["memberOf"] == [b"cn=dev,ou=groups,dc=corp,dc=example"]


def test_a_stranger_reads_nothing_though_a_bind_without_password_succeeds(slapd: Slapd) -> None:
    """The trap for careless clients is there, and leads nowhere."""
    bind = ["-x", "-H", slapd.url, "-D", f"uid=alice,{USER_BASE}", "-w", ""]
    who = subprocess.run([need("ldapwhoami", "ldap-utils"), *bind], capture_output=True, timeout=20, check=True)
    assert who.stdout.strip() == b"anonymous"
    found = subprocess.run([need("ldapsearch", "ldap-utils"), *bind, "-LLL", "-b", USER_BASE], capture_output=True, timeout=20, check=False)
    assert found.stdout == b""


def test_one_of_two_directories_can_go_away(slapd_pair: tuple[Slapd, Slapd]) -> None:
    """The other goes on, and the one that went leaves no folder."""
    one, two = slapd_pair
    one.stop()
    assert not one.directory.exists()
    assert len(search(ldap3.Server(two.url), "bob")) == 1


async def test_ssh_runs_a_command(sshd: Sshd, tmp_path: Path) -> None:
    """Input, both outputs and the status pass."""
    client = SshClient(sshd.host, sshd.port, tmp_path)
    ended = await client.run(sshd.user, "cat; echo err >&2; exit 7", key=sshd.key, stdin=b"in\x00")
    assert (ended.status, ended.stdout, ended.stderr) == (7, b"in\x00", b"err\n")


async def test_ssh_runs_on_a_terminal(sshd: Sshd, tmp_path: Path) -> None:
    """Size, resize, ^C and the status pass."""
    client = SshClient(sshd.host, sshd.port, tmp_path)
    async with client.terminal(sshd.user, key=sshd.key, options=["-tt"], size=TermSize(cols=91, rows=31)) as terminal:
        terminal.send(b"PS1='re''ady> '; stty size\n")
        await terminal.expect(rb"31 91\r\n")
        terminal.resize(TermSize(cols=92, rows=32))
        terminal.send(b"sh -c 'echo run\"\"ning; exec cat'\n")
        await terminal.expect(rb"running\r\n")
        terminal.send(b"\x03")
        await terminal.expect(rb"ready> ")
        terminal.send(b"stty size\n")
        await terminal.expect(rb"32 92\r\n")
        terminal.send(b"exit 5\n")
        assert await terminal.wait() == 5


async def test_a_wrong_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    """ssh's own status for that is 255."""
    ended = await SshClient(sshd.host, sshd.port, tmp_path).run(sshd.user, "true", key=ssh_key(tmp_path))
    assert ended.status == 255
    assert b"Permission denied" in ended.stderr


def test_zookeeper_keeps_a_node(zookeeper: ZooKeeper) -> None:
    """What is written is read back."""
    client = KazooClient(hosts=zookeeper.hosts)
    client.start(timeout=20)
    try:
        client.create("/ground", b"here", makepath=True)
        assert client.get("/ground")[0] == b"here"
    finally:
        client.stop()
        client.close()
