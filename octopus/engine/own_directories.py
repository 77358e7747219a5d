"""Directories that a session made itself: what it did not put there is not there, as far as it can know. Pure."""

from __future__ import annotations

import posixpath

from octopus.core.files import Place


class OwnDirectories:
    """Remembers up to ``most`` names in them; beyond that, and after any other change, they are as all others."""

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._names: dict[bytes, set[bytes]] = {}
        self._count = 0

    def made(self, path: bytes) -> None:
        """Note that a directory was made, which is empty."""
        if self._count >= self._most:
            self.forget()
        self._names[path] = set()
        self._count += 1

    def taken(self, path: bytes) -> None:
        """Note that something of this name is there, or will be."""
        folder, name = posixpath.split(path)
        if folder in self._names:
            self._names[folder].add(name)
            self._count += 1
            if self._count > self._most:
                self.forget()

    def forget(self) -> None:
        """Look at everything again."""
        self._names.clear()
        self._count = 0

    def place(self, asked: bytes, path: bytes) -> Place | None:
        """Return the place of a new name in one of them, None for all others: these have to be looked at."""
        folder, name = posixpath.split(path)
        names = self._names.get(folder)
        if names is None or name in (b"", b".", b"..") or name in names:
            return None
        return Place(asked=asked, path=posixpath.join(folder, name), attributes=None, vacant=True)
