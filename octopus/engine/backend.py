"""ExecBackend for Docker engines: find the container, start the command, leave nothing behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Self

from octopus.core.container_log import ContainerLog, LogQuery, LogsBackend
from octopus.core.errors import ContainerUnavailable, InvalidRequest
from octopus.core.files import FileUnsupported
from octopus.core.ports import ContainerFiles, ExecBackend, ExecStream, FilesBackend
from octopus.core.types import ExecSpec, Target
from octopus.engine.containers import ContainerGone, find
from octopus.engine.docker_exec import DockerExecStream
from octopus.engine.docker_files import container_files
from octopus.engine.docker_logs import DockerLog
from octopus.engine.engines import Engine, Engines
from octopus.engine.identify import SANDBOX
from octopus.engine.launch import CONSOLE_SIZE_SINCE, console_size, direct_argv, exec_config
from octopus.engine.limits import EngineLimits, FileLimits
from octopus.engine.reaper import Place, Reaper
from octopus.engine.shell import NO_SHELL, Shells
from octopus.engine.transport import ByteStream
from octopus.engine.wire import NEWEST, Container

IN_SANDBOX = "the log of this container is in its sandbox: ssh NAME@GATEWAY 'tail -f $MESOS_SANDBOX/stdout'"
DEFAULT_LIMITS = EngineLimits()
DEFAULT_FILE_LIMITS = FileLimits()


class DockerBackend:
    """Commands in, and files of, containers of Docker engines.

    ``sandbox`` is where Mesos mounts it, ``newest`` the newest API to speak, ``file_limits`` hold for each file session,
    ``now`` gives seconds since 1970.
    """

    def __init__(
        self,
        limits: EngineLimits = DEFAULT_LIMITS,
        *,
        sandbox: str = SANDBOX,
        newest: tuple[int, int] = NEWEST,
        file_limits: FileLimits = DEFAULT_FILE_LIMITS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._now = now
        self._file_limits = file_limits
        self.engines = Engines(limits, newest=newest)
        self._sandbox = sandbox
        self._shells = Shells()
        self._reaper = Reaper()

    @asynccontextmanager
    async def start(self, target: Target, spec: ExecSpec) -> AsyncIterator[ExecStream]:
        """Start the command; on leaving, also by cancellation, end what is left of it. See ``ExecBackend.start``."""
        engine = await self.engines.get(target.agent, target.engine)
        # The handshake takes as long as finding the container and creating the exec do: they go on together.
        async with engine.connecting() as connecting:
            container = await find(engine.api, target, self._sandbox)
            shell, argv = await self._command_line(engine, container, spec)
            version = await engine.api.version()
            exec_id = await engine.create(container.id, exec_config(argv, spec, shell, version))
            place = Place(engine, container.id, spec.user, shell) if shell else None
            async with self._started(engine, container, spec, place, (exec_id, version, connecting)) as stream:
                yield stream

    @asynccontextmanager
    async def _started(
        self,
        engine: Engine,
        container: Container,
        spec: ExecSpec,
        place: Place | None,
        made: tuple[str, tuple[int, int], asyncio.Task[ByteStream]],
    ) -> AsyncIterator[DockerExecStream]:
        """Start an exec that is made; on leaving, end what is left of it."""
        exec_id, version, connecting = made
        knows_size = version >= CONSOLE_SIZE_SINCE
        body: dict[str, object] = {"Detach": False, "Tty": spec.pty is not None}
        if spec.pty and knows_size:
            body["ConsoleSize"] = console_size(spec.pty.size)
        stream: DockerExecStream | None = None
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with engine.started(exec_id, body, connecting) as hijacked:
                size = spec.pty.size if spec.pty else None
                stream = DockerExecStream(
                    engine, container, exec_id, hijacked, token=spec.token, size=size, place=place, reaper=self._reaper
                )
                async with _sized(stream, tty=size is not None, again=not knows_size), _interrupted(stream, place, spec):
                    yield stream
        finally:
            if place and not spec.keep_background and not (stream and stream.container_gone):
                age = loop.time() - begun if stream and stream.complete else None
                await self._reaper.end(place, spec.token, age)

    async def reap(self, target: Target, spec: ExecSpec) -> bool:
        """End every process of the session; True as well when the container is gone. See ``ExecBackend.reap``."""
        engine = await self.engines.get(target.agent, target.engine)
        try:
            container = await find(engine.api, target, self._sandbox)
        except ContainerGone:
            return True
        shell = await self._shells.command_shell(engine.api, container)
        return bool(shell) and await self._reaper.end(Place(engine, container.id, spec.user, shell), spec.token)

    @asynccontextmanager
    async def files(self, target: Target, user: str, token: str) -> AsyncIterator[ContainerFiles]:
        """Reach the files of a container. See ``FilesBackend.files``."""
        engine = await self.engines.get(target.agent, target.engine)
        container = await find(engine.api, target, self._sandbox)
        shell = await self._shells.command_shell(engine.api, container)
        spec = ExecSpec(command=None, pty=None, env={"LC_ALL": "C"}, user=user, token=token)
        async with container_files(engine, container, shell, spec, self._reaper, self._file_limits) as files:
            yield files

    @asynccontextmanager
    async def logs(self, target: Target, query: LogQuery) -> AsyncIterator[ContainerLog]:
        """Open the log of a container. See ``LogsBackend.logs``."""
        engine = await self.engines.get(target.agent, target.engine)
        async with engine.connecting() as connecting:
            container = await find(engine.api, target, self._sandbox)
            yield DockerLog(engine, container, query, await connecting, self._now)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish the clean-ups under way, then release connections and threads."""
        await self._reaper.aclose()
        await self.engines.aclose()

    async def _command_line(self, engine: Engine, container: Container, spec: ExecSpec) -> tuple[str, list[str]]:
        """Return the shell that can run commands there ("" for none), and what to start."""
        if spec.command is None:
            shell, login_shell = await self._shells.shells(engine.api, container, spec.user)
            return shell, [login_shell]
        shell = await self._shells.command_shell(engine.api, container)
        if shell:
            return shell, [shell, "-c", spec.command]
        argv = direct_argv(spec.command)
        if argv is None:
            raise InvalidRequest(f"{engine.agent}: container {container.id} has no shell for {spec.command!r}", notice=NO_SHELL)
        return shell, argv


class EngineBackend:
    """Sends each target to the backend that can enter it: ``docker`` engines, or the Mesos agent's own API (``mesos``)."""

    def __init__(self, docker: ExecBackend, mesos: ExecBackend) -> None:
        self._backends = {"docker": docker, "mesos": mesos}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def start(self, target: Target, spec: ExecSpec) -> AbstractAsyncContextManager[ExecStream]:
        """See ``ExecBackend.start``."""
        return self._of(target).start(target, spec)

    async def reap(self, target: Target, spec: ExecSpec) -> bool:
        """See ``ExecBackend.reap``."""
        return await self._of(target).reap(target, spec)

    def files(self, target: Target, user: str, token: str) -> AbstractAsyncContextManager[ContainerFiles]:
        """See ``FilesBackend.files``. The API of Mesos agents knows none."""
        backend = self._of(target)
        if not isinstance(backend, FilesBackend):
            raise FileUnsupported(notice=f"files of {target.clue.containerizer} containers cannot be reached")
        return backend.files(target, user, token)

    def logs(self, target: Target, query: LogQuery) -> AbstractAsyncContextManager[ContainerLog]:
        """See ``LogsBackend.logs``. What Mesos' own containers write is in files of their sandbox."""
        backend = self._of(target)
        if not isinstance(backend, LogsBackend):
            raise InvalidRequest(f"{target.task}: no log of {target.clue.containerizer} containers", notice=IN_SANDBOX)
        return backend.logs(target, query)

    async def aclose(self) -> None:
        """Close all backends."""
        for backend in self._backends.values():
            await backend.aclose()

    def _of(self, target: Target) -> ExecBackend:
        backend = self._backends.get(target.clue.containerizer)
        if backend is None:
            raise ContainerUnavailable(f"{target.task}: containerizer {target.clue.containerizer!r} is not known")
        return backend


@asynccontextmanager
async def _sized(stream: DockerExecStream, *, tty: bool, again: bool) -> AsyncIterator[None]:
    """Keep the terminal's size up to date meanwhile."""
    if not tty:
        yield
        return
    task = asyncio.get_running_loop().create_task(stream.keep_size(again=again), name="terminal size")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def _interrupted(stream: DockerExecStream, place: Place | None, spec: ExecSpec) -> AsyncIterator[None]:
    """Without a shell to sweep from, at least press the terminal's keys when leaving before the end."""
    try:
        yield
    finally:
        if place is None and not stream.complete and not spec.keep_background:
            await stream.interrupt()
