"""Who of several gateways may scale: the port, and a lock in the runtime directory for gateways on one machine."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from octopus.core.errors import printable
from octopus.core.unique_actions import Lead

MAX_NAME = 200
"""Bytes read of the name of who leads."""


class Leadership(Protocol):
    """One of several gateways leads. What is told holds for the moment of the call: ask again right before each write."""

    async def lead(self) -> Lead:
        """Lead if nobody else does, and tell who does. Never raises: who cannot tell does not lead."""
        ...

    async def resign(self) -> None:
        """Let others lead."""
        ...

    async def aclose(self) -> None:
        """Resign, and release what is held."""
        ...


class FileLeadership:
    """Holds a lock on a file (flock(2)), which the kernel lets go of when the process ends, however it ends. ``name`` is ours.

    A file that was taken away or replaced locks nobody out: whoever held it asks for the one that is there now.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = printable(name, MAX_NAME)
        self._file: int | None = None

    async def lead(self) -> Lead:
        """See ``Leadership``."""
        if self._file is not None and self._is_there(self._file):
            return Lead(mine=True, who=self._name)
        await self.resign()
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            return Lead(mine=False, problem=f"{self._path}: {error.strerror}")
        return self._locked(file)

    async def resign(self) -> None:
        """See ``Leadership``."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def aclose(self) -> None:
        """See ``Leadership``."""
        await self.resign()

    def _is_there(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self._path))
        except OSError:
            return False

    def _locked(self, file: int) -> Lead:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, self._name.encode("utf-8", "replace"), 0)
        except BlockingIOError:
            who = os.pread(file, MAX_NAME, 0).decode("utf-8", "replace")
            os.close(file)
            return Lead(mine=False, who=printable(who))
        except OSError as error:
            os.close(file)
            return Lead(mine=False, problem=f"{self._path}: {error.strerror}")
        self._file = file
        return Lead(mine=True, who=self._name)
