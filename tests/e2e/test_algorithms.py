"""What the gateway offers a client, as ssh-audit grades it."""

from __future__ import annotations

import json

import pytest

from tests.e2e.gateway import HOST, program
from tests.e2e.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOT_YET = {
    ("curve25519-sha256", "does not provide protection against post-quantum attacks"),
    ("curve25519-sha256@libssh.org", "does not provide protection against post-quantum attacks"),
    ("diffie-hellman-group16-sha512", "does not provide protection against post-quantum attacks"),
}
"""Key exchanges for clients from before OpenSSH 9.9, to which nothing better can be offered: mlkem768x25519 is there for the others."""


async def test_ssh_audit_finds_nothing_to_mend(scene: Scene) -> None:
    """No algorithm fails, none is warned about but for what older clients cannot do without; AES-GCM comes first."""
    argv = [program("ssh-audit"), "--json", "--skip-rate-test", "-p", str(scene.gateway.port), HOST]
    ended = await scene.gateway.ssh.run_program(argv, stdin=None)
    found = json.loads(ended.stdout)
    offered = [one for kind in ("kex", "key", "enc", "mac") for one in found[kind]]
    fails = {(one["algorithm"], note) for one in offered for note in one["notes"].get("fail", ())}
    warnings = {(one["algorithm"], note) for one in offered for note in one["notes"].get("warn", ())}
    assert fails == set()
    assert warnings == NOT_YET
    assert found["cves"] == []
    assert "mlkem768x25519-sha256" in {one["algorithm"] for one in found["kex"]}
    assert found["enc"][0]["algorithm"] == "aes256-gcm@openssh.com"
