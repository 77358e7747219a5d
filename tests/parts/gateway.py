"""The data plane alone on loopback: a Gateway in the test's own event loop, between stock clients and a LocalBackend."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from octopus.core.types import ContainerClue, EngineAddress, Target
from octopus.session.ssh_server import Gateway
from octopus.session.write_ahead import WriteAhead
from tests.fake_plane import FakePlane
from tests.parts.directory import ssh_key
from tests.parts.local_backend import LocalBackend
from tests.parts.local_forwards import LocalForwards
from tests.parts.ssh_client import SshClient

APP = "/logging/logstash"
PASSWORDS = {"alice": "wonderland", "bob": "builder"}


def target(task: str = "logging_logstash.3f9c7a5e-8a11-11e5-9c5b-56847afe9799", app: str = APP) -> Target:
    """Return a running task."""
    return Target(app=app, task=task, agent="agent-1", engine=EngineAddress(url="unix:///nowhere"), clue=ContainerClue())


class GatewayPart:
    """A gateway that listens; ``key`` is alice's, ``stranger`` nobody's; relative paths of files start at ``home``."""

    def __init__(
        self,
        gateway: Gateway,
        plane: FakePlane,
        backend: LocalBackend,
        forwards: LocalForwards,
        port: int,
        directory: Path,
        serving: set[asyncio.Task[None]],
    ) -> None:
        self.gateway = gateway
        self.plane = plane
        self.backend = backend
        self.forwards = forwards
        self.port = port
        self.directory = directory
        self.key = directory / "alice"
        self.stranger = directory / "stranger"
        self.recordings = directory / "recordings"
        self.home = directory / "home"
        self.ssh = SshClient("127.0.0.1", port, directory)
        self._serving = serving

    async def stop(self) -> None:
        """Cancel every connection that is served, as a worker does that must end."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


@asynccontextmanager
async def gateway_part(directory: Path, **options: Any) -> AsyncIterator[GatewayPart]:
    """Serve on a free port of loopback until left; ``options`` are the Gateway's."""
    (directory / "hostkeys").mkdir()
    ssh_key(directory / "hostkeys", "ssh_host_ed25519_key")  # one kind is quick; all are made where they matter
    fingerprint = await _fingerprint(ssh_key(directory, "alice"))
    ssh_key(directory, "stranger")
    tasks = {"t": target(), target().task: target()}
    plane = FakePlane(tasks, passwords=PASSWORDS, keys={fingerprint: "alice"})
    (directory / "home").mkdir()
    backend = LocalBackend(bytes(directory / "home"))
    forwards = LocalForwards()
    gateway = Gateway(
        plane=plane,
        backend=backend,
        forwards=forwards,
        host_keys=directory / "hostkeys",
        recordings=directory / "recordings",
        write_ahead=WriteAhead(directory / "write-ahead"),
        **options,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    serving: set[asyncio.Task[None]] = set()
    accepting = asyncio.create_task(_accept(listener, gateway, serving))
    try:
        yield GatewayPart(gateway, plane, backend, forwards, listener.getsockname()[1], directory, serving)
    finally:
        for task in [accepting, *serving]:
            task.cancel()
        ended = await asyncio.gather(accepting, *serving, return_exceptions=True)
        listener.close()
        gateway.close()
        for _ in range(3):  # transports close a turn of the loop after what they carried
            await asyncio.sleep(0)
    assert not [error for error in ended if isinstance(error, Exception)]


async def _accept(listener: socket.socket, gateway: Gateway, serving: set[asyncio.Task[None]]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        sock, (host, port) = await loop.sock_accept(listener)
        sock.setblocking(False)
        serving.add(asyncio.create_task(_serve(gateway, sock, f"{host}:{port}")))


async def _serve(gateway: Gateway, sock: socket.socket, client: str) -> None:
    try:
        await gateway.serve(sock, client)
    finally:
        sock.close()


async def _fingerprint(key: Path) -> str:
    process = await asyncio.create_subprocess_exec("ssh-keygen", "-lf", str(key), stdout=asyncio.subprocess.PIPE)
    with suppress(ProcessLookupError):
        out, _ = await process.communicate()
    return out.split()[1].decode()
