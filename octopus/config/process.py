"""What systemd tells a service in its environment (sd_listen_fds(3), sd_notify(3))."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Process:
    """``listen_fds`` sockets are handed over from descriptor 3 on; ``notify_socket`` is where readiness is told, "" nowhere."""

    listen_fds: int = 0
    notify_socket: str = ""


def process(environ: Mapping[str, str] | None = None, pid: int | None = None) -> Process:
    """Return what this process was told; sockets that were meant for another process are none of ours."""
    environ = os.environ if environ is None else environ
    ours = environ.get("LISTEN_PID") == str(os.getpid() if pid is None else pid)
    count = environ.get("LISTEN_FDS", "")
    return Process(listen_fds=int(count) if ours and count.isdecimal() else 0, notify_socket=environ.get("NOTIFY_SOCKET", ""))
