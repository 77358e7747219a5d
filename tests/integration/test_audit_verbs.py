"""The verbs of auditors and operators on a trail on disk: what they print, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from octopus.cli import run
from octopus.control.audit_log import FileAuditLog
from octopus.control.audit_signing import Signer
from octopus.core.types import AuditEvent

NOON = 1_700_000_000.0
DAY = 86_400.0


async def write(directory: Path, events: Iterable[AuditEvent], clock: Callable[[], float] = lambda: NOON, **settings: Any) -> None:
    """Write a trail, one event after the other."""
    async with FileAuditLog(directory, clock=clock, **settings) as log:
        for event in events:
            await log.append(event)


def event(name: str, session: str = "s-1", **data: Any) -> AuditEvent:
    """Return an event of alice's session in a container."""
    target = {"app": "/web", "task": "web.1", "agent": "agent-1", "container": "c" * 12}
    return AuditEvent(event=name, key=f"{session}/{name}", session=session, login="alice", client="10.0.0.1:4000", target=target, data=data)


async def test_verify_tells_a_whole_trail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What there is, and exit status 0."""
    await write(tmp_path, [event("session.requested"), event("session.ended")])
    assert run(["verify", str(tmp_path)]) == 0
    assert capsys.readouterr() == (
        "4 lines in 1 files, 2 checkpoints (0 signed), 0 recordings\nthis trail is whole\n",
        "",
    )


async def test_verify_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """File, line and kind; exit status 1; what the trail holds does nothing to the terminal."""
    path = tmp_path / "audit.jsonl"
    await write(tmp_path, [event("session.requested"), event("session.ended", recordings=[{"path": "\x1b[2J", "sha256": "", "size": 1}])])
    path.write_bytes(path.read_bytes().replace(b"alice", b"mallory", 1))
    assert run(["verify", str(tmp_path)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "audit.jsonl:2: altered: its hash does not fit what it holds"
    assert told[1].startswith("audit.jsonl:3: recording: recording '\\x1b[2J' of session 's-1' is missing")
    assert told[-1] == "this trail is NOT whole"
    assert run(["verify", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["faults"]
    assert [(fault["file"], fault["line"], fault["kind"]) for fault in found] == [
        ("audit.jsonl", 2, "altered"),
        ("audit.jsonl", 3, "recording"),
    ]


async def test_verify_checks_signatures_by_the_keys_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one it says that it did not."""
    key = Ed25519PrivateKey.generate()
    private, public, audit = tmp_path / "key", tmp_path / "key.pub", tmp_path / "audit"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    await write(audit, [event("exec")], signer=Signer(private))
    assert run(["verify", str(audit), "--public-key", str(public)]) == 0
    assert "2 checkpoints (2 signed)" in capsys.readouterr().out
    assert run(["verify", str(audit)]) == 0
    assert "signatures were not checked" in capsys.readouterr().out
    assert run(["verify", str(audit), "--public-key", str(private)]) == 78
    assert run(["verify", str(tmp_path / "none")]) == 69
