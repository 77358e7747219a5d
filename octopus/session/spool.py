"""Where a worker leaves events when it must end and nobody takes them: a file that the next supervisor hands in. Blocking."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from octopus.core.types import AuditEvent


def leave(directory: Path, worker: str, event: AuditEvent) -> None:
    """Append the event to the worker's file (0600), one JSON object a line; durable on return. Raise OSError."""
    path = directory / f"{worker}.jsonl"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "ab") as file:
        file.write(msgspec.json.encode(event) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    entry = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)
