"""The gateway's figures as monitoring reads them: from /metrics and by StatsD, and through a failover of the master."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from octopus.demo.cluster import DemoCluster
from octopus.demo.engines import free_port
from octopus.demo.resources import Resources
from tests.e2e.gateway import HOST, Gateway, Sections, program
from tests.e2e.people import People
from tests.e2e.scene import Scene, behind, gateway_for, over_tls

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATIENCE = 60
TOKEN = "a-machines-own-token"
TOKENS = f'[[token]]\nname = "ci"\nsha256 = "{hashlib.sha256(TOKEN.encode()).hexdigest()}"\nrole = "viewer"\n'
FREE = 'octopus_cluster_free{resource="cpus",role="*"}'


@dataclass
class Told:
    """What a gateway tells at its ``/metrics``."""

    gateway: Gateway
    url: str

    async def told(self) -> dict[str, float]:
        """Return what is scraped now, each sample as in a query."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.url}/metrics")).text
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    async def until(self, name: str, value: float | None) -> dict[str, float]:
        """Wait until a figure has a value, None: is not there; return all of that moment."""
        found: dict[str, float] = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while (found := await self.told()).get(name) != value:  # noqa: ASYNC110  (another process)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{name} is {found.get(name)}, not {value}: {sorted(found)}\n{self.gateway.log[-3000:]}") from None
        return found


@dataclass
class Watched(Told):
    """A gateway before a cluster of two agents with four CPUs each, of which a UNIQUE app uses one each."""

    demo: DemoCluster
    statsd: socket.socket

    async def line(self, text: str) -> None:
        """Wait for a line of StatsD."""
        async with asyncio.timeout(PATIENCE):
            while text not in (await asyncio.get_running_loop().sock_recv(self.statsd, 65536)).decode().split("\n"):
                pass


@asynccontextmanager
async def watched(people: People) -> AsyncIterator[Watched]:
    """Give a gateway that works capacity out all the time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind((HOST, 0))
        statsd.setblocking(False)
        port = free_port(HOST)
        sections: Sections = {
            "auth.users": {"file": "users.toml"},
            "docker": {"url": "unix:///nowhere"},
            "admin": {"listen": f"{HOST}:{port}", "tokens_file": "tokens.toml"},
            "capacity": {"interval": "1s", "apps": ["/ops/**"]},
            "metrics": {"statsd": f"{HOST}:{statsd.getsockname()[1]}", "statsd_interval": "1s"},
        }
        async with DemoCluster(masters=2) as demo:
            for name in ("agent-1", "agent-2"):
                await demo.add_agent(name, resources=Resources(4.0, 4096.0, 10240.0, 0.0, ((31000, 31099),)))
            demo.put_app("/ops/statsd", cmd="sleep 1", cpus=1, mem=64, instances=2, constraints=[["hostname", "UNIQUE"]])
            await demo.running("/ops/statsd", 2)
            async with gateway_for(people, behind(demo), sections, files={"tokens.toml": TOKENS}, secrets=[TOKEN]) as running:
                yield Watched(running, f"http://{HOST}:{port}", demo, statsd)


async def test_figures_of_a_running_gateway(people: People) -> None:
    """Capacity, the UNIQUE app, and the gateway's own; a refused login is counted; StatsD gets the same."""
    async with watched(people) as at:
        found = await at.until(FREE, 6)
        assert found['octopus_cluster_total{resource="cpus",role="*"}'] == 8
        assert found['octopus_headroom_instances{app="median"}'] == 6
        assert found['octopus_headroom_instances{app="/ops/statsd"}'] == 0
        assert (found['octopus_unique_running{app="/ops/statsd"}'], found['octopus_unique_missing{app="/ops/statsd"}']) == (2, 0)
        assert (found["octopus_state_complete"], found["octopus_audit_writable"], found["octopus_workers"]) == (1, 1, 1)
        assert found["octopus_state_age_seconds"] < PATIENCE
        assert (await at.gateway.ssh.run("mallory+ops_statsd", "true")).status == 255
        assert found['octopus_audit_events_total{event="gateway.started"}'] == 1
        await at.line("octopus.cluster.free.cpus.unreserved:6|g")
        await at.line("octopus.state.complete:1|g")


async def test_a_pipeline_asks_the_gateway(people: People, tmp_path: Path) -> None:
    """With a token in a file: what fits is 0, what does not is 1, a wrong document 65, a stranger 77; and what it says is said in JSON."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    app = {"id": "/big", "cmd": "x", "cpus": 2, "mem": 64, "instances": 2}

    async def ask(document: object, *options: str) -> tuple[int, str]:
        path = tmp_path / "app.json"
        path.write_text(json.dumps(document))
        argv = [program(), "simulate", str(path), "--url", at.url, *options]
        ended = await at.gateway.ssh.run_program(argv, stdin=None)
        return ended.status, (ended.stdout + ended.stderr).decode()

    async with watched(people) as at:
        await at.until(FREE, 6)
        trusted = ("--token-file", str(token))
        assert await ask(app, *trusted) == (0, "/big: all 2 fit\nagent\tinstances\nagent-1\t1\nagent-2\t1\n")
        status, text = await ask({**app, "instances": 3}, *trusted, "--json")
        assert (status, json.loads(text)["outcomes"][0]["placement"]["least"]) == (1, 2)
        status, text = await ask({**app, "cpus": "2"}, *trusted)
        assert (status, "/cpus: error.expected.jsnumber" in text) == (65, True)
        assert (await ask(app))[0] == 77


async def test_nothing_false_in_a_failover(people: People) -> None:
    """While a new leader waits for an agent the figures are gone and the state is told to be incomplete; then they are back."""
    async with watched(people) as at:
        await at.until(FREE, 6)
        at.demo.fail_over(1, reregister=False)
        at.demo.reregister("agent-1")
        found = await at.until("octopus_state_complete", 0)
        assert FREE not in found
        at.demo.reregister("agent-2")
        await at.until("octopus_state_complete", 1)
        found = await at.until(FREE, 6)
        assert found['octopus_unique_missing{app="/ops/statsd"}'] == 0


async def test_what_apps_really_use(scene: Scene) -> None:
    """From the engines of both agents, by app, beside what is reserved."""
    port = free_port(HOST)
    sections: Sections = {
        "auth.users": {"file": "users.toml"},
        "admin": {"listen": f"{HOST}:{port}"},
        "usage": {"interval": "1s"},
    }
    async with gateway_for(scene.people, behind(scene.cluster), over_tls(scene.engines[0]), sections) as running:
        at = Told(running, f"http://{HOST}:{port}")
        found = await at.until('octopus_app_containers{app="/logging/logstash"}', 3)
        assert found['octopus_app_memory_used_bytes{app="/logging/logstash"}'] > 0
        assert found['octopus_app_cpus_reserved{app="/logging/logstash"}'] == pytest.approx(0.03)
        assert found['octopus_usage_engines{state="answered"}'] > 0
