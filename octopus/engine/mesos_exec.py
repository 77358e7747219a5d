"""ExecBackend for tasks of the Mesos containerizer: a nested session container through the agent's API (1.2 and newer).

The agent ends the session when the connection that launched it closes, so nothing is left to reap.
"""

from __future__ import annotations

import asyncio
import signal as signals
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from octopus.core.decoders import RecordIO
from octopus.core.errors import BadUpstream, ContainerUnavailable, InvalidRequest
from octopus.core.ports import ExecStream
from octopus.core.short_way import Take
from octopus.core.types import ExecSpec, Exit, Output, Target, TermSize
from octopus.engine import mesos_wire as wire
from octopus.engine.docker_exec import LINE_END, SIGNAL_CHARS, VEOF
from octopus.engine.launch import environment, prepared
from octopus.engine.limits import EngineLimits, deadline, unavailable
from octopus.engine.mesos_agent import MesosAgent
from octopus.engine.reaper import SIGNALS
from octopus.engine.shell import SH

MAX_RECORD = 1024 * 1024
MAX_INPUT = 16
"""Records of input that may wait for the agent."""

DEFAULT_LIMITS = EngineLimits()
_LOGIN = "[ -x /bin/bash ] && exec /bin/bash; exec /bin/sh"
_KILLED = 137


class MesosBackend:
    """Commands in containers of Mesos agents, called at ``scheme``://agent_ip:agent_port/api/v1 with HTTP basic if there is a name."""

    def __init__(
        self,
        limits: EngineLimits = DEFAULT_LIMITS,
        *,
        scheme: str = "http",
        ca_file: str = "",
        username: str = "",
        password: str = "",
        max_connections: int = 6000,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._limits = limits
        self._scheme = scheme
        self._new_id = new_id
        self._client = httpx.AsyncClient(
            verify=_context(scheme, ca_file),
            auth=(username, password) if username else None,
            timeout=httpx.Timeout(None, connect=limits.connect, pool=limits.connect),
            limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=0),  # a launch's must end with it
            trust_env=False,
        )

    @asynccontextmanager
    async def start(self, target: Target, spec: ExecSpec) -> AsyncIterator[ExecStream]:
        """Launch a session in the task's container. See ``ExecBackend.start``."""
        if not (target.clue.container_id and target.agent_ip and target.agent_port):
            raise ContainerUnavailable(f"{target.task}: container or agent not known", notice="the container is not known yet")
        agent = MesosAgent(self._client, self._limits, target, self._scheme)
        container_id = wire.session_id(target.clue, self._new_id())
        size = spec.pty.size if spec.pty else None
        argv = prepared([SH, "-c", spec.command or _LOGIN], SH, {}, size)
        call = wire.launch(container_id, argv, environment(spec), spec.user, size)
        async with agent.launched(call) as response:
            stream = MesosExecStream(agent, target, container_id, response, size)
            try:
                yield stream
            finally:
                await stream.aclose()

    async def reap(self, target: Target, spec: ExecSpec) -> bool:
        """Nothing is left: the agent ended the session with its connection."""
        return True

    async def aclose(self) -> None:
        """Release connections."""
        await self._client.aclose()


class MesosExecStream:
    """One session container. The exit status is waited for from the start: the agent forgets it once it is over."""

    def __init__(
        self, agent: MesosAgent, target: Target, container_id: dict[str, Any], response: httpx.Response, size: TermSize | None
    ) -> None:
        self.container = target.clue.container_id
        self._agent = agent
        self._id = container_id
        self._response = response
        self._tty = size is not None
        self._size = size
        self._resized = size is not None
        self._last = b"\n"
        self._over = False
        self._ended = asyncio.Event()
        self._failure: ContainerUnavailable | None = None
        self._input: asyncio.Queue[bytes] = asyncio.Queue(MAX_INPUT)
        loop = asyncio.get_running_loop()
        self._exit = loop.create_task(agent.post(wire.wait(container_id)), name="session exit")
        self._sending = loop.create_task(agent.send(self._records()), name="session input")
        self._sending.add_done_callback(lambda _: self._drop_input())

    async def output(self) -> AsyncIterator[Output]:
        """Yield output as it comes; nothing is read from the agent while the caller is busy. Raise ContainerUnavailable."""
        records = RecordIO(MAX_RECORD, "agent")
        try:
            with self._agent.faults("output"):
                async for data in self._response.aiter_bytes(self._agent.limits.read):
                    for record in records.feed(data):
                        if output := wire.read_output(record):
                            yield output
                if records.pending:
                    raise BadUpstream("agent", "the output ends inside a record")
        except ContainerUnavailable as error:
            self._failure = error
            raise
        finally:
            self._ended.set()

    def offer(self, take: Take) -> None:
        """Offer nothing: all output comes in records of an HTTP answer."""

    def write_now(self, data: bytes) -> bool:
        """Send nothing: all input goes in records of an HTTP request."""
        return False

    async def write(self, data: bytes) -> None:
        """Send input; waits while the agent is slow, and drops input for a session that is over."""
        if data and not self._over:
            self._last = data[-1:]
            await self._input.put(wire.stdin(data))

    async def write_eof(self) -> None:
        """Close the command's input; with a terminal VEOF instead, twice when it only flushes a started line."""
        if self._tty:
            await self.write(VEOF if self._last in LINE_END else VEOF * 2)
        elif not self._over:
            await self._input.put(wire.stdin(b""))

    async def resize(self, size: TermSize) -> None:
        """Set the terminal's size; the latest of a storm wins."""
        self._size, self._resized = size, True
        self._wake()

    async def signal(self, name: str) -> None:
        """Deliver a signal: a terminal's own by its control character, others through the agent. Raise InvalidRequest."""
        if name not in SIGNALS:
            raise InvalidRequest(f"no signal {name!r}", notice="that signal is not known")
        if self._tty and name in SIGNAL_CHARS:
            await self.write(SIGNAL_CHARS[name])
            return
        async with deadline(self._agent.name, "kill", self._agent.limits.call):
            await self._agent.post(wire.kill(self._id, signals.Signals[f"SIG{name}"]))

    async def wait(self) -> Exit:
        """Return the exit status once the output is drained; 137 with ``container_gone`` when the task ended too."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure
        async with deadline(self._agent.name, "exit", self._agent.limits.exit):
            answer = await self._exit
            with self._agent.faults("exit"):
                status = wire.read_exit(answer.body) if answer.status == 200 else None
        if status not in (None, _KILLED):
            return Exit(status=status or 0)
        if await self._gone():
            return Exit(status=_KILLED, container_gone=True)
        if status is None:
            raise unavailable(self._agent.name, "exit", f"the agent does not know the exit status (HTTP {answer.status})")
        return Exit(status=status)

    async def aclose(self) -> None:
        """Stop sending and waiting; the session itself ends with its connection."""
        tasks = {self._sending, self._exit}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # looked at, so that nobody is warned of it

    async def _records(self) -> AsyncIterator[bytes]:
        """Give the records of the input stream: the size first, which the launch itself does not set."""
        yield wire.attach(self._id)
        if self._resized:
            self._wake()
        while True:
            try:
                async with asyncio.timeout(wire.HEARTBEAT):
                    record = await self._input.get()
            except TimeoutError:
                record = wire.heartbeat()
            if self._resized and self._size:
                self._resized = False
                yield wire.resize(self._size)
            if record:
                yield record

    def _wake(self) -> None:
        """Let a size be sent now; where input waits it goes out together with that."""
        if not self._over and self._input.empty():
            self._input.put_nowait(b"")

    def _drop_input(self) -> None:
        self._over = True
        while not self._input.empty():
            self._input.get_nowait()

    async def _gone(self) -> bool:
        async with deadline(self._agent.name, "containers", self._agent.limits.call):
            answer = await self._agent.post({"type": "GET_CONTAINERS"})
            with self._agent.faults("containers"):
                return self.container not in wire.read_containers(answer.body)


def _context(scheme: str, ca_file: str) -> ssl.SSLContext:
    """Return a verifying context; without https one that trusts nobody, for reading the system's authorities takes its time."""
    return ssl.create_default_context(cafile=ca_file or None) if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
