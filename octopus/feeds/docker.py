"""Keeps a Cluster up to date from one plain Docker engine: its running containers are the targets (``[docker] inventory``)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import docker.constants
import docker.errors
import docker.tls
import msgspec
import requests

from octopus.core.cluster import Cluster
from octopus.core.errors import BadUpstream, OrchestratorUnavailable, printable
from octopus.core.inventory import MAX_PORTS, RUNNING, Agent, FeedStatus, Snapshot, Task
from octopus.core.types import EngineAddress
from octopus.feeds.health import Backoff, FeedHealth
from octopus.feeds.look_ups import LookUps

ENGINE = "engine"
"""The id of the one agent of a plain inventory."""


class _Port(msgspec.Struct, rename="pascal"):
    public_port: int = 0


class _Container(msgspec.Struct, rename="pascal"):
    id: str
    names: list[str]
    state: str = "running"
    created: float = 0.0
    labels: dict[str, str] | None = None
    ports: list[_Port] = []


class DockerFeed:
    """The feed of one engine, reached over ``unix://``, ``http://`` or ``https://``. Times in seconds.

    ``hostname`` is what ``@agent`` compares with. The docker SDK blocks, so it has two threads of its own; the engine is asked every
    ``poll_interval`` with a ``timeout``. ``look_ups`` bounds what people can make us ask.
    """

    def __init__(
        self,
        cluster: Cluster,
        engine: EngineAddress,
        *,
        hostname: str = "localhost",
        poll_interval: float = 3.0,
        timeout: float = 10.0,
        look_ups: LookUps | None = None,
        clock: Callable[[], float] = time.time,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._cluster = cluster
        self._engine = engine
        self._hostname = hostname
        self._poll_interval = poll_interval
        self._timeout = timeout
        self._look_ups = look_ups or LookUps(rate=1.0, timeout=timeout, miss_time=3.0)
        self._health = FeedHealth("docker", clock)
        self._rng = rng
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="inventory")
        self._client: docker.APIClient | None = None

    async def run(self) -> None:
        """Keep the Cluster up to date for ever. Nothing the engine does ends this."""
        backoff = Backoff(longest=30.0, rng=self._rng)
        while True:
            try:
                await self.refresh()
                backoff.worked()
                wait = self._poll_interval * (0.9 + self._rng() / 5)
            except (BadUpstream, OrchestratorUnavailable) as error:
                self._health.failed(error)
                wait = backoff.failed()
            await asyncio.sleep(wait)

    async def tried(self) -> None:
        """Return once it has been read, or could not be."""
        await self._health.tried()

    def status(self) -> FeedStatus:
        """Return how the feed is doing."""
        return self._health.status()

    async def refresh(self) -> None:
        """Read the engine's running containers once. Raise BadUpstream, OrchestratorUnavailable."""
        raw = await self._in_thread(self._list)
        snapshot = snapshot_of(raw, self._hostname, self._engine.url)
        for _ in self._cluster.replacing(snapshot):
            await asyncio.sleep(0)
        self._health.worked(self._engine.url, skipped=snapshot.skipped)

    async def look_up(self, name: str) -> bool:
        """Read the engine for a container too new to be known. False when it is not there, or too much was asked. Never raises."""
        tasks = self._cluster.tasks
        return await self._look_ups.find(name, lambda: bool(tasks.running(name) or tasks.of_app(name)), self.refresh)

    async def aclose(self) -> None:
        """Close the connections and threads."""
        if self._client is not None:
            await self._in_thread(self._client.close)
        self._threads.shutdown(wait=False)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _list(self) -> Any:
        try:
            if self._client is None:
                self._client = self._connect()
            return self._client.containers(filters={"status": ["running"]})
        except (docker.errors.DockerException, requests.RequestException, OSError, ValueError, RecursionError) as error:
            raise OrchestratorUnavailable(f"{self._engine.url}: {printable(_cause(error))}") from error

    def _connect(self) -> docker.APIClient:
        url, tls = self._engine.url, None
        if url.startswith("ssh://"):
            raise OrchestratorUnavailable(f"{url}: an inventory is read over unix, http or https")
        if url.startswith("https://"):
            pair = (self._engine.tls_cert, self._engine.tls_key) if self._engine.tls_cert else None
            tls = docker.tls.TLSConfig(client_cert=pair, ca_cert=self._engine.tls_ca or None, verify=True)
            url = "tcp://" + url.removeprefix("https://")
        address: dict[str, Any] = {"base_url": url.replace("http://", "tcp://", 1), "tls": tls, "timeout": self._timeout}
        # ``version="auto"`` would leave the connection open when the engine does not answer in the constructor.
        with contextlib.closing(docker.APIClient(version=docker.constants.DEFAULT_DOCKER_API_VERSION, **address)) as asking:
            spoken = asking.version(api_version=False)
        if not isinstance(spoken, dict) or not isinstance(spoken.get("ApiVersion"), str):
            raise BadUpstream(self._engine.url, "not a Docker engine", printable(str(spoken)[:100]))
        return docker.APIClient(version=spoken["ApiVersion"], **address)


def snapshot_of(raw: Any, hostname: str, source: str) -> Snapshot:
    """Return the containers of ``GET /containers/json`` as tasks; app is the container's name. Raise BadUpstream."""
    if not isinstance(raw, list):
        raise BadUpstream(source, "not a list of containers", printable(str(raw)[:100]))
    tasks, skipped = [], 0
    for item in raw:
        try:
            container = msgspec.convert(item, _Container)
        except msgspec.ValidationError:
            skipped += 1
            continue
        if container.names and container.state == "running":
            tasks.append(_task(container))
    return Snapshot(agents=[Agent(id=ENGINE, hostname=hostname)], tasks=tasks, skipped=skipped)


def _task(container: _Container) -> Task:
    # A linked container has names of the form /other/alias too: its own is the one without a second slash.
    own = min(container.names, key=lambda name: (name.count("/"), name)).removeprefix("/")
    published = sorted({port.public_port for port in container.ports if port.public_port})
    return Task(
        id=container.id,
        framework="",
        agent=ENGINE,
        state=RUNNING,
        name=own,
        started=container.created,
        containerizer="docker",
        engine=container.id,
        ports=tuple(published[:MAX_PORTS]),
        labels=container.labels or {},
        app=own,
        confirmed=True,
    )


def _cause(error: BaseException) -> str:
    """Return what the system said, where it said something: the SDK's own words quote each layer above it, and end before it."""
    told, deeper = f"{type(error).__name__}: {error}", error.__cause__ or error.__context__
    while deeper is not None:
        if isinstance(deeper, OSError) and deeper.strerror:
            told = deeper.strerror
        deeper = deeper.__cause__ or deeper.__context__
    return told
