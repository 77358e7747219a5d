"""A small file that was not there: its bytes may go to the container ahead of its end, at which it takes its place."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from octopus.core.files import AttributeChanges, FileFailure
from octopus.engine.file_answers import mark_of
from octopus.engine.file_changes import WHOLE, Opened, change_arguments, masked
from octopus.engine.file_shell import FileShell

ONE_WRITE = 32 * 1024
"""Clients write so much at once, or more: what is less is most likely all there is in the file."""


class SmallFile:
    """The quick ways to make the file of ``opened`` by a helper, and the sure one where they will not do."""

    def __init__(self, shell: FileShell, opened: Opened) -> None:
        self._shell = shell
        self._opened = opened
        self._stored = b""  # the umask with which its bytes were stored

    def store(self, data: bytes, mode: int) -> None:
        """Have the container take the first bytes while the client has not ended the file yet, if they may be all of it."""
        if len(data) < ONE_WRITE and not self._opened.exclusive:
            umask, _ = masked(mode)
            path, mark = self._place()
            if self._shell.say("STORE", (b"%d" % len(data), umask), path, data=data + WHOLE, mark=mark):
                self._stored = umask

    async def drop(self) -> None:
        """Leave nothing of what was stored. Raise ContainerUnavailable."""
        if self._stored:
            self._stored = b""
            path, mark = self._place()
            await self._shell.quick("DROP", (), path, mark=mark)

    async def put(self, parts: Sequence[bytes], mode: int, changes: AttributeChanges) -> None:
        """Make it at once, with the mode it is to have where no more than a umask is needed for that. Raise FileFailure."""
        umask, rest = masked(mode)
        _, owner, _, atime, mtime = change_arguments(changes)
        if self._stored and len(parts) == 1:
            stored, self._stored = self._stored, b""
            as_stored = b"" if stored == umask else b"%04o" % mode
            if await self._done("PLACE", (rest or as_stored, owner, atime, mtime)):
                return
        await self.drop()
        size, data = b"%d" % sum(map(len, parts)), b"".join([*parts, WHOLE])
        if parts and not self._opened.exclusive and await self._done("PUT", (size, umask, rest, owner, atime, mtime), data):
            return
        await self._shell.call(
            "put",
            *(self._opened.path, size, self._opened.name, b"%d" % self._opened.exclusive),
            *(umask, rest, owner, atime, mtime),
            data=data,
        )

    async def _done(self, op: str, words: tuple[bytes, ...], data: bytes = b"") -> bool:
        path, mark = self._place()
        try:
            await self._shell.quick(op, words, path, data=data, mark=mark)
        except FileFailure:
            return False
        return True

    def _place(self) -> tuple[bytes, bytes]:
        """Return where the file is to be, and the mark by which it is made."""
        folder, name = posixpath.split(self._opened.path)
        return posixpath.join(folder, self._opened.name), mark_of(name)
