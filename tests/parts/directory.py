"""A private slapd: ldap, ldaps and StartTLS on loopback, with people, their keys and groups."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from octopus.demo.certificates import Authority
from octopus.demo.engines import free_port
from octopus.demo.process import Daemon, new_directory
from tests.parts.tools import need

BASE = "dc=corp,dc=example"
USER_BASE = f"ou=people,{BASE}"
GROUP_BASE = f"ou=groups,{BASE}"
ADMIN_DN = f"cn=admin,{BASE}"
BIND_DN = f"cn=octopus,ou=services,{BASE}"
BIND_PASSWORD = "service-secret"

SCHEMA = """
attributetype ( 1.3.6.1.4.1.24552.500.1.1.1.13 NAME 'sshPublicKey' DESC 'one line of authorized_keys'
  EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.3.6.1.4.1.24552.500.1.1.2.0 NAME 'ldapPublicKey' SUP top AUXILIARY MAY ( sshPublicKey $ uid ) )
"""
"""The names and numbers that directories in the field use for keys (openssh-lpk)."""


@dataclass(frozen=True)
class Person:
    """Somebody in the directory; ``keys`` are lines as in authorized_keys, ``more`` further attributes."""

    login: str
    password: str
    keys: tuple[str, ...] = ()
    more: tuple[tuple[str, str], ...] = ()

    @property
    def dn(self) -> str:
        """Return where the entry is."""
        return f"uid={self.login},{USER_BASE}"


PEOPLE = (
    Person("alice", "alice-secret"),
    Person("bob", "bob-secret"),
    Person("carol", "carol-secret"),
)
GROUPS: Mapping[str, Sequence[str]] = {"dev": ("alice", "bob"), "logging-dev": ("alice",), "platform": ("bob",)}
"""Group names and the logins in each; carol is in none."""


class Slapd:
    """One directory server with ``people`` in ``groups``, an account for octopus to search with, and a lockout policy.

    memberOf is kept by the server; ten failed binds lock an account; a bind with a name and no password succeeds as
    anonymous, as on many a server in the field: the trap is real. Anonymous may read nothing.
    ``port`` and ``tls_port`` are free ones unless given (to come back where another went away).
    """

    def __init__(
        self,
        authority: Authority,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_port: int = 0,
        people: Sequence[Person] = PEOPLE,
        groups: Mapping[str, Sequence[str]] = GROUPS,
    ) -> None:
        self._program = need("slapd", "slapd")
        need("ldapmodify", "ldap-utils")
        self.host, self.port, self.tls_port = host, port or free_port(host), tls_port or free_port(host)
        self.url, self.tls_url = f"ldap://{host}:{self.port}", f"ldaps://{host}:{self.tls_port}"
        self.ca = authority.ca
        self._tls = authority.issue(f"slapd-{self.port}", hosts=[host, "localhost"])
        self._people, self._groups = people, groups
        self.directory = new_directory("slapd")
        self._daemon = Daemon(self.directory, self._prepare(), self._listens, start_timeout=30)

    def __enter__(self) -> Self:
        self._daemon.__enter__()
        try:
            self.modify(tree(self._people, self._groups))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and remove its data."""
        self._daemon.stop()

    def modify(self, ldif: str, *, relax: bool = False) -> None:
        """Apply LDIF as the administrator; an entry without ``changetype`` is added. ``relax`` opens operational attributes."""
        secret = self.directory / "admin.secret"
        command = ["ldapmodify", "-a", "-x", "-H", self.url, "-D", ADMIN_DN, "-y", str(secret), *(["-e", "relax"] if relax else [])]
        done = subprocess.run(command, input=ldif, text=True, capture_output=True, timeout=30, check=False, env=_quiet())
        if done.returncode:
            raise ValueError(f"ldapmodify: {done.stderr.strip()}")

    def add(self, person: Person, groups: Sequence[str] = ()) -> None:
        """Add somebody, into groups that exist."""
        join = "".join(f"dn: cn={name},{GROUP_BASE}\nchangetype: modify\nadd: member\nmember: {person.dn}\n\n" for name in groups)
        self.modify(_person(person) + join)

    def _prepare(self) -> list[str]:
        """Write what slapd reads; return its command."""
        (self.directory / "db").mkdir()
        (self.directory / "keys.schema").write_text(SCHEMA)
        (self.directory / "admin.secret").write_text("admin-secret")
        (self.directory / "slapd.conf").write_text(self._configuration())
        # a copy, because AppArmor confines the one at the packaged path to the machine's own directory
        program = shutil.copy(self._program, self.directory / "slapd")
        return [str(program), "-h", f"{self.url} {self.tls_url}", "-f", str(self.directory / "slapd.conf"), "-d", "0"]

    def _configuration(self) -> str:
        """Return slapd.conf(5)."""
        schemas = [f"include /etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "nis", "inetorgperson")]
        modules = [f"moduleload {name}" for name in ("back_mdb", "memberof", "ppolicy")]
        return "\n".join(
            [
                *schemas,
                f"include {self.directory}/keys.schema",
                "modulepath /usr/lib/ldap",
                *modules,
                f"pidfile {self.directory}/slapd.pid",
                f"argsfile {self.directory}/slapd.args",
                f"TLSCACertificateFile {self._tls.ca}",
                f"TLSCertificateFile {self._tls.cert}",
                f"TLSCertificateKeyFile {self._tls.key}",
                "allow bind_anon_cred bind_anon_dn",
                "database mdb",
                f'suffix "{BASE}"',
                f'rootdn "{ADMIN_DN}"',
                "rootpw admin-secret",
                f"directory {self.directory}/db",
                "index objectClass,uid,member,memberOf eq",
                "overlay memberof",
                "memberof-refint TRUE",
                "overlay ppolicy",
                f'ppolicy_default "cn=default,ou=policies,{BASE}"',
                "access to attrs=userPassword by anonymous auth by * none",
                f'access to * by dn.exact="{BIND_DN}" read by self read by * auth',
                "",
            ]
        )

    def _listens(self) -> bool:
        """Tell whether both ports are open."""
        for port in (self.port, self.tls_port):
            try:
                socket.create_connection((self.host, port), 1).close()
            except OSError:
                return False
        return True


def tree(people: Sequence[Person], groups: Mapping[str, Sequence[str]]) -> str:
    """Return the whole directory as LDIF. Groups may hold groups: a member that is no login names a group."""
    logins = {person.login for person in people}
    units = [f"dn: ou={name},{BASE}\nobjectClass: organizationalUnit\n" for name in ("people", "groups", "services", "policies")]
    service = f"dn: {BIND_DN}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\nuserPassword: {BIND_PASSWORD}\n"
    policy = f"dn: cn=default,ou=policies,{BASE}\nobjectClass: device\nobjectClass: pwdPolicy\npwdAttribute: userPassword\n"
    policy += "pwdLockout: TRUE\npwdMaxFailure: 10\n"
    root = f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: corp\ndc: corp\n"
    lines = [root, *units, policy, service, *(_person(person) for person in people)]
    for name, members in groups.items():
        dns = [f"uid={member},{USER_BASE}" if member in logins else f"cn={member},{GROUP_BASE}" for member in members]
        lines.append(f"dn: cn={name},{GROUP_BASE}\nobjectClass: groupOfNames\n" + "".join(f"member: {dn}\n" for dn in dns))
    return "\n".join(lines)


def _person(person: Person) -> str:
    """Return one person as LDIF."""
    login = person.login
    head = f"dn: {person.dn}\nobjectClass: inetOrgPerson\nobjectClass: ldapPublicKey\nuid: {login}\ncn: {login}\nsn: {login}\n"
    pairs = (("userPassword", person.password), *(("sshPublicKey", key) for key in person.keys), *person.more)
    return head + "".join(f"{name}:: {base64.b64encode(value.encode()).decode()}\n" for name, value in pairs) + "\n"


def _quiet() -> dict[str, str]:
    """Return an environment in which the LDAP tools read no configuration of the machine's or the user's."""
    return {"PATH": os.environ.get("PATH", ""), "LDAPNOINIT": "1"}


@pytest.fixture(scope="session")
def slapd(tls_authority: Authority) -> Iterator[Slapd]:
    """Give a directory for the whole run; a test that changes it adds people of its own."""
    with Slapd(tls_authority) as server:
        yield server


@pytest.fixture
def slapd_pair(tls_authority: Authority) -> Iterator[tuple[Slapd, Slapd]]:
    """Give two directories with the same people, of which a test may stop one."""
    with Slapd(tls_authority) as one, Slapd(tls_authority) as two:
        yield one, two


def ssh_key(directory: Path, name: str = "id_ed25519", *, kind: str = "ed25519") -> Path:
    """Make a key pair with OpenSSH; return the private half's path, the public one is beside it as ``.pub``."""
    path = directory / name
    command = [need("ssh-keygen", "openssh-client"), "-q", "-t", kind, "-N", "", "-C", name, "-f", str(path)]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
    return path
