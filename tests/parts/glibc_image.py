"""An image like a small Debian, without a registry: bash, a few programs and the libraries they need, from this machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker.errors

from octopus.demo.images import Entry, archive, folder, link, plain
from tests.parts.engines import Engine
from tests.parts.tools import need

GLIBC = "octopus-test/glibc:latest"
"""/bin/bash (and /bin/sh), coreutils; socat as /opt/server, so that nothing on PATH but bash can connect anywhere."""

RSYNC = "octopus-test/rsync:latest"
"""The same with /bin/rsync."""

PROGRAMS = ("bash", "cat", "chmod", "env", "grep", "head", "mkdir", "rm", "sed", "sleep", "tail", "uname")
PATH = re.compile(r"(/[^ ]+) \(0x")


def ensure_glibc_image(engine: Engine) -> str:
    """Make the image where the engine lacks it; return its name."""
    return _ensure(engine, GLIBC, {})


def ensure_rsync_image(engine: Engine) -> str:
    """Make one that has rsync as well; return its name."""
    return _ensure(engine, RSYNC, {"bin/rsync": Path(need("rsync", "rsync"))})


def _ensure(engine: Engine, name: str, more: Mapping[str, Path]) -> str:
    with engine.api() as api:
        try:
            api.inspect_image(name)
        except docker.errors.ImageNotFound:
            changes = ['CMD ["/bin/sleep", "2147483647"]', "ENV PATH=/bin"]
            repository, _, tag = name.rpartition(":")
            api.import_image_from_data(archive(_root({**_programs(), **more})), repository=repository, tag=tag, changes=changes)
    return name


def _programs() -> dict[str, Path]:
    found = {f"bin/{name}": Path(need(name, "coreutils")) for name in PROGRAMS}
    return {**found, "opt/server": Path(need("socat", "socat"))}


def _root(programs: Mapping[str, Path]) -> Iterator[Entry]:
    yield plain("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n")
    yield folder("root", mode=0o700)
    yield folder("tmp", mode=0o1777)
    yield link("bin/sh", "/bin/bash")
    for name, path in programs.items():
        yield plain(name, path.read_bytes(), mode=0o755)
    for library in sorted({each for path in programs.values() for each in _libraries(path)}):
        yield plain(library.lstrip("/"), Path(library).read_bytes(), mode=0o755)


def _libraries(program: Path) -> list[str]:
    told = subprocess.run([need("ldd", "libc-bin"), str(program)], check=True, capture_output=True, text=True, timeout=30)
    return PATH.findall(told.stdout)
