"""A gateway whose processes are killed and started anew on the same folders, and what is to be seen of it meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.evidence import marks_of
from tests.e2e.gateway import HOST, Gateway, Sections, completed, program, toml
from tests.e2e.trail import TERMINAL, Event
from tests.parts.tools import SEARCH, need

MAX_LOG = 20_000
"""Characters of a gateway's log shown with a failure."""

ACTIVATED = 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&0 </dev/null'
"""Hands standard input over as the one listening socket, as systemd does (sd_listen_fds(3))."""


class Planes(Gateway):
    """A gateway without anything that watches over its processes.

    ``listener`` is held by us, as systemd would, where ``held`` is true; else each supervisor binds the port itself.
    """

    def __init__(self, directory: Path, listener: socket.socket, secrets: Iterable[str], *, held: bool) -> None:
        super().__init__(directory, listener.getsockname()[1], secrets)
        self._listener = listener
        self._held = held
        self._supervisors: list[subprocess.Popen[bytes]] = []
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._ready.bind(str(directory / "ready"))
        if not held:
            listener.close()

    @property
    def supervisor(self) -> subprocess.Popen[bytes]:
        """Return the supervisor that was started last."""
        return self._supervisors[-1]

    @property
    def processes(self) -> list[int]:
        """Return the supervisor and every worker, also those it did not start."""
        alive = [one.pid for one in self._supervisors if one.poll() is None]
        return sorted({*alive, *self.workers().values()})

    def start(self) -> None:
        """Start a supervisor; ``ready`` tells when it takes connections. What those before it said of that is forgotten."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._ready.recv(4096)
        serve = [program(), "serve", "--config", str(self.config)]
        environment = {"PATH": SEARCH, "HOME": str(self.directory), "NOTIFY_SOCKET": str(self.directory / "ready")}
        command = [need("sh", "dash"), "-c", ACTIVATED, "sh", *serve] if self._held else serve
        with (self.directory / "process" / "log").open("ab") as log:
            self._supervisors.append(
                subprocess.Popen(
                    command,
                    stdin=self._listener.fileno() if self._held else subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            )

    async def ready(self) -> None:
        """Wait until the supervisor that was started takes connections."""
        async with asyncio.timeout(30):
            while b"READY=1" not in await asyncio.get_running_loop().sock_recv(self._ready, 4096):
                pass

    async def ended(self) -> int:
        """Return the supervisor's status once it has ended."""
        return await asyncio.to_thread(self.supervisor.wait, 60)

    async def kill(self) -> None:
        """Pull the supervisor's plug."""
        self.supervisor.kill()
        await self.ended()

    def workers(self) -> dict[str, int]:
        """Return the process id of each worker that lives, by the lock it holds."""
        locks = {str(path): path.stem for path in (self.directory / "run" / "workers").glob("*.lock")}
        return {locks[file]: pid for pid, file in _open_files() if file in locks}

    async def settled(self) -> int:
        """Wait until every session is over and ``trail`` has all of it; return how many events there are."""
        await becomes(self.misdeeds, [])
        lines = len(self.trail.path.read_bytes().splitlines())
        return await self.trail.until(lambda events: lines if len(events) >= lines else None)

    def half_recordings(self) -> list[str]:
        """Return the recordings that are not closed."""
        return [path.name for path in self.recordings.rglob("*.part")]

    def close(self) -> None:
        """End all that is left."""
        for pid in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for one in self._supervisors:
            one.wait()
        self._ready.close()
        self._listener.close()


@asynccontextmanager
async def planes(
    sections: Sections, *, files: Mapping[str, str] | None = None, secrets: Iterable[str] = (), held: bool = True
) -> AsyncIterator[Planes]:
    """Give a gateway that takes connections. Left in peace, its trail and its logs are held to what always holds."""
    directory = Path(tempfile.mkdtemp(prefix="octopus-planes-"))
    running = Planes(directory, socket.create_server((HOST, 0), backlog=128), secrets, held=held)
    try:
        for name, content in (files or {}).items():
            (directory / name).touch(mode=0o600)
            (directory / name).write_text(content)
        (directory / "process").mkdir()
        running.config.write_text(toml(completed(sections, running.port)))
        running.start()
        await running.ready()
        async with marks_of(directory / "run" / "sessions", running.marks), running.trail.followed():
            yield running
            wrong = running.misdeeds()
            assert not wrong, "\n".join(wrong)
        await asyncio.to_thread(running.close)
        wrong = await running.left(in_order=False)
        assert not wrong, "\n".join(wrong)
    except BaseException as error:
        error.add_note(running.log[-MAX_LOG:])
        raise
    finally:
        running.close()
        shutil.rmtree(directory, ignore_errors=True)


async def becomes(look: Callable[[], object], wanted: object, *, within: float = 30.0) -> None:
    """Wait until ``look`` (which may block) sees what is wanted; raise AssertionError with what it saw last."""
    until = asyncio.get_running_loop().time() + within
    while (seen := await asyncio.to_thread(look)) != wanted:
        if asyncio.get_running_loop().time() > until:
            raise AssertionError(f"{seen!r} and not {wanted!r} after {within:g} s")


def ends(events: Iterable[Event]) -> list[Event]:
    """Return the terminal events."""
    return [event for event in events if event["event"] in TERMINAL]


def _open_files() -> list[tuple[int, str]]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += [(int(process.name), os.readlink(one)) for one in (process / "fd").iterdir()]
    return found
