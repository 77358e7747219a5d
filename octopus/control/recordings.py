"""Recordings whose worker died: given their final name, with whole lines only, so that they replay. Blocking."""

from __future__ import annotations

import glob
import hashlib
import os
from pathlib import Path
from typing import Any

from octopus.control.whole_lines import end_of_last_line


def complete(directory: Path, session: str) -> list[dict[str, Any]]:
    """Close what is left open of a session's recordings; return path (below ``directory``), sha256 and size of each. Raise OSError."""
    name = glob.escape(session)
    for part in directory.glob(f"*/*/*/{name}.cast.part"):
        _close(part)
    return [_described(directory, path) for path in sorted(directory.glob(f"*/*/*/{name}.cast"))]


def _close(part: Path) -> None:
    with part.open("r+b") as file:
        file.truncate(end_of_last_line(file.fileno(), os.fstat(file.fileno()).st_size))
        os.fsync(file.fileno())
    part.rename(part.with_suffix(""))


def _described(directory: Path, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path.relative_to(directory)), "sha256": digest, "size": path.stat().st_size}
