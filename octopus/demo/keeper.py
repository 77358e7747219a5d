"""Keeps one daemon for as long as standard input stays open, then leaves nothing of it: processes, mounts, folder.

Run as a program: ``keeper.py DIRECTORY GRACE COMMAND…``. The other end of the pipe is held by whoever started it, so the
daemon ends with that process however it ends, SIGKILL included, which no ``finally`` covers. Standard library only and
imports nothing of ours: it is started by its path, and under sudo where the daemon needs root and its user is not.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h: orphans among our descendants become our children (containerd's shims daemonize)."""


def adopt_orphans() -> None:
    """Become the reaper of every descendant. Raise OSError where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def parent_of(pid: str) -> int:
    """Return the parent of a process by /proc/PID/stat (proc(5)), 0 when it is gone."""
    try:
        stat = Path("/proc", pid, "stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def children() -> list[int]:
    """Return the processes whose parent we are."""
    me = os.getpid()
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and parent_of(pid) == me]


def end_descendants() -> None:
    """Kill children until none is left; the children of each become ours in turn."""
    while left := children():
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def mounts_under(directory: str, mountinfo: str) -> list[str]:
    """Return the mount points below ``directory``, innermost first (mountinfo: proc(5), field 5)."""
    points = [line.split()[4].replace(r"\040", " ") for line in mountinfo.splitlines()]
    return sorted((point for point in points if point.startswith(directory + "/")), key=len, reverse=True)


def remove(directory: str) -> None:
    """Unmount what is mounted below ``directory`` and delete it."""
    for point in mounts_under(directory, Path("/proc/self/mountinfo").read_text()):
        subprocess.run(["umount", "--lazy", point], check=False, stderr=subprocess.DEVNULL)  # noqa: S603, S607
    shutil.rmtree(directory, ignore_errors=True)


def wait_for_either(daemon: subprocess.Popen[bytes], stdin: int) -> None:
    """Return when the daemon has ended or standard input is at its end."""
    ended = os.pidfd_open(daemon.pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(stdin, select.POLLIN | select.POLLHUP)
    while True:
        ready = dict(poll.poll())
        if ended in ready or (stdin in ready and not os.read(stdin, 4096)):
            break
    os.close(ended)


def keep(directory: str, grace: float, command: list[str]) -> int:
    """Run ``command`` until it ends or standard input does; return its status. ``grace`` seconds lie between TERM and KILL."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the pipe alone says when; a handler, unlike SIG_IGN, is not inherited
    adopt_orphans()
    daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    try:
        wait_for_either(daemon, sys.stdin.fileno())
        daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(grace)
        daemon.kill()
        return daemon.wait()
    finally:
        end_descendants()
        remove(directory)


if __name__ == "__main__":
    status = keep(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
    sys.exit(status if status >= 0 else 128 - status)
