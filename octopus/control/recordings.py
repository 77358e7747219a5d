"""Recordings whose worker died: given their final name; those of terminals with whole lines only, so that they replay. Blocking."""

from __future__ import annotations

import glob
import hashlib
import os
from pathlib import Path
from typing import Any

from octopus.control.whole_lines import end_of_last_line
from octopus.core.write_ahead import AheadLines


def complete(directory: Path, session: str, ahead: AheadLines | None = None) -> list[dict[str, Any]]:
    """Close what is left open of a session's recordings; return path (below ``directory``), sha256 and size of each. Raise OSError.

    ``ahead`` are the last lines that were shown before the disk had them; where they are missing still, the recording gets them.
    Of copies of files only those are returned that were open: events of their own speak of the others.
    """
    name = glob.escape(session)
    for part in directory.glob(f"*/*/*/{name}.cast.part"):
        if _left_lines(part, ahead):
            part.rename(part.with_suffix(""))
        else:  # the worker died before its first line was there: nothing was shown
            part.unlink()
    copies = [_close(part) for part in sorted(directory.glob(f"*/*/*/{name}.*.copy.part"))]
    return [_described(directory, path) for path in (*sorted(directory.glob(f"*/*/*/{name}.cast")), *copies)]


def _left_lines(part: Path, ahead: AheadLines | None) -> bool:
    """Leave whole lines, with those that are missing; tell whether there are any."""
    with part.open("r+b") as file:
        if ahead and (lines := ahead.missing(file.seek(0, os.SEEK_END))):
            file.seek(ahead.at)
            file.write(lines)
            file.flush()
        end = end_of_last_line(file.fileno(), os.fstat(file.fileno()).st_size)
        file.truncate(end)
        os.fsync(file.fileno())
    return end > 0


def _close(part: Path) -> Path:
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    return part.rename(part.with_suffix(""))


def _described(directory: Path, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path.relative_to(directory)), "sha256": digest, "size": path.stat().st_size}
