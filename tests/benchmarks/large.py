"""Large clusters, made by ``octopus.demo`` and said to be made: ten tasks on each agent, in the documents of Mesos and Marathon."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from octopus.core.cluster import Cluster
from octopus.core.marathon_state import decode_marathon
from octopus.core.mesos_state import decode_state
from octopus.demo import marathon_shapes, master_v0
from octopus.demo.cluster import DemoCluster
from octopus.demo.engines import free_port
from octopus.demo.generate import fill

TASKS_PER_AGENT = 10
UNIQUE_APPS = ("/ops/statsd", "/ops/heka", "/ops/cadvisor")
"""Apps of one on each host; none of their instances run, so that each host is judged in full."""

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Documents:
    """What a master and a Marathon answer."""

    state: bytes
    info: bytes
    apps: bytes
    tasks: bytes

    def cluster(self) -> Cluster:
        """Return the cluster they describe."""
        known = Cluster(marathon=True)
        known.replace(decode_state(self.state), now=2e9)
        known.replace_marathon(decode_marathon(self.apps, self.tasks, info=self.info))
        return known

    def write(self, directory: Path) -> None:
        """Lay them out so that a server of files answers as the two would; without streams, so that they are polled."""
        (directory / "v2").mkdir()
        (directory / "state").write_bytes(self.state)
        for name in ("info", "apps", "tasks"):
            (directory / "v2" / name).write_bytes(getattr(self, name))


async def documents(agents: int, demo: DemoCluster | None = None) -> Documents:
    """Return the documents of so many agents, added to what a cluster has already."""
    if demo is None:
        async with DemoCluster() as own:
            return await documents(agents, own)
    fill(demo, agents=agents, tasks=agents * TASKS_PER_AGENT)
    return told(demo, agents)


def told(demo: DemoCluster, agents: int) -> Documents:
    """Return what a cluster answers, with the UNIQUE apps added."""
    marathon, mesos = demo.marathon, demo.mesos
    apps = [marathon_shapes.app_of(app, marathon, frozenset()) for app in marathon.apps.values()]
    apps += [_unique(name, agents) for name in UNIQUE_APPS]
    tasks = [task for app in marathon.apps.values() for task in marathon_shapes.tasks_of(app, marathon)]
    encode = msgspec.json.encode
    return Documents(
        state=encode(master_v0.state_v0(mesos.masters[0], mesos)),
        info=encode(marathon_shapes.info_of(marathon, f"{HOST}:1")),
        apps=encode({"apps": apps}),
        tasks=encode({"tasks": tasks}),
    )


def _unique(name: str, agents: int) -> dict[str, Any]:
    return {"id": name, "cmd": "x", "cpus": 0.1, "mem": 64, "instances": agents, "constraints": [["hostname", "UNIQUE"]]}


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[str]:
    """Serve files from a process of their own; give the URL."""
    port = free_port(HOST)
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "http.server", str(port), "--bind", HOST, "--directory", str(directory)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
                    break
                await asyncio.sleep(0.05)
        yield f"http://{HOST}:{port}"
    finally:
        server.kill()
        await server.wait()
