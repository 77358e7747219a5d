"""Copies of files that a rule keeps, as an auditor finds them: on the trail, proven by ``octopus verify``, private."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.e2e.gateway import Sections
from tests.e2e.scene import Scene, behind, gateway_for, over_tls
from tests.parts.tools import need

pytestmark = pytest.mark.asyncio(loop_scope="session")

USERS: Sections = {"auth.users": {"file": "users.toml"}}
RULES: Sections = {"policy": [{"users": ["alice"], "apps": ["/**"], "allow": ["exec", "download", "upload"], "keep_files": "1MB"}]}
SMALL = bytes(range(256)) * 1000


async def test_copies_are_proven(scene: Scene, tmp_path: Path) -> None:
    """A small file each way, with and without a shell in the image, is kept; a larger one is not; one that is altered is found."""
    (tmp_path / "small").write_bytes(SMALL)
    (tmp_path / "large").write_bytes(bytes(2_000_000))
    key = scene.people.alice.key
    async with gateway_for(scene.people, USERS, behind(scene.cluster), over_tls(scene.engines[0]), RULES) as gateway:
        await gateway.serves("web_front", key=key)
        await gateway.still()
        record = gateway.trail.from_now()
        scp = [need("scp", "openssh-client"), *gateway.ssh.options, "-i", str(key)]
        for name in ("web_front", "ops_bare"):
            there = f"{name}@{gateway.ssh.host}:"
            for words in (
                [str(tmp_path / "small"), str(tmp_path / "large"), f"{there}/"],
                [f"{there}/small", str(tmp_path / f"{name}-back")],
            ):
                ended = await gateway.ssh.run_program([*scp, *words], stdin=None)
                assert ended.status == 0, ended.stderr
        told = [event for story in await record.sessions(4) for event in story.events if event["event"].startswith("file.")]
        kept = [event for event in told if "recordings" in event]
        assert sorted(event["event"] for event in kept) == ["file.downloaded"] * 2 + ["file.uploaded"] * 2
        assert [event["not_kept"] for event in told if "not_kept" in event] == ["more than 1000000 bytes"] * 2
        copies = [gateway.recordings / event["recordings"][0]["path"] for event in kept]
        assert all(copy.read_bytes() == SMALL and stat.S_IMODE(copy.stat().st_mode) == 0o600 for copy in copies)
        proven = await gateway.run("verify")
        assert (proven.status, b"4 recordings" in proven.stdout) == (0, True), proven.stdout
        copies[0].write_bytes(SMALL[::-1])
        refuted = await gateway.run("verify")
        assert (refuted.status, copies[0].name.encode() in refuted.stdout) == (1, True), refuted.stdout
        copies[0].write_bytes(SMALL)  # what a gateway leaves is held to its proofs
