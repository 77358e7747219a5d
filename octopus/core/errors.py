"""The errors of octopus: one class for each thing the program tells apart.

Each speaks to three audiences: ``notice`` to the person, ``str(error)`` to the operator's log, the type to the program.

OctopusError
├── Refused                 the person can act
│   ├── InvalidTarget 64 · AmbiguousTarget 64 · InvalidRequest 64
│   ├── NoSuchTarget 68
│   ├── TooManySessions 75 · AppLocked 75
│   └── AuthenticationFailed 77 · AccessDenied 77
├── Unavailable 69          something behind us; the operator acts
│   └── Directory-, Orchestrator-, Container-, Recording-, Audit-, Control-, ShippingUnavailable
├── InvalidDocument 65      a file that somebody gave us
├── InvalidRecording 65     so is a file to replay
├── BadUpstream 76          a peer broke its own format
├── OutputFailed 74         what a verb prints finds no place
├── Disconnected            nobody is left to tell
├── SessionEnded            ended from this side
└── ConfigError 78
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

MAX_EXCERPT = 200
"""Characters of upstream text that may enter an operator's log line."""


def printable(text: str, limit: int = MAX_EXCERPT) -> str:
    """Return ``text`` with everything a terminal could act on escaped, cut to ``limit`` characters.

    Bytes that are no text, as Python carries them in names and arguments (PEP 383), are shown as bytes.
    """
    shown = "".join(char if char.isprintable() else _escaped(char) for char in text[: limit + 1])
    return shown if len(shown) <= limit else shown[:limit] + "…"


def _escaped(char: str) -> str:
    return f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else char.encode("unicode_escape").decode("ascii")


class OctopusError(Exception):
    """Base of every error that octopus raises on purpose; ``str(error)`` is for the operator."""

    exit_status: ClassVar[int] = 70
    http_status: ClassVar[int] = 500
    level: ClassVar[str] = "error"
    default_notice: ClassVar[str] = "internal error"

    def __init__(self, message: str = "", *, notice: str = "") -> None:
        self.notice = printable(notice, 1000) or self.default_notice
        super().__init__(message or self.notice)


class Refused(OctopusError):
    """The request cannot be granted as it stands; the person can act."""

    level = "info"
    exit_status = 77
    http_status = 403
    default_notice = "access denied"


class InvalidTarget(Refused):
    """The name in front of the ``@`` is not one octopus can read."""

    exit_status = 64
    http_status = 400
    default_notice = "that is not a name of a task or an app"


class InvalidRequest(Refused):
    """The request itself is malformed (a command that is not UTF-8, an unknown subsystem)."""

    exit_status = 64
    http_status = 400
    default_notice = "that request cannot be served"


class AmbiguousTarget(Refused):
    """The name fits several tasks, apps or agents, all of which the person may see: ``candidates``, not listed in the notice."""

    exit_status = 64
    http_status = 409
    default_notice = "several running tasks match"

    def __init__(self, message: str = "", *, notice: str = "", candidates: Iterable[str] = ()) -> None:
        super().__init__(message, notice=notice)
        self.candidates = tuple(candidates)


class NoSuchTarget(Refused):
    """No running task the person may see fits the name."""

    exit_status = 68
    http_status = 404
    default_notice = "no running task matches"


class TooManySessions(Refused):
    """A limit on concurrent sessions is reached."""

    exit_status = 75
    http_status = 429
    default_notice = "too many sessions"


class AppLocked(Refused):
    """A deployment of the app is under way: it can be scaled once that is over."""

    exit_status = 75
    http_status = 409
    default_notice = "a deployment of the app is under way, try again later"


class AuthenticationFailed(Refused):
    """The person could not be proven; its text is the same whatever the reason was."""

    http_status = 401
    default_notice = "authentication failed"


class AccessDenied(Refused):
    """The policy does not allow it."""


class Unavailable(OctopusError):
    """Something behind the gateway does not answer; the operator acts."""

    exit_status = 69
    http_status = 503
    level = "warning"
    default_notice = "a service behind the gateway is unavailable"


class DirectoryUnavailable(Unavailable):
    """No LDAP server answers."""

    default_notice = "the directory is unavailable, try again later"


class OrchestratorUnavailable(Unavailable):
    """No Mesos master or Marathon answers and nothing is known yet."""

    default_notice = "the cluster's state is unavailable, try again later"


class ContainerUnavailable(Unavailable):
    """The agent's engine or the container cannot be reached or entered."""

    default_notice = "the container is unavailable"


class RecordingUnavailable(Unavailable):
    """The recording cannot be written; without it there is no session."""

    default_notice = "the session cannot be recorded"


class AuditUnavailable(Unavailable):
    """The audit trail cannot be written; without it there is no session."""

    default_notice = "the audit trail cannot be written"


class ControlUnavailable(Unavailable):
    """The control plane does not answer (it is being restarted)."""

    default_notice = "the gateway is restarting, try again in a moment"


class ShippingUnavailable(Unavailable):
    """A collector or a store does not take what is shipped to it; it waits on the disk."""

    default_notice = "what is shipped waits"


class BadUpstream(OctopusError):
    """A peer broke its own format; carries where it came from and a short, escaped excerpt."""

    exit_status = 76
    http_status = 502
    level = "warning"
    default_notice = "a service behind the gateway gave a wrong answer"

    def __init__(self, source: str, problem: str, excerpt: bytes | str = b"") -> None:
        text = excerpt.decode("utf-8", "replace") if isinstance(excerpt, bytes) else excerpt
        self.source = source
        self.excerpt = printable(text)
        super().__init__(f"{source}: {problem}" + (f": {self.excerpt}" if text else ""))


class InvalidDocument(OctopusError):
    """A document somebody gave us is not what it should be; ``faults`` are all paths in it with what is wrong there.

    ``source`` is its name, where it has one.
    """

    exit_status = 65
    http_status = 422
    level = "info"
    default_notice = "the document is not valid"

    def __init__(self, faults: Iterable[tuple[str, str]], *, source: str = "") -> None:
        self.faults = tuple(faults)
        text = (f"{source}: " if source else "") + "; ".join(f"{path or '/'}: {fault}" for path, fault in self.faults)
        super().__init__(text, notice=text)


class InvalidRecording(OctopusError):
    """What was to be replayed is no recording."""

    exit_status = 65
    http_status = 422
    level = "info"
    default_notice = "that is no recording"


class OutputFailed(OctopusError):
    """What a verb prints cannot be written: the disk is full."""

    exit_status = 74
    default_notice = "the output cannot be written"


class Disconnected(OctopusError):
    """The client is gone: nobody is left to tell."""

    exit_status = 129
    http_status = 499
    level = "info"
    default_notice = "disconnected"


class SessionEnded(OctopusError):
    """The session was ended from this side: idle for too long, or by an operator."""

    exit_status = 129
    http_status = 410
    level = "info"
    default_notice = "this session was ended"


class ConfigError(OctopusError):
    """The configuration has faults; ``faults`` lists them all, one line each."""

    exit_status = 78
    http_status = 500
    default_notice = "the configuration is not valid"

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults), notice="; ".join(self.faults))
