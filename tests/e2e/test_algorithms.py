"""What the gateway offers a client, as ssh-audit grades it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncssh
import pytest

from tests.e2e.gateway import HOST, Gateway, program
from tests.e2e.scene import Scene, behind, gateway_for, ldap, over_tls
from tests.parts.directory import Slapd

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOT_YET = {
    ("curve25519-sha256", "does not provide protection against post-quantum attacks"),
    ("curve25519-sha256@libssh.org", "does not provide protection against post-quantum attacks"),
    ("diffie-hellman-group16-sha512", "does not provide protection against post-quantum attacks"),
}
"""Key exchanges for clients from before OpenSSH 9.9, to which nothing better can be offered: mlkem768x25519 is there for the others."""


async def test_ssh_audit_finds_nothing_to_mend(scene: Scene) -> None:
    """No algorithm fails, none is warned about but for what older clients cannot do without; AES-GCM comes first.

    The test of rates is about Diffie-Hellman with a client's numbers: by group16 a key exchange takes 3 ms here, half of a login,
    and no address has more than ``max_unauthenticated_per_address`` at a time. Where it is not offered, below, that test is run.
    """
    found = await audited(scene.gateway, "--skip-rate-test")
    assert notes(found, "fail") == set()
    assert notes(found, "warn") == NOT_YET
    assert found["cves"] == []
    assert "mlkem768x25519-sha256" in {one["algorithm"] for one in found["kex"]}
    assert found["enc"][0]["algorithm"] == "aes256-gcm@openssh.com"


async def test_post_quantum_required(scene: Scene, company: Slapd) -> None:
    """With ``post_quantum = "required"`` ssh-audit warns of nothing; who knows such a key exchange gets in, others learn why not."""
    parts = (ldap(company), behind(scene.cluster), over_tls(scene.engines[0]), {"ssh": {"post_quantum": "required"}})
    async with gateway_for(scene.people, *parts) as gateway:
        found = await audited(gateway)
        assert notes(found, "fail") | notes(found, "warn") == set()
        assert found["cves"] == []
        assert found["additional_notes"] == []
        assert await said(gateway, scene) == "in\n"
        command = gateway.ssh.command("web_front", "true", key=scene.people.alice.key, options=["-o", "KexAlgorithms=curve25519-sha256"])
        refused = await gateway.ssh.run_program(["LogLevel=INFO" if word == "LogLevel=ERROR" else word for word in command])
        assert refused.status == 255
        assert b"no matching key exchange method found. Their offer: mlkem768x25519-sha256" in refused.stderr


async def audited(gateway: Gateway, *options: str) -> dict[str, Any]:
    """Return what ssh-audit has to say."""
    argv = [program("ssh-audit"), "--json", *options, "-p", str(gateway.port), HOST]
    ended = await gateway.ssh.run_program(argv, stdin=None)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def notes(found: dict[str, Any], level: str) -> set[tuple[str, str]]:
    """Return each algorithm with its note of that level."""
    offered = [one for kind in ("kex", "key", "enc", "mac") for one in found[kind]]
    return {(one["algorithm"], note) for one in offered for note in one["notes"].get(level, ())}


async def said(gateway: Gateway, scene: Scene) -> str:
    """Return what a client with a post-quantum key exchange is told in a task, once it can be entered."""
    key = asyncssh.read_private_key(scene.people.alice.key)
    async with (
        asyncio.timeout(60),
        asyncssh.connect(
            HOST,
            gateway.port,
            username="web_front",
            client_keys=[key],
            known_hosts=None,
            config=None,
            agent_path=None,
            kex_algs=["mlkem768x25519-sha256"],
        ) as connection,
    ):
        while (ended := await connection.run("echo in")).exit_status:  # noqa: ASYNC110  the feeds read on their own
            await asyncio.sleep(0.05)
        return str(ended.stdout)
