"""The plane's calls over HTTP on its unix socket: retried while the control plane is away, for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from octopus.control.plane import AttachCall, Command
from octopus.core.errors import BadUpstream, ControlUnavailable, OctopusError
from octopus.core.failures import Failure, revive
from octopus.core.types import Value
from octopus.session.plane_http import Answer, PlaneHttp

Result = TypeVar("Result")

OK = 200
MAX_LINE = 64 * 1024
"""Bytes of one command on the stream."""

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
        self._first_delay = first_delay
        self._max_delay = max_delay
        self._under_way: set[asyncio.Task[Answer]] = set()
        self._http = PlaneHttp(socket, timeout=timeout, max_calls=max_calls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=self._max_delay)
        self._http.close()

    async def call(self, name: str, body: Value, answer: type[Result], *, patience: float | None = None) -> Result:
        """Return the answer, or raise the error the control plane raised. Raise ControlUnavailable when it stays away."""
        delay = self._first_delay
        left = self._patience if patience is None else patience
        content = _encode(name, body)
        while True:
            started = asyncio.get_running_loop().time()
            try:
                response = await self._post(name, content)
            except OSError as error:
                left -= asyncio.get_running_loop().time() - started + delay
                if left < 0:
                    why = error.strerror or f"{type(error).__name__}: {error}"
                    raise ControlUnavailable(f"the control plane does not answer '{name}': {why}") from error
            else:
                return _read(name, response, answer)
            await asyncio.sleep(delay)
            delay = min(delay * 2, self._max_delay)

    async def _post(self, name: str, content: bytes) -> Answer:
        """Make one call to its end, though the caller may be cancelled meanwhile: its connection can then be used again."""
        task = asyncio.create_task(self._http.post(f"/{name}", content))
        self._under_way.add(task)
        task.add_done_callback(self._settled)
        return await asyncio.shield(task)

    def _settled(self, task: asyncio.Task[Answer]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that is gone takes no error: it counts as seen

    async def stream(self, call: AttachCall) -> AsyncIterator[Command]:
        """Attach once and yield commands until the stream breaks. Raise ControlUnavailable."""
        try:
            async with self._http.stream("/attach", msgspec.json.encode(call)) as (status, parts):
                if status != OK:
                    _read("attach", Answer(status, b"".join([part async for part in parts])), type(None))
                async for line in _lines(parts):
                    yield _COMMAND.decode(line)
        except (OSError, msgspec.DecodeError) as error:
            raise ControlUnavailable(f"the stream of commands broke: {type(error).__name__}: {error}") from error


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for part in parts:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > MAX_LINE:
            raise OSError(f"a line of more than {MAX_LINE} bytes")


def _encode(name: str, body: Value) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError) as error:
        raise OctopusError(f"the arguments of '{name}' cannot be encoded: {type(error).__name__}") from error


def _read(name: str, response: Answer, answer: type[Result]) -> Result:
    if response.status != OK:
        raise _failure(name, response)
    try:
        return msgspec.json.decode(response.body, type=answer)
    except msgspec.DecodeError as error:
        raise BadUpstream("control plane", f"not an answer to '{name}'") from error


def _failure(name: str, response: Answer) -> OctopusError:
    try:
        return revive(msgspec.json.decode(response.body, type=Failure))
    except msgspec.DecodeError:
        return ControlUnavailable(f"the control plane answers '{name}' with HTTP {response.status}")
