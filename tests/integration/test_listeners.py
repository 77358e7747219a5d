"""Sockets handed over by systemd's protocol."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from octopus.control.listeners import inherited, name

ROOT = Path(__file__).parent.parent.parent
TAKE = """
import os, sys
from octopus.control.listeners import inherited
os.dup2(int(sys.argv[1]), 3)
(sock,) = inherited(1)
print(sock.getsockname()[1], sock.get_inheritable(), sock.getblocking())
"""


def test_a_socket_of_systemd_is_taken_over() -> None:
    """The listening socket is descriptor 3; it is not passed on to workers, and does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", TAKE, str(listener.fileno())]
        taken = subprocess.run(command, cwd=ROOT, pass_fds=[listener.fileno()], capture_output=True, text=True, check=True)
        assert taken.stdout.split() == [str(listener.getsockname()[1]), "False", "False"]


def test_a_descriptor_that_is_no_socket_is_a_fault() -> None:
    """A wrong unit file is told in a clear word."""
    code = "import os; os.dup2(os.open('/dev/null', 0), 3); from octopus.control.listeners import inherited; inherited(1)"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "ConfigError: LISTEN_FDS=1, but descriptor 3 is no socket" in told.stderr


def test_none_is_none() -> None:
    """Without systemd nothing is taken."""
    assert inherited(0) == []


@pytest.mark.parametrize(("address", "text"), [(("10.0.0.1", 22), "10.0.0.1:22"), (("::1", 22, 0, 0), "[::1]:22")])
def test_addresses_read_as_people_write_them(address: tuple[str, int], text: str) -> None:
    """IPv6 in brackets, so that the port can be told from it."""
    assert name(address) == text
