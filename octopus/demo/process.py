"""A daemon that lives no longer than we do, in a folder that goes with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from octopus.demo import keeper

PAUSE = 0.05
"""Seconds between two looks at a condition while a daemon starts."""

MAX_LOG_EXCERPT = 2000
"""Bytes of a daemon's log that an error carries."""


class StartFailed(Exception):
    """A daemon ended, or did not answer in time, while it started; says what its log said last."""


def new_directory(name: str) -> Path:
    """Make an empty folder of our own (mode 0700) under the system's temporary one; short, for unix socket paths."""
    return Path(tempfile.mkdtemp(prefix=f"octopus-{name}-"))


class Daemon:
    """One daemon under a keeper: started on entering, gone with its processes, mounts and ``directory`` on leaving.

    ``ready`` is asked until it is true; ``start_timeout`` bounds that, ``grace`` the time between TERM and KILL, both in
    seconds. ``as_root`` puts sudo in front where we are not root. Output goes to ``directory/log``.
    """

    def __init__(
        self,
        directory: Path,
        command: Sequence[str],
        ready: Callable[[], bool],
        *,
        as_root: bool = False,
        start_timeout: float = 60.0,
        grace: float = 20.0,
    ) -> None:
        self.directory = directory
        self._command = tuple(command)
        self._ready = ready
        self._sudo = as_root and os.geteuid() != 0
        self._start_timeout = start_timeout
        self._grace = grace
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._sudo:
            self._become_root()
        argv = [sys.executable, "-I", keeper.__file__, str(self.directory), str(self._grace), *self._command]
        with (self.directory / "log").open("w+b") as log:
            self._keeper = subprocess.Popen(  # noqa: S603
                ["sudo", "-n", *argv] if self._sudo else argv,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # sudo finds its time stamp by the terminal, which a new session would take away
                start_new_session=not self._sudo,
            )
            try:
                self._wait_until_ready(self._keeper, log)
            except BaseException:
                self.stop()
                raise
        return self

    def _become_root(self) -> None:
        """Let sudo ask on the terminal, once. Raise StartFailed when it does not give us root."""
        try:
            subprocess.run(["sudo", "-v"], check=True)  # noqa: S607
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise StartFailed(f"{self._command[0]} needs root, and there is no sudo for us") from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End the daemon and all it left; returns when that is done. Harmless when it is not running."""
        running, self._keeper = self._keeper, None
        if running is not None and running.stdin is not None:
            running.stdin.close()
            running.wait()

    def _wait_until_ready(self, running: subprocess.Popen[bytes], log: BinaryIO) -> None:
        """Return once ``ready``. Raise StartFailed when the daemon ends first or the time is over."""
        for _ in range(max(1, int(self._start_timeout / PAUSE))):
            try:
                status = running.wait(PAUSE)
            except subprocess.TimeoutExpired:
                if self._ready():
                    return
            else:
                raise StartFailed(f"{self._command[0]} ended with status {status} while starting: {log_end(log)}")
        raise StartFailed(f"{self._command[0]} did not answer within {self._start_timeout:g} s: {log_end(log)}")


def log_end(log: BinaryIO) -> str:
    """Return the last of what a daemon wrote, also after its folder is gone."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - MAX_LOG_EXCERPT))
    return log.read().decode("utf-8", "replace").strip()
