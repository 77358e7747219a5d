"""The installed gateway ships its trail: what a collector and a store hold is what stands on the disk."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from octopus.demo.engines import free_port
from tests.e2e.people import People
from tests.e2e.planes import becomes
from tests.e2e.scene import Scene, behind, gateway_for, ldap, over_tls
from tests.parts.collector import Collector
from tests.parts.directory import Slapd
from tests.parts.object_store import ACCESS_KEY, BUCKET, SECRET_KEY, Swift

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


def metrics(address: str) -> str:
    """Return what Prometheus is told."""
    return httpx.get(f"http://{address}/metrics", timeout=30).text


async def test_a_session_is_on_other_machines_too(scene: Scene, company: Slapd, people: People, swift: Swift) -> None:
    """Its lines with the collector, byte for byte, also those of an outage; its recording in the store; check asks both."""
    collector, port = Collector(), free_port("127.0.0.1")
    keys = {"access_key_file": "./s3-access", "secret_key_file": "./s3-secret"}
    admin = f"127.0.0.1:{free_port('127.0.0.1')}"
    shipping: dict[str, Any] = {
        "admin": {"listen": admin},
        "audit": {"syslog": f"tcp://127.0.0.1:{port}", "syslog_timeout": "2s"},
        "audit.s3": {"bucket": BUCKET, "endpoint": swift.url, "prefix": "gate-1/", **keys},
    }
    files = {"s3-access": ACCESS_KEY, "s3-secret": SECRET_KEY}
    sections = (ldap(company), behind(scene.cluster), over_tls(scene.engines[0]), shipping)
    async with gateway_for(people, *sections, files=files, secrets={SECRET_KEY}) as gateway:
        await gateway.serves("web_front", key=people.alice.key)
        shown = await gateway.ssh.run("web_front", "echo shown", key=people.alice.key, options=["-tt"], stdin=None)
        assert shown.stdout == b"shown\r\n"
        await gateway.still()
        [recording] = gateway.recordings.rglob("*.cast")
        name = f"gate-1/recordings/{recording.relative_to(gateway.recordings)}"
        await becomes(lambda: swift.objects().get(name), recording.read_bytes())
        await becomes(lambda: 'octopus_shipping_failing{to="syslog"} 1.0' in metrics(admin), True)
        async with collector.listening(port):
            checked = await gateway.run("check", "--json")
            assert checked.stdout.count(b" answers") >= 2, checked
            await becomes(lambda: set(gateway.trail.path.read_bytes().splitlines()) - set(collector.lines), set(), within=60)
            await becomes(lambda: 'octopus_shipping_waiting_bytes{to="syslog"} 0.0' in metrics(admin), True)
            kept = set(gateway.trail.path.read_bytes().splitlines())
            assert kept >= set(collector.lines)
