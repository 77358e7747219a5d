"""What we read of the Engine API's answers (v1.24 and newer); all else is ignored."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TypeVar

import msgspec

from octopus.core.errors import BadUpstream

T = TypeVar("T")

OLDEST = (1, 24)
NEWEST = (1, 45)
"""The newest version whose answers we know; the API only grows, so an engine that wants a newer one gets its oldest."""

_SYMLINK = 1 << 27
_DIRECTORY = 1 << 31
_SETUID, _SETGID, _STICKY = 1 << 23, 1 << 22, 1 << 20
_NOT_REGULAR = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19
_EXECUTABLE = 0o111


class Wire(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """Base: the engine names its fields in PascalCase."""


class Version(Wire, frozen=True, kw_only=True):
    """GET /version."""

    api_version: str
    min_api_version: str = msgspec.field(name="MinAPIVersion", default="1.12")


class State(Wire, frozen=True, kw_only=True):
    """A container's state."""

    running: bool = False
    paused: bool = False
    restarting: bool = False
    started_at: str = ""


class ContainerConfig(Wire, frozen=True, kw_only=True):
    """How a container was made; ``user`` is the image's, "" for root, ``working_dir`` where commands start, "" for /.

    With ``tty`` its standard output is a terminal's, and its log no frames.
    """

    tty: bool = False
    user: str = ""
    working_dir: str = ""


class HostConfig(Wire, frozen=True, kw_only=True):
    """How a container is run; the keys of ``tmpfs`` are where its memory file systems are.

    ``network_mode`` is ``host``, ``bridge``, ``default``, ``none``, a network's name or ``container:ID``.
    """

    tmpfs: dict[str, str] | None = None
    network_mode: str = ""


class Mount(Wire, frozen=True, kw_only=True):
    """A folder of the host, or a volume, in a container."""

    type: str = ""
    source: str = ""
    destination: str = ""


class PortBinding(Wire, frozen=True, kw_only=True):
    """Where on the engine's host a container's port is mapped."""

    host_ip: str = ""
    host_port: str = ""


class NetworkSettings(Wire, frozen=True, kw_only=True):
    """A running container's mapped ports (``8080/tcp``) and its networks by name."""

    ports: dict[str, tuple[PortBinding, ...] | None] | None = None
    networks: dict[str, object] | None = None


class Container(Wire, frozen=True, kw_only=True):
    """GET /containers/ID/json."""

    id: str
    name: str
    state: State
    config: ContainerConfig = ContainerConfig()
    host_config: HostConfig = HostConfig()
    mounts: tuple[Mount, ...] | None = ()
    network_settings: NetworkSettings = NetworkSettings()


class Listed(Wire, frozen=True, kw_only=True):
    """One of GET /containers/json; ``created`` in seconds since 1970."""

    id: str
    names: tuple[str, ...] | None = ()
    created: int = 0
    mounts: tuple[Mount, ...] | None = ()


class Created(Wire, frozen=True, kw_only=True):
    """POST /containers/ID/exec."""

    id: str


class Exec(Wire, frozen=True, kw_only=True):
    """GET /exec/ID/json; ``exit_code`` is null until it is known."""

    running: bool
    exit_code: int | None = None


class Top(Wire, frozen=True, kw_only=True):
    """GET /containers/ID/top: what ps says on the engine's host."""

    titles: tuple[str, ...]
    processes: tuple[tuple[str, ...], ...] | None = ()


class Fault(msgspec.Struct, frozen=True):
    """The body of a 4xx or 5xx."""

    message: str = ""


class PathStat(msgspec.Struct, frozen=True, rename="camel"):
    """HEAD /containers/ID/archive; ``mode`` is Go's os.FileMode."""

    mode: int
    size: int = 0
    mtime: str = ""
    link_target: str = ""

    @property
    def permissions(self) -> int:
        """The lower twelve bits as ``chmod`` takes them."""
        special = (_SETUID, 0o4000), (_SETGID, 0o2000), (_STICKY, 0o1000)
        return self.mode & 0o777 | sum(bit for go, bit in special if self.mode & go)

    @property
    def seconds(self) -> int:
        """The time of the last change in whole seconds since 1970, 0 where it cannot be read."""
        try:
            return int(datetime.fromisoformat(self.mtime).timestamp())
        except ValueError:
            return 0

    @property
    def directory(self) -> bool:
        """Whether it is a directory."""
        return bool(self.mode & _DIRECTORY)

    @property
    def symlink(self) -> bool:
        """Whether the path itself is a symbolic link."""
        return bool(self.mode & _SYMLINK)

    @property
    def regular(self) -> bool:
        """Whether it is a file: no folder, link, device, pipe or socket."""
        return not self.mode & _NOT_REGULAR

    @property
    def executable(self) -> bool:
        """Whether it is a file that anybody may execute."""
        return self.regular and bool(self.mode & _EXECUTABLE)


def decode(body: bytes, kind: type[T]) -> T:
    """Read an answer. Raise BadUpstream."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadUpstream("engine", str(error), body) from error


def decode_stat(header: str) -> PathStat:
    """Read X-Docker-Container-Path-Stat. Raise BadUpstream."""
    try:
        return decode(base64.b64decode(header, validate=True), PathStat)
    except ValueError as error:  # binascii's own is one too
        raise BadUpstream("engine", "a path stat that is not base64", header) from error


def fault_text(body: bytes) -> str:
    """Return the engine's message in an error's body, or the body itself."""
    try:
        return msgspec.json.decode(body, type=Fault).message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace")


def negotiate(version: Version) -> tuple[int, int]:
    """Return the API version to speak: the engine's own, within what we know. Raise BadUpstream."""
    theirs, least = _parse(version.api_version), _parse(version.min_api_version)
    chosen = max(min(theirs, NEWEST), least)
    if chosen < OLDEST:
        raise BadUpstream("engine", f"its API {version.api_version} is older than {OLDEST[0]}.{OLDEST[1]}")
    return chosen


def _parse(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if not (major.isdecimal() and minor.isdecimal() and len(text) < 10 and text.isascii()):
        raise BadUpstream("engine", "not an API version", text)
    return int(major), int(minor)
