"""Two images without a registry, both from Debian's static busybox: one with a shell, one with two programs and nothing else."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker.errors

BUSYBOX = "octopus-demo/busybox:latest"
"""Every applet, users root and app (uid 1000, both with /bin/sh), /tmp; runs until it is stopped."""

SHELLLESS = "octopus-demo/shellless:latest"
"""Only /cat and /sleep: one static program that acts by the name it is called by; no shell, no /etc/passwd."""

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"  # noqa: S105  it holds no password
GROUP = "root:x:0:\napp:x:1000:\nnogroup:x:65534:\n"

Entry = tuple[tarfile.TarInfo, bytes]


def busybox_program() -> Path:
    """Return Debian's static busybox (package busybox-static). Raise FileNotFoundError."""
    for path in (Path("/bin/busybox"), Path("/usr/bin/busybox")):
        # the package busybox has the same path, but asks for a loader that an image of ours does not hold
        if path.is_file() and b"ld-linux" not in path.read_bytes()[:4096]:
            return path
    raise FileNotFoundError("no busybox: install Debian's package busybox-static")


def ensure_images(api: Any, program: Path | None = None) -> None:
    """Import the images that the engine behind ``api`` (a docker.APIClient) lacks. Raise FileNotFoundError."""
    program = program or busybox_program()
    for name, entries, changes in (
        (BUSYBOX, busybox_root, ['CMD ["/bin/sleep", "2147483647"]', "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin"]),
        (SHELLLESS, shellless_root, ['CMD ["/sleep", "2147483647"]']),
    ):
        try:
            api.inspect_image(name)
        except docker.errors.ImageNotFound:
            repository, _, tag = name.rpartition(":")
            api.import_image_from_data(archive(entries(program)), repository=repository, tag=tag, changes=changes)


def busybox_root(program: Path) -> Iterator[Entry]:
    """Yield a root file system with every applet of ``program``."""
    for name in ("bin", "dev", "etc", "proc", "sbin", "sys", "usr", "usr/bin", "usr/sbin", "var", "run"):
        yield folder(name)
    yield folder("tmp", mode=0o1777)
    yield folder("root", mode=0o700)
    yield folder("home")
    yield folder("home/app", owner=1000)
    yield plain("etc/passwd", PASSWD.encode())
    yield plain("etc/group", GROUP.encode())
    yield plain("bin/busybox", program.read_bytes(), mode=0o755)
    for path in applets(program):
        yield link(path, "/bin/busybox")


def shellless_root(program: Path) -> Iterator[Entry]:
    """Yield a root file system that holds ``program`` under two names and nothing else."""
    content = program.read_bytes()
    yield plain("cat", content, mode=0o755)
    yield plain("sleep", content, mode=0o755)


def applets(program: Path) -> list[str]:
    """Return where the applets of busybox belong, relative to the root (``bin/sh``)."""
    answer = subprocess.run([program, "--list-full"], check=True, capture_output=True, text=True, timeout=10)  # noqa: S603
    return [path for path in answer.stdout.split() if path != "bin/busybox" and "/" in path]


def archive(entries: Iterable[Entry]) -> bytes:
    """Return the entries as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def folder(name: str, *, mode: int = 0o755, owner: int = 0) -> Entry:
    """Return a directory."""
    return _info(name, {"type": tarfile.DIRTYPE, "mode": mode, "uid": owner, "gid": owner}), b""


def plain(name: str, content: bytes, *, mode: int = 0o644) -> Entry:
    """Return a file of root's."""
    return _info(name, {"mode": mode, "size": len(content)}), content


def link(name: str, to: str) -> Entry:
    """Return a symbolic link."""
    return _info(name, {"type": tarfile.SYMTYPE, "linkname": to, "mode": 0o777}), b""


def _info(name: str, fields: Mapping[str, Any]) -> tarfile.TarInfo:
    """Return a tar header with these fields set."""
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info
