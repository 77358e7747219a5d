"""Calls to one engine's API: the Docker SDK in threads of its own, so that an engine that hangs takes nobody else down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

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
    """What is held while calls are made, and released when there are none; ``prefix`` starts every URL."""

    sdk: docker.APIClient
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
                return await self._run(client.threads, client.sdk, call)

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
            version = min(await self._ask_version(threads, sdk), self._newest)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            sdk.close()
            raise
        return _Client(sdk, threads, version, f"{sdk.base_url}/v{version[0]}.{version[1]}")

    async def _ask_version(self, threads: ThreadPoolExecutor, sdk: docker.APIClient) -> tuple[int, int]:
        call = _Call("GET", f"{sdk.base_url}/version", None, None, self._limits.body, self._limits.call)
        answer = await self._run(threads, sdk, call)
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
        sdk.trust_env = False  # no proxy and no netrc from our environment
        return sdk

    async def _run(self, threads: ThreadPoolExecutor, sdk: docker.APIClient, call: _Call) -> Answer:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, call.make, sdk)
        except (requests.Timeout, TimeoutError) as error:
            raise unavailable(self.agent, "call", f"no answer within {self._limits.call:g} s") from error
        except (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
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
class _Call:
    """One request, made in a thread."""

    method: str
    url: str
    params: Mapping[str, str | bytes] | None
    body: object
    limit: int
    timeout: float

    def make(self, sdk: docker.APIClient) -> Answer:
        until = time.monotonic() + self.timeout
        options: dict[str, Any] = {"params": self.params, "timeout": self.timeout, "stream": True, "allow_redirects": False}
        if self.body is not None:
            options["json"] = self.body
        with sdk.request(self.method, self.url, headers={"Accept-Encoding": "identity"}, **options) as response:
            body = b"" if self.method == "HEAD" else self._read(response, until)
            return Answer(response.status_code, body, response.headers.get(STAT_HEADER, ""))

    def _read(self, response: requests.Response, until: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while chunk := response.raw.read1(64 * 1024):
            size += len(chunk)
            if size > self.limit:
                raise BadUpstream("engine", f"an answer of more than {self.limit} bytes", self.url)
            if time.monotonic() > until:
                raise TimeoutError
            parts.append(chunk)
        return b"".join(parts)
