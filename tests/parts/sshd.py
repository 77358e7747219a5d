"""A private OpenSSH server: the way to an engine over ssh://, and the baseline that octopus is measured against."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from octopus.demo.engines import free_port
from octopus.demo.process import Daemon, new_directory
from tests.parts.directory import ssh_key
from tests.parts.tools import need


class Sshd:
    """One sshd for the user who runs the tests; ``key`` opens it, ``known_hosts`` names its host key.

    ``more`` are further lines of sshd_config(5), such as ``ForceCommand docker exec …``.
    """

    def __init__(self, *, host: str = "127.0.0.1", more: Sequence[str] = ()) -> None:
        program = need("sshd", "openssh-server")
        self.host, self.port, self.user = host, free_port(host), getpass.getuser()
        self.directory = new_directory("sshd")
        self.key = ssh_key(self.directory, "client")
        host_key = ssh_key(self.directory, "host")
        self.known_hosts = self.directory / "known_hosts"
        self.known_hosts.write_text(f"[{host}]:{self.port} {host_key.with_suffix('.pub').read_text()}")
        config = self.directory / "sshd_config"
        config.write_text("\n".join([*self._lines(host_key), *more, ""]))
        self._daemon = Daemon(self.directory, [program, "-D", "-e", "-f", str(config)], self._greets, start_timeout=30)

    def __enter__(self) -> Self:
        separation = Path("/run/sshd")  # sshd insists on its empty folder when it starts as root
        if self.user == "root":
            separation.mkdir(mode=0o755, exist_ok=True)
        self._daemon.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and its connections."""
        self._daemon.stop()

    def _lines(self, host_key: Path) -> list[str]:
        """Return sshd_config(5): this user, this key, many connections at once."""
        return [
            f"ListenAddress {self.host}:{self.port}",
            f"HostKey {host_key}",
            f"AuthorizedKeysFile {self.key}.pub",
            "PidFile none",
            "StrictModes no",
            f"UsePAM {'yes' if _locked(self.user) else 'no'}",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "MaxStartups 200",
            "MaxSessions 100",
            "PrintMotd no",
            f"SetEnv HOME={self.directory}",  # what a shell does first on this machine is not ours to wait for
        ]

    def _greets(self) -> bool:
        """Tell whether the server sends its version line."""
        try:
            with socket.create_connection((self.host, self.port), 1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def _locked(user: str) -> bool:
    """Tell whether the account has no password at all (Ubuntu's root): without PAM sshd lets nobody into it by any means."""
    try:
        lines = Path("/etc/shadow").read_text().splitlines()
    except PermissionError:
        return False
    return any(line.startswith(f"{user}:!") for line in lines)


@pytest.fixture
def sshd() -> Iterator[Sshd]:
    """Give an OpenSSH server for one test."""
    with Sshd() as server:
        yield server
