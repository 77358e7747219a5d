"""The sockets connections come in by: handed over by systemd (sd_listen_fds(3)), else bound here."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence

from octopus.core.errors import ConfigError

BACKLOG = 1024
_FIRST = 3


def inherited(count: int) -> list[socket.socket]:
    """Return the ``LISTEN_FDS`` sockets from systemd; call once, when ``LISTEN_PID`` is this process. Raise ConfigError."""
    sockets = []
    for descriptor in range(_FIRST, _FIRST + count):
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            raise ConfigError([f"LISTEN_FDS={count}, but descriptor {descriptor} is no socket: {error}"]) from error
        sock.set_inheritable(False)
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


def bind(addresses: Iterable[str]) -> list[socket.socket]:
    """Bind and listen on each ``HOST:PORT`` or ``[V6]:PORT`` (numeric). Raise ConfigError, and then leave none open."""
    sockets: list[socket.socket] = []
    for address in addresses:
        try:
            sockets.append(_bind(address))
        except (OSError, ValueError) as error:
            close(sockets)
            raise ConfigError([f"[ssh] listen: cannot listen on {address!r}: {error}"]) from error
    return sockets


def close(sockets: Sequence[socket.socket]) -> None:
    """Close them all."""
    for sock in sockets:
        sock.close()


def _bind(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    ip = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    sock = socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Connections of the run before may still live in their workers on this very port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ip.version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((str(ip), int(port)))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def name(address: tuple[str, int]) -> str:
    """Return a socket address as ``ip:port``, an IPv6 one in brackets."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
