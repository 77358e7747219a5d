"""Values that pass between rooms and between the two planes (msgspec structs: immutable, and JSON on the wire)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

MAX_COLS = 1000
MAX_ROWS = 1000


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the values: immutable, compared by content, fields by name."""


class Identity(Value, frozen=True, kw_only=True):
    """A person whom the directory has vouched for; ``method`` is how (RFC 4252 name, or ``certificate``)."""

    login: str
    groups: frozenset[str] = frozenset()
    method: str

    def __post_init__(self) -> None:
        """Refuse the empty login: it is nobody."""
        if not self.login:
            raise ValueError("an identity needs a login")


class TermSize(Value, frozen=True, kw_only=True):
    """A terminal's size in character cells, always named: SSH and Docker order them differently."""

    cols: int
    rows: int

    @classmethod
    def clamped(cls, *, cols: int, rows: int) -> TermSize:
        """Return a size within 1…1000 each; 0 (unknown, RFC 4254 6.2) becomes 80 x 24."""
        return cls(cols=min(cols, MAX_COLS) if cols > 0 else 80, rows=min(rows, MAX_ROWS) if rows > 0 else 24)


class Pty(Value, frozen=True, kw_only=True):
    """A pty-req (RFC 4254 6.2)."""

    term: str
    size: TermSize


class RequestKind(StrEnum):
    """What a channel asks for; but for the last two also the words of a rule's ``allow``.

    A transfer of files (``sftp``, ``scp``) is let in by ``download`` or ``upload``, and checked again at each operation.
    """

    SHELL = "shell"
    EXEC = "exec"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    FORWARD = "forward"
    LOGS = "logs"
    SFTP = "sftp"
    SCP = "scp"


TRANSFERS = frozenset({RequestKind.SFTP, RequestKind.SCP})
"""Requests that are served on a container's files, without a command."""
CAPABILITIES = frozenset(RequestKind) - TRANSFERS
"""The words of a rule's ``allow``."""


class SessionRequest(Value, frozen=True, kw_only=True):
    """One request on one channel. ``command`` is that of exec, scp and logs; ``env`` as the client sent it."""

    kind: RequestKind
    command: str | None = None
    pty: Pty | None = None
    env: dict[str, str] = {}


class Connection(Value, frozen=True, kw_only=True):
    """One SSH connection, as the audit trail names it: ``client`` is ``ip:port``.

    ``worker`` is the session worker that serves it; the worker's half of the plane fills it in, "" is this very process.
    """

    id: str
    client: str
    user_name: str = ""
    client_version: str = ""
    worker: str = ""

    @property
    def address(self) -> str:
        """The client's address without its port."""
        return self.client.rpartition(":")[0].strip("[]")


class EngineAddress(Value, frozen=True, kw_only=True):
    """Where an agent's Docker engine answers: unix://, http://, https:// (client certificate files) or ssh://."""

    url: str
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    ssh_key: str = ""
    ssh_known_hosts: str = ""


class ContainerClue(Value, frozen=True, kw_only=True):
    """What Mesos says that leads to a container on its agent (mesos-marathon.md 1.2, 1.3).

    ``container_id`` is the Mesos container UUID, "" where the master does not say (before 1.2); ``parents`` are the
    outer containers of a pod's task, nearest first. With a plain engine ``engine_id`` is the Docker id and the rest is "".
    """

    agent_id: str = ""
    framework_id: str = ""
    executor_id: str = ""
    task_id: str = ""
    container_id: str = ""
    parents: tuple[str, ...] = ()
    containerizer: str = "docker"
    engine_id: str = ""


class Target(Value, frozen=True, kw_only=True):
    """One running container to enter: all from Mesos and Marathon, nothing from the container's own environment.

    ``newest`` is when the newest running task of the app had started (seconds since 1970): one that starts later replaces it.
    """

    app: str
    task: str
    agent: str
    engine: EngineAddress
    clue: ContainerClue
    labels: dict[str, str] = {}
    ports: tuple[int, ...] = ()
    agent_ip: str = ""
    agent_port: int = 0
    newest: float = 0.0


class ExecSpec(Value, frozen=True, kw_only=True):
    """What to start in the container; made only by ``policy.decide``.

    ``command`` None means the user's login shell; otherwise it goes whole to ``/bin/sh -c``. ``user`` "" is the image's.
    ``token`` marks every process of the session in its environment (``OCTOPUS_SESSION``) so that it can be found and ended.
    """

    command: str | None
    pty: Pty | None
    env: dict[str, str]
    user: str
    token: str
    keep_background: bool = False


class Obligations(Value, frozen=True, kw_only=True):
    """What a rule asks of the session it allows. Times in seconds, 0 is off.

    ``record_output`` is of how many bytes of a command's output, where it has no terminal, there is a recording.
    """

    record_input: bool = False
    record_output: int = 0
    idle_timeout: float = 0.0
    max_sessions: int = 0


class FileRights(Value, frozen=True, kw_only=True):
    """What a transfer may do: ``paths`` are globs over resolved paths, () is every path. Of files up to ``keep`` bytes the
    gateway keeps a copy, 0 is of none.
    """

    download: bool = False
    upload: bool = False
    paths: tuple[str, ...] = ()
    keep: int = 0


class Allow(Value, frozen=True, kw_only=True):
    """The policy says yes; ``rule`` names the rule by its place in the file (``policy[2]``) or ``label``.

    ``forward_localhost`` adds the ports of the container's own loopback to those that may be forwarded.
    """

    spec: ExecSpec
    rule: str
    obligations: Obligations = Obligations()
    files: FileRights = FileRights()
    forward_localhost: bool = False


class Deny(Value, frozen=True, kw_only=True):
    """The policy says no; ``rule`` is "" when none matched."""

    rule: str = ""


class Output(Value, frozen=True, kw_only=True):
    """Bytes the container wrote."""

    data: bytes
    stderr: bool = False


class Input(Value, frozen=True, kw_only=True):
    """Bytes the person sent."""

    data: bytes


class InputEof(Value, frozen=True, kw_only=True):
    """The person's side is at its end (channel EOF); output goes on."""


class Resize(Value, frozen=True, kw_only=True):
    """A window change."""

    size: TermSize


class Signal(Value, frozen=True, kw_only=True):
    """A signal request (RFC 4254 6.9): the name without ``SIG``."""

    name: str


class Exit(Value, frozen=True, kw_only=True):
    """How the command ended: its status as a shell tells it; ``container_gone`` when the container ended with it."""

    status: int
    container_gone: bool = False


class Mark(Value, frozen=True, kw_only=True):
    """Something to know at this place of a recording."""

    text: str


ClientEvent = Input | InputEof | Resize | Signal


class AuditEvent(Value, frozen=True, kw_only=True):
    """One thing that happened, before it has a place in the chain.

    ``key`` makes writing it twice harmless: the log drops a key it already holds (a worker that saw no answer asks again).
    ``target`` holds ``app``, ``task``, ``agent``, ``container``.
    """

    event: str
    key: str
    session: str = ""
    login: str = ""
    client: str = ""
    target: dict[str, str] = {}
    data: dict[str, Any] = {}

    @property
    def once(self) -> str:
        """The key under which the trail holds it: a terminal event's is its session's, whoever writes it."""
        return terminal_key(self.session) if self.is_terminal else self.key

    @property
    def is_terminal(self) -> bool:
        """Whether a session ends with this event."""
        return bool(self.session) and self.event in TERMINAL_EVENTS


TERMINAL_EVENTS = frozenset({"session.denied", "session.ended", "session.failed"})
"""Of these a session has exactly one, whatever happened."""


def terminal_key(session: str) -> str:
    """Return the key of a session's terminal event."""
    return f"{session}/end"


class UserName(Value, frozen=True, kw_only=True):
    """An SSH user name, read: ``[login+]target``. ``target`` is None when there is none (``alice+``)."""

    login: str = ""
    target: TargetName | None = None


class TargetName(Value, frozen=True, kw_only=True):
    """A target as typed; only ``names.parse`` makes one.

    ``text`` is the whole name, ``body`` the app, task id, prefix or container without its suffixes, ``instance`` N of
    ``~N`` (0: none), ``any`` is ``~any``, ``agent`` what follows the first ``@``.
    """

    text: str
    body: str
    instance: int = 0
    any: bool = False
    agent: str = ""
