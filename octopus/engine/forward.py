"""ForwardBackend for Docker engines: to the agent where the port is there, else through a command in the container."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files

import msgspec

from octopus.core.errors import ContainerUnavailable, InvalidRequest
from octopus.core.forwarding import AtAgent, Side, way
from octopus.core.ports import ExecBackend, ExecStream, ForwardStream
from octopus.core.types import Allow, ExecSpec, Output, Target
from octopus.engine.backend import DockerBackend
from octopus.engine.containers import find
from octopus.engine.identify import SANDBOX
from octopus.engine.networks import connectivity
from octopus.engine.transport import PlainStream, connect_tcp

RELAY = files("octopus.engine").joinpath("relay.sh").read_text()
READY = b"R"
CHUNK = 32 * 1024
NOT_LISTENING = 111
NO_MEANS = "that port is not mapped, and this image has none of socat, nc and bash to reach it"


class DockerForwards:
    """Connections to ports of tasks. ``connect_timeout`` in seconds; ``sandbox`` is where Mesos mounts it."""

    def __init__(self, backend: DockerBackend, *, connect_timeout: float = 5.0, sandbox: str = SANDBOX) -> None:
        self._backend = backend
        self._connect_timeout = connect_timeout
        self._sandbox = sandbox

    @asynccontextmanager
    async def connect(self, target: Target, allow: Allow, asked: Side, port: int, number: int) -> AsyncIterator[ForwardStream]:
        """Look at the container, decide on the way, and connect. See ``ForwardBackend.connect``."""
        if target.clue.containerizer != "docker":
            raise InvalidRequest(f"{target.task}: no Docker container", notice="only ports of Docker containers are forwarded")
        engine = await self._backend.engines.get(target.agent, target.engine)
        container = await find(engine.api, target, self._sandbox)
        route = way(asked, port, connectivity(container, target.agent_ip), target, localhost=allow.forward_localhost)
        if isinstance(route, AtAgent):
            stream = await connect_agent(container.id, target.agent_ip or target.agent, route.port, self._connect_timeout)
            try:
                yield stream
            finally:
                stream.close()
        else:
            async with _in_container(self._backend, target, relay_spec(allow.spec, port, number), port) as relayed:
                yield relayed


class AgentStream:
    """A TCP connection to a port of an agent."""

    def __init__(self, container: str, address: str, port: int, stream: PlainStream) -> None:
        self.container = container
        self.address = address
        self._port = port
        self._stream = stream
        self.close = stream.close

    async def read(self) -> bytes:
        """See ``ForwardStream``."""
        with _answering(self.address, self._port):
            return await self._stream.read(CHUNK)

    async def write(self, data: bytes) -> None:
        """See ``ForwardStream``."""
        with _answering(self.address, self._port):
            await self._stream.write(data)

    async def write_eof(self) -> None:
        """See ``ForwardStream``."""
        with _answering(self.address, self._port):
            await self._stream.write_eof()


class RelayedStream:
    """A connection that a command in the container holds; ``output`` is what it says after it was ready."""

    def __init__(self, stream: ExecStream, port: int, output: AsyncIterator[Output], first: bytes) -> None:
        self.container = stream.container
        self.address = f"container:{port}"
        self._output = output
        self._first = first
        self._stream = stream
        self._over = False
        self.write_eof = stream.write_eof

    async def read(self) -> bytes:
        """See ``ForwardStream``."""
        if self._first:
            data, self._first = self._first, b""
            return data
        async for output in self._output:
            if not output.stderr:
                return output.data
        self._over = True
        return b""

    async def write(self, data: bytes) -> None:
        """See ``ForwardStream``; once the command has ended there is nobody to send to."""
        if self._over:
            raise ContainerUnavailable(f"{self.address}: closed by the task")
        await self._stream.write(data)


async def connect_agent(container: str, host: str, port: int, timeout: float) -> AgentStream:  # noqa: ASYNC109  one of the limits
    """Connect to a port of an agent within ``timeout`` seconds. Raise ContainerUnavailable."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with _answering(where, port):
        async with asyncio.timeout(timeout):
            return AgentStream(container, where, port, await connect_tcp(host, port))


def relay_spec(spec: ExecSpec, port: int, number: int) -> ExecSpec:
    """Return what runs in the container for one connection: our own command, as the rule's user, under a token of its own."""
    command = f"set -- {port} {port:04X} {spec.token}\n{RELAY}"
    return msgspec.structs.replace(spec, command=command, pty=None, token=f"{spec.token}-{number}", keep_background=False)


@asynccontextmanager
async def _in_container(backend: ExecBackend, target: Target, spec: ExecSpec, port: int) -> AsyncIterator[RelayedStream]:
    try:
        async with backend.start(target, spec) as stream:
            output = stream.output()
            yield RelayedStream(stream, port, output, await _ready(stream, output, port))
    except InvalidRequest as error:
        raise InvalidRequest(f"{target.task}: port {port}: no shell to reach it from", notice=NO_MEANS) from error


async def _ready(stream: ExecStream, output: AsyncIterator[Output], port: int) -> bytes:
    """Wait until the relay is connected, and return what it said after that. Raise ContainerUnavailable, InvalidRequest."""
    said = b""
    async for one in output:
        if not one.stderr and one.data.startswith(READY):
            return one.data.removeprefix(READY)
        said = (said + one.data)[:200]
    status = (await stream.wait()).status
    if status == NOT_LISTENING:
        raise ContainerUnavailable(f"nothing listens on port {port} in {stream.container}", notice=f"nothing listens on port {port}")
    raise InvalidRequest(f"the relay to port {port} in {stream.container} ended with {status}: {said!r}", notice=NO_MEANS)


@contextmanager
def _answering(where: str, port: int) -> Iterator[None]:
    """Tell whatever happens to the connection as ContainerUnavailable."""
    try:
        yield
    except (OSError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        raise ContainerUnavailable(f"{where}: {why}", notice=f"port {port} of the task does not answer") from error
