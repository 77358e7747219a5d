"""Tells systemd how the start goes (sd_notify(3)): one datagram to the socket it named in NOTIFY_SOCKET."""

from __future__ import annotations

import socket

import structlog

PATIENCE = 1.0
"""Seconds that somebody who does not read may hold us up."""

_log = structlog.get_logger(__name__)


def notify(address: str, state: str) -> None:
    """Send e.g. ``READY=1``, ``STOPPING=1``; ``address`` "" means that nobody listens. A failure is logged, no more."""
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(PATIENCE)
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.sendall(state.encode())
    except OSError as error:
        _log.warning("systemd cannot be told", state=state, error=str(error))
