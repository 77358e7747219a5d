"""Fetches what the pages need of others' work when octopus is built or installed: asciinema-player, pinned and checked.

Nothing of it is committed. Without npm or a network the build goes on and says so: a replay then offers the recording as a file.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VERSION = "3.18.0"
INTEGRITY = "sha512-5gpt2ipFcy4NKmgkv+c/QXnJ9zMicxqWROCOuJqgwwtiYKM8Qe9hnDOvfqke5bW6M2DW/seO3uQYkQ0xeUUVtw=="
FILES = ("dist/bundle/asciinema-player.min.js", "dist/bundle/asciinema-player.css", "LICENSE")
TARGET = Path("octopus", "admin", "static", "player")
ATTEMPTS = 3
TIMEOUT = 120


class PlayerHook(BuildHookInterface[Any]):
    """Puts the player beside the pages' own files before they are packed."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch it unless it is there already."""
        target = Path(self.root) / TARGET
        mark = target / "VERSION"
        if mark.is_file() and mark.read_text() == VERSION:
            return
        try:
            content = _fetched()
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            self.app.display_warning(f"asciinema-player {VERSION} was not fetched, the pages go without it: {error}")
            return
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name, data in content.items():
            (target / Path(name).name).write_bytes(data)
        mark.write_text(VERSION)


def _fetched() -> dict[str, bytes]:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("there is no npm")
    with tempfile.TemporaryDirectory() as folder:  # npm packs into the current one
        command = [npm, "pack", f"asciinema-player@{VERSION}", "--silent", "--fetch-retries=0", "--fetch-timeout=60000"]
        for attempt in range(1, ATTEMPTS + 1):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False)
            packages = list(Path(folder).glob("*.tgz"))
            if packages:
                return _checked(packages[0])
            sys.stderr.write(f"npm pack, attempt {attempt} of {ATTEMPTS}: {done.stderr[-500:]}\n")
    raise OSError(f"npm pack failed: {done.stderr[-500:]}")


def _checked(package: Path) -> dict[str, bytes]:
    digest = "sha512-" + base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if digest != INTEGRITY:
        raise ValueError(f"the package is not the one that was pinned: {digest}")
    found = {}
    with tarfile.open(package) as archive:
        for name in FILES:
            member = archive.extractfile(f"package/{name}")
            if member is None:
                raise ValueError(f"{name} is missing in the package")
            found[name] = member.read()
    return found
