"""The plane's calls over HTTP on its unix socket: retried while the control plane is away, for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec

from octopus.control.plane import AttachCall, Command
from octopus.core.errors import BadUpstream, ControlUnavailable, OctopusError
from octopus.core.failures import Failure, revive
from octopus.core.types import Value

Answer = TypeVar("Answer")

_COMMAND: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


class PlaneCalls:
    """Calls the control plane at ``socket``. Every call may be made twice: the control plane answers the second as the first.

    ``patience`` is how many seconds an absent control plane is waited for, ``timeout`` how many an answer may take.
    """

    def __init__(
        self,
        socket: Path,
        *,
        patience: float = 15.0,
        timeout: float = 60.0,
        max_calls: int = 256,
        first_delay: float = 0.05,
        max_delay: float = 1.0,
    ) -> None:
        self._patience = patience
        self._timeout = httpx.Timeout(timeout)
        self._first_delay = first_delay
        self._max_delay = max_delay
        limits = httpx.Limits(max_connections=max_calls, max_keepalive_connections=16)
        transport = httpx.AsyncHTTPTransport(uds=str(socket), limits=limits)
        self._under_way: set[asyncio.Task[httpx.Response]] = set()
        self._http = httpx.AsyncClient(transport=transport, base_url="http://plane", timeout=self._timeout, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=self._max_delay)
        await self._http.aclose()

    async def call(self, name: str, body: Value, answer: type[Answer], *, patience: float | None = None) -> Answer:
        """Return the answer, or raise the error the control plane raised. Raise ControlUnavailable when it stays away."""
        delay = self._first_delay
        left = self._patience if patience is None else patience
        content = _encode(name, body)
        while True:
            started = asyncio.get_running_loop().time()
            try:
                response = await self._post(name, content)
            except httpx.TransportError as error:
                left -= asyncio.get_running_loop().time() - started + delay
                if left < 0:
                    raise ControlUnavailable(f"the control plane does not answer '{name}': {type(error).__name__}: {error}") from error
            else:
                return _read(name, response.status_code, response.content, answer)
            await asyncio.sleep(delay)
            delay = min(delay * 2, self._max_delay)

    async def _post(self, name: str, content: bytes) -> httpx.Response:
        """Make one call to its end, though the caller may be cancelled meanwhile.

        A read on a unix socket that is cancelled as its answer comes ends in an InvalidStateError within the event loop (anyio 4).
        """
        task = asyncio.create_task(self._http.post(f"/{name}", content=content))
        self._under_way.add(task)
        task.add_done_callback(self._settled)
        return await asyncio.shield(task)

    def _settled(self, task: asyncio.Task[httpx.Response]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that is gone takes no error: it counts as seen

    async def stream(self, call: AttachCall) -> AsyncIterator[Command]:
        """Attach once and yield commands until the stream breaks. Raise ControlUnavailable."""
        timeout = httpx.Timeout(self._timeout.connect, read=None)
        try:
            async with self._http.stream("POST", "/attach", content=msgspec.json.encode(call), timeout=timeout) as response:
                if response.status_code != httpx.codes.OK:
                    _read("attach", response.status_code, await response.aread(), type(None))
                async for line in response.aiter_lines():
                    yield _COMMAND.decode(line)
        except (httpx.TransportError, msgspec.DecodeError) as error:
            raise ControlUnavailable(f"the stream of commands broke: {type(error).__name__}: {error}") from error


def _encode(name: str, body: Value) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError) as error:
        raise OctopusError(f"the arguments of '{name}' cannot be encoded: {type(error).__name__}") from error


def _read(name: str, status: int, body: bytes, answer: type[Answer]) -> Answer:
    if status != httpx.codes.OK:
        raise _failure(name, status, body)
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.DecodeError as error:
        raise BadUpstream("control plane", f"not an answer to '{name}'") from error


def _failure(name: str, status: int, body: bytes) -> OctopusError:
    try:
        return revive(msgspec.json.decode(body, type=Failure))
    except msgspec.DecodeError:
        return ControlUnavailable(f"the control plane answers '{name}' with HTTP {status}")
