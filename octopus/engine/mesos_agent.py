"""HTTP calls to one Mesos agent's operator API, whose every failure is ContainerUnavailable."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from octopus.core.errors import BadUpstream, ContainerUnavailable
from octopus.core.types import Target
from octopus.engine.api import Answer
from octopus.engine.containers import ContainerGone
from octopus.engine.limits import EngineLimits, deadline, unavailable

_STREAM = {"Accept": "application/recordio", "Message-Accept": "application/json"}
_INPUT = {"Content-Type": "application/recordio", "Message-Content-Type": "application/json", "Accept": "application/json"}


class MesosAgent:
    """Calls to one agent; every failure is ContainerUnavailable."""

    def __init__(self, client: httpx.AsyncClient, limits: EngineLimits, target: Target, scheme: str) -> None:
        host = f"[{target.agent_ip}]" if ":" in target.agent_ip else target.agent_ip
        self._url = f"{scheme}://{host}:{target.agent_port}/api/v1"
        self._client = client
        self.limits = limits
        self.name = target.agent

    @asynccontextmanager
    async def launched(self, call: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        """Launch a session; its output is the answer's body, and closing that ends it."""
        request = self._client.build_request("POST", self._url, json=call, headers=_STREAM)
        async with deadline(self.name, "launch", self.limits.start):
            with self.faults("launch"):
                response = await self._client.send(request, stream=True)
        try:
            if response.status_code != 200:
                await self._refuse(response)
            yield response
        finally:
            await response.aclose()

    async def post(self, call: dict[str, Any]) -> Answer:
        """Make a call and return its answer, whatever the status."""
        limit = self.limits.body
        with self.faults(call["type"]):
            async with self._client.stream("POST", self._url, json=call, headers={"Accept": "application/json"}) as response:
                body = await _some(response, limit + 1)
                if len(body) > limit:
                    raise BadUpstream("agent", f"an answer of more than {limit} bytes")
                return Answer(response.status_code, body)

    async def send(self, records: AsyncIterator[bytes]) -> None:
        """Stream input; that it ends, however, says nothing: the output tells when the session is over."""
        with contextlib.suppress(httpx.HTTPError):
            await self._client.post(self._url, content=records, headers=_INPUT)

    @contextlib.contextmanager
    def faults(self, step: str) -> Iterator[None]:
        """Tell httpx's errors and wrong answers as ContainerUnavailable."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, BadUpstream) as error:
            raise unavailable(self.name, step, error) from error

    async def _refuse(self, response: httpx.Response) -> None:
        async with deadline(self.name, "launch", self.limits.call):
            with self.faults("launch"):
                text = (await _some(response)).decode("utf-8", "replace")
        problem = f"agent {self.name}: launch: HTTP {response.status_code}: {text}"
        if response.status_code == 404 or "not found" in text:
            raise ContainerGone(problem)
        if response.status_code in (401, 403):
            raise ContainerUnavailable(problem, notice=f"the agent {self.name} does not allow sessions in its containers")
        raise unavailable(self.name, "launch", f"HTTP {response.status_code}: {text}")


async def _some(response: httpx.Response, limit: int = 64 * 1024) -> bytes:
    """Return the beginning of an answer's body."""
    body = bytearray()
    async for data in response.aiter_bytes():
        body += data
        if len(body) > limit:
            break
    return bytes(body[:limit])
