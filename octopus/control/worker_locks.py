"""Which session workers are alive: each holds a lock on a file of its own for its life, which no death can leave behind."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class WorkerLocks:
    """The directory (0700) of the workers' lock files, ``WORKER.lock``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self) -> None:
        """Create the directory."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, worker: str) -> Path:
        """Return the worker's lock file."""
        return self._directory / f"{worker}.lock"

    def journals(self, worker: str) -> tuple[Path, ...]:
        """Return the files in which the worker keeps events until they are on the trail, for who comes after it."""
        return tuple(self._directory / f"{worker}.{number}.events" for number in range(2))

    def write_ahead(self, worker: str) -> Path:
        """Return the file in which the worker keeps lines of recordings until the disk has them."""
        return self._directory / f"{worker}.lines"

    def known(self) -> frozenset[str]:
        """Return the workers, dead or alive, that have a file."""
        return frozenset(path.stem for path in self._directory.glob("*.lock"))

    def is_held(self, worker: str) -> bool:
        """Tell whether the worker lives."""
        try:
            file = os.open(self.path(worker), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    def forget(self, worker: str) -> None:
        """Remove a dead worker's files."""
        for path in (*self.journals(worker), self.write_ahead(worker), self.path(worker)):
            path.unlink(missing_ok=True)
