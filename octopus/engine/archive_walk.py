"""Where a path leads, name by name as the kernel walks, asked of the archive API."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable

from octopus.core.files import NoSuchFile, NotADirectory, TooManyLinks
from octopus.engine.archive_stat import ArchiveStat
from octopus.engine.file_rights import ENTER, Rights

MAX_LINKS = 40


async def walk(stat: ArchiveStat, rights: Rights, seen: Callable[[bytes], bytes], path: bytes, *, follow: bool) -> tuple[bytes, bool]:
    """Return the path without links, and whether anything is there. ``seen`` refuses what the engine does not see.

    Raise NoSuchFile (a directory on the way), NotADirectory, TooManyLinks, FileDenied.
    """
    left = [name for name in path.split(b"/") if name not in (b"", b".")]
    follow = follow or path.endswith((b"/", b"/.", b"/.."))
    at, links, entry = b"/", 0, await stat.ownerless(b"/")
    while left:
        if entry is None:
            raise NoSuchFile
        if entry.kind != tarfile.DIRTYPE:
            raise NotADirectory
        if rights.uid:
            rights.check(await stat.get(at), ENTER)
        name = left.pop(0)
        there = posixpath.dirname(at) if name == b".." else posixpath.join(at, name)
        entry = await stat.ownerless(seen(there))
        if entry is not None and entry.kind == tarfile.SYMTYPE and (left or follow):
            links += 1
            if links > MAX_LINKS:
                raise TooManyLinks
            left = [part for part in entry.link.split(b"/") if part not in (b"", b".")] + left
            at = b"/" if entry.link.startswith(b"/") else at
            entry = await stat.ownerless(at)
        else:
            at = there
    return at, entry is not None
