"""The ports: what one room needs of another, each with a real implementation and a fake under the same contract test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from octopus.core.types import AuditEvent, ExecSpec, Exit, Identity, Output, Target, TermSize


class Directory(Protocol):
    """Who people are: LDAP or the users file."""

    async def check_password(self, login: str, password: str) -> Identity:
        """Return who that is. Raise AuthenticationFailed (any reason, one text) or DirectoryUnavailable."""
        ...

    async def look_up(self, login: str, method: str) -> Identity:
        """Return a person proven by other means (key, certificate), with fresh groups and account state.

        Raise AuthenticationFailed when unknown, ambiguous, disabled or expired; DirectoryUnavailable.
        """
        ...

    async def key_owners(self, fingerprint: str) -> tuple[str, ...]:
        """Return the logins that own the public key with this ``SHA256:…`` fingerprint; () when nobody does."""
        ...


class ExecStream(Protocol):
    """A started command in a container."""

    container: str
    """The engine's id of the container that was entered."""

    def output(self) -> AsyncIterator[Output]:
        """Yield output as it comes, until the end of the stream. To be iterated once."""
        ...

    async def write(self, data: bytes) -> None:
        """Send input; waits while the engine's buffer is full."""
        ...

    async def write_eof(self) -> None:
        """Half-close; with a terminal the line discipline's VEOF (^D) instead."""
        ...

    async def resize(self, size: TermSize) -> None:
        """Set the terminal's size; the latest of a storm wins."""
        ...

    async def signal(self, name: str) -> None:
        """Deliver a signal by its RFC 4254 name to the command."""
        ...

    async def wait(self) -> Exit:
        """Return how it ended, once the output is drained. Raise ContainerUnavailable when that cannot be known."""
        ...


class ExecBackend(Protocol):
    """Starts commands in containers."""

    def start(self, target: Target, spec: ExecSpec) -> AbstractAsyncContextManager[ExecStream]:
        """Check the container against the target, start the command; on leaving, end what is left of it.

        Raise ContainerUnavailable (its engine, or the container, which may be gone or not the task's), InvalidRequest (no shell).
        """
        ...

    async def reap(self, target: Target, spec: ExecSpec) -> bool:
        """End every process of the session in the container; False when that could not be done (no shell)."""
        ...

    async def aclose(self) -> None:
        """Release connections and threads."""
        ...


class AuditLog(Protocol):
    """The audit trail."""

    async def append(self, event: AuditEvent) -> None:
        """Return once the event is durable (or was already there, by its key). Raise AuditUnavailable."""
        ...
