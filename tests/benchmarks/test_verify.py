"""How fast a trail is proven, in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from octopus.control.audit_lines import fields_of
from octopus.control.audit_verify import verify
from octopus.core.chain import CHECKPOINT, CURRENT, HEAD, Link, seal
from octopus.core.types import AuditEvent

LINES = 100_000
NAMES = ("session.requested", "exec", "session.started", "session.ended")
TARGET = {"app": "/logging/logstash", "task": "logging_logstash.0a1b2c3d-1111-2222", "agent": "agent-1.corp.example", "container": "f" * 64}


def test_verify(tmp_path: Path, benchmark: Any) -> None:
    """A hundred thousand lines of some 550 bytes, as sessions leave them."""
    link = Link()
    with (tmp_path / CURRENT).open("wb") as file:
        for number in range(1, LINES + 1):
            name = CHECKPOINT if number == LINES else NAMES[number % 4]
            event = AuditEvent(event=name, key=f"{number}", session=f"s-{number}", login="alice", client="10.0.0.1:4000", target=TARGET)
            line, link = seal(link, fields_of(1.7e9, event))
            file.write(line)
    (tmp_path / HEAD).write_bytes(line)
    verdict = benchmark.pedantic(verify, args=(tmp_path,), rounds=3)
    assert (verdict.lines, verdict.faults) == (LINES, ())
