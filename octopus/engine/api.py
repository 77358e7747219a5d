"""Calls to one engine's API: the Docker SDK's connections, in threads of its own, so that an engine that hangs takes nobody else down.

The SDK sets the connections up and keeps them; a request goes straight to them, for half the processor time that it takes through requests.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import docker
import requests
import urllib3
from docker.tls import TLSConfig

from octopus.core.errors import BadUpstream
from octopus.core.types import EngineAddress
from octopus.engine.endpoint import Endpoint
from octopus.engine.limits import EngineLimits, deadline, unavailable
from octopus.engine.wire import NEWEST, OLDEST, Version, decode, fault_text, negotiate

STAT_HEADER = "X-Docker-Container-Path-Stat"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer of the engine, whatever its status; ``stat`` is the archive API's path stat, "" without."""

    status: int
    body: bytes = b""
    stat: str = ""


@dataclass(frozen=True)
class _Client:
    """What is held while calls are made, and released when there are none; ``prefix`` starts every path."""

    sdk: docker.APIClient
    connections: _Connections
    threads: ThreadPoolExecutor
    version: tuple[int, int]
    prefix: str


class EngineApi:
    """One engine's API. Every call has a deadline and ends in an Answer or ContainerUnavailable."""

    def __init__(
        self,
        agent: str,
        address: EngineAddress,
        endpoint: Endpoint,
        limits: EngineLimits,
        newest: tuple[int, int] = NEWEST,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self.agent = agent
        self._address = address
        self._endpoint = endpoint
        self._limits = limits
        self._newest = newest
        self._on_idle = on_idle
        self._client: _Client | None = None
        self._opening = asyncio.Lock()
        self._calls = 0
        self._release: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no threads and connections are held."""
        return self._client is None and not self._calls

    async def version(self) -> tuple[int, int]:
        """Return the API version spoken with this engine."""
        async with deadline(self.agent, "version", self._limits.call):
            with self._in_use():
                return (await self._open()).version

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | bytes] | None = None,
        body: object = None,
        limit: int = 0,
        step: str = "",
    ) -> Answer:
        """Make one call; ``limit`` bounds the answer's size in bytes (0: the default)."""
        async with deadline(self.agent, step or path, self._limits.call):
            with self._in_use():
                await self._endpoint.ready()
                client = await self._open()
                call = _Call(method, client.prefix + quote(path), params, body, limit or self._limits.body, self._limits.call)
                return await self._run(client.threads, client.connections, call)

    def release(self) -> None:
        """Let go of threads and connections; the next call takes new ones."""
        if self._release is not None:
            self._release.cancel()
            self._release = None
        client, self._client = self._client, None
        if client is not None:
            client.threads.shutdown(wait=False, cancel_futures=True)
            client.sdk.close()
        self._on_idle()

    async def _open(self) -> _Client:
        async with self._opening:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def _connect(self) -> _Client:
        await self._endpoint.ready()
        sdk = self._sdk()
        threads = ThreadPoolExecutor(self._limits.threads, f"engine-{self.agent}"[:40])
        try:
            connections = self._connections(sdk)
            version = min(await self._ask_version(threads, connections), self._newest)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            sdk.close()
            raise
        return _Client(sdk, connections, threads, version, f"/v{version[0]}.{version[1]}")

    async def _ask_version(self, threads: ThreadPoolExecutor, connections: _Connections) -> tuple[int, int]:
        call = _Call("GET", "/version", None, None, self._limits.body, self._limits.call)
        answer = await self._run(threads, connections, call)
        if answer.status != 200:
            raise unavailable(self.agent, "version", f"HTTP {answer.status}: {fault_text(answer.body)}")
        return negotiate(decode(answer.body, Version))

    def _sdk(self) -> docker.APIClient:
        tls: TLSConfig | bool = False
        try:
            if self._endpoint.base_url.startswith("https:"):
                certificate = (self._address.tls_cert, self._address.tls_key) if self._address.tls_cert else None
                tls = TLSConfig(client_cert=certificate, ca_cert=self._address.tls_ca, verify=True)
            oldest = f"{OLDEST[0]}.{OLDEST[1]}"  # none at all would ask for the version, here and now
            sdk = docker.APIClient(self._endpoint.base_url, version=oldest, tls=tls, timeout=self._limits.call)
        except docker.errors.DockerException as error:
            raise unavailable(self.agent, "set-up", error) from error
        return sdk

    def _connections(self, sdk: docker.APIClient) -> _Connections:
        """Return the connections that the SDK's own requests would go over: no proxy and no netrc from our environment."""
        sent = requests.PreparedRequest()
        sent.url = sdk.base_url
        adapter = sdk.get_adapter(sdk.base_url)
        try:
            pool = adapter.get_connection_with_tls_context(sent, sdk.verify, cert=sdk.cert)
            adapter.cert_verify(pool, sdk.base_url, sdk.verify, sdk.cert)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise unavailable(self.agent, "set-up", error) from error
        return _Connections(pool, {**sdk.headers, "Accept-Encoding": "identity"})

    async def _run(self, threads: ThreadPoolExecutor, connections: _Connections, call: _Call) -> Answer:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, call.make, connections)
        except urllib3.exceptions.NewConnectionError as error:  # to urllib3 a kind of timeout
            raise unavailable(self.agent, "connect", error.__cause__ or error) from error
        except (urllib3.exceptions.TimeoutError, TimeoutError) as error:
            raise unavailable(self.agent, "call", f"no answer within {self._limits.call:g} s") from error
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise unavailable(self.agent, "call", error) from error

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        self._calls += 1
        if self._release is not None:
            self._release.cancel()
            self._release = None
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls and self._client is not None:
                self._release = asyncio.get_running_loop().call_later(self._limits.idle, self.release)


@dataclass(frozen=True)
class _Connections:
    """The SDK's connections to the engine, and the headers of every request."""

    pool: urllib3.HTTPConnectionPool
    headers: Mapping[str, str]


@dataclass(frozen=True)
class _Call:
    """One request, made in a thread."""

    method: str
    path: str
    params: Mapping[str, str | bytes] | None
    body: object
    limit: int
    timeout: float

    def make(self, connections: _Connections) -> Answer:
        until = time.monotonic() + self.timeout
        headers, content = dict(connections.headers), None
        if self.body is not None:
            headers["Content-Type"], content = "application/json", json.dumps(self.body, allow_nan=False).encode()
        response = connections.pool.urlopen(
            self.method,
            f"{self.path}?{urlencode(self.params)}" if self.params else self.path,
            content,
            headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=urllib3.Timeout(connect=self.timeout, read=self.timeout),
            preload_content=False,
            decode_content=False,
        )
        try:
            body = self._read(response, until)
            return Answer(response.status, body, response.headers.get(STAT_HEADER, ""))
        finally:
            # Where the answer is read to its end the connection is back already, to be used again; else it ends here.
            response.close()
            response.release_conn()

    def _read(self, response: urllib3.BaseHTTPResponse, until: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while chunk := response.read1(64 * 1024):
            size += len(chunk)
            if size > self.limit:
                raise BadUpstream("engine", f"an answer of more than {self.limit} bytes", self.path)
            if time.monotonic() > until:
                raise TimeoutError
            parts.append(chunk)
        return b"".join(parts)
