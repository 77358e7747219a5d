"""The fake backend keeps the contract of the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from octopus.core.ports import ExecBackend
from octopus.core.types import ContainerClue, EngineAddress, Exit, Target
from tests.contracts import ExecBackendContract
from tests.fakes import FakeBackend, FakeExecStream, Program, echo


def says(*parts: tuple[bytes, bool], status: int = 0, then: Program | None = None) -> Program:
    """A program that writes these parts, then goes on as ``then`` or ends."""

    async def program(stream: FakeExecStream) -> Exit:
        for data, stderr in parts:
            await stream.say(data, stderr=stderr)
        return await then(stream) if then else Exit(status=status)

    return program


async def forever(_: FakeExecStream) -> Exit:
    """A program that does not end by itself."""
    await asyncio.Event().wait()
    return Exit(status=0)


async def tell_size(stream: FakeExecStream) -> Exit:
    """A program like ``stty size``."""
    await stream.say(f"{stream.sizes[-1].rows} {stream.sizes[-1].cols}\r\n".encode())
    return Exit(status=0)


async def await_size(stream: FakeExecStream) -> Exit:
    """A program that ends when the terminal is 132 wide."""
    while stream.sizes[-1].cols != 132:
        await stream.resized.wait()
        stream.resized.clear()
    await stream.say(b"done\r\n")
    return Exit(status=0)


PROGRAMS: Mapping[str | None, Program] = {
    "printf all; exit 7": says((b"all", False), status=7),
    "printf out; printf err >&2": says((b"out", False), (b"err", True)),
    "stty size": tell_size,
    "until [ \"$(stty size)\" = '50 132' ]; do sleep 0.02; done; echo done": await_size,
    "stty -echo; echo ready; cat": says((b"ready\r\n", False), then=echo),
    "echo ready; exec sleep 1000": says((b"ready\n", False), then=forever),
    "echo ready; sleep 1000": says((b"ready\n", False), then=forever),
}


class TestFakeBackend(ExecBackendContract):
    """The fake."""

    @pytest.fixture
    def exec_backend(self) -> FakeBackend:
        """A fake that knows the contract's commands."""
        return FakeBackend(PROGRAMS)

    @pytest.fixture
    def exec_target(self) -> Target:
        """Any target: the fake has one container."""
        return Target(app="/a", task="a.1", agent="agent-1", engine=EngineAddress(url="unix:///nowhere"), clue=ContainerClue())

    @pytest.fixture
    def end_container(self, exec_backend: ExecBackend) -> Callable[[], None]:
        """Ends the fake's container."""
        assert isinstance(exec_backend, FakeBackend)
        return exec_backend.end_container
