"""The installed gateway as a process of its own: configured by a file, started by its command, watched from outside."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from octopus.demo.engines import free_port
from octopus.demo.process import Daemon
from tests.e2e import evidence
from tests.e2e.evidence import marks_of
from tests.e2e.trail import Trail, faults
from tests.parts.ssh_client import Ended, SshClient
from tests.parts.tools import SEARCH, need

HOST = "127.0.0.1"

Value = str | int | bool | Sequence[str]
Section = Mapping[str, Value]
Sections = Mapping[str, Section | Sequence[Section]]
"""A configuration: ``{"auth.ldap": {…}}`` is a section, ``{"policy": [{…}]}`` a list of them."""


def program(name: str = "octopus") -> str:
    """Return an installed command, which lies beside the interpreter that runs the tests."""
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {name} is not installed beside {sys.executable}")
    return str(path)


def toml(sections: Sections) -> str:
    """Return the configuration file; a JSON string, number, boolean or list of these is TOML too."""
    lines: list[str] = []
    for name, section in sections.items():
        heads = [(f"[{name}]", section)] if isinstance(section, Mapping) else [(f"[[{name}]]", one) for one in section]
        for head, keys in heads:
            lines += [head, *(f"{key} = {json.dumps(value)}" for key, value in keys.items()), ""]
    return "\n".join(lines)


class Gateway:
    """A gateway that runs; ``secrets`` are texts that must never be in its logs or on its trail."""

    def __init__(self, directory: Path, port: int, secrets: Iterable[str]) -> None:
        self.directory = directory
        self.port = port
        self.config = directory / "octopus.toml"
        self.audit = directory / "audit"
        self.recordings = self.audit / "recordings"
        self.trail = Trail(self.audit / "audit.jsonl")
        self.ssh = SshClient(HOST, port, directory)
        self.secrets = set(secrets)
        self.marks: set[str] = set()

    @property
    def log(self) -> str:
        """Return what the gateway and its workers have logged, in whole lines: one may be just being written."""
        text = (self.directory / "process" / "log").read_text(errors="replace")
        return text[: text.rfind("\n") + 1]

    @property
    def processes(self) -> list[int]:
        """Return the gateway's process and its workers'."""
        mine = [pid for pid in _running() if str(self.config).encode() in _arguments(pid)]
        return sorted(set(mine) | {pid for one in mine for pid in _descendants(one)})

    def memory(self) -> int:
        """Return the resident bytes of the largest of its processes (proc(5), VmRSS)."""
        return max(_resident(pid) for pid in self.processes)

    async def run(self, *arguments: str) -> Ended:
        """Run the command with another verb, on the same configuration."""
        return await self.ssh.run_program([program(), *arguments, "--config", str(self.config)], stdin=None)

    async def serves(self, name: str, *, key: Path) -> None:
        """Wait until somebody may enter ``name``: the feeds read on their own while the gateway listens already."""
        ended: Ended | None = None
        try:
            async with asyncio.timeout(30):
                while (ended := await self.ssh.run(name, "true", key=key)).status:
                    pass
        except TimeoutError:
            raise AssertionError(f"{name} cannot be entered: {ended}\n{self.log[-3000:]}") from None

    def misdeeds(self) -> list[str]:
        """Return what must never be, whatever was done to it: faults of the trail, tracebacks, secrets told."""
        trail, log = self.trail.path.read_text(), self.log
        told = [
            f"{where} tells {secret!r}" for secret in self.secrets for where, text in (("trail", trail), ("log", log)) if secret in text
        ]
        bugs = [f"traceback in the log: {log[found.start() :][:3000]}" for found in re.finditer("Traceback", log)][:1]
        return faults(trail) + told + bugs

    async def left(self, *, in_order: bool = True) -> list[str]:
        """Return what must not be in all it wrote, now that it has ended; ``in_order`` where nobody killed it."""
        return await evidence.faults(self.directory, self.audit, self.secrets, self.marks, program("asciinema"), in_order=in_order)

    async def still(self) -> None:
        """Wait until every session has its end on the trail."""
        await self.trail.until(lambda _: True if not _open(self.trail.events) else None)


@asynccontextmanager
async def gateway(sections: Sections, *, files: Mapping[str, str] | None = None, secrets: Iterable[str] = ()) -> AsyncIterator[Gateway]:
    """Run ``octopus serve`` until left. ``files`` are written beside the configuration first, open to their owner only.

    Relative paths in ``sections`` are of that directory. On leaving, its trail and its logs are held to what always holds.
    """
    directory = Path(tempfile.mkdtemp(prefix="octopus-e2e-"))
    try:
        running = Gateway(directory, free_port(HOST), secrets)
        for name, content in (files or {}).items():
            (directory / name).touch(mode=0o600)
            (directory / name).write_text(content)
        running.config.write_text(toml(completed(sections, running.port)))
        async with marks_of(directory / "run" / "sessions", running.marks), _served(running), running.trail.followed():
            yield running
            await running.still()
        wrong = await running.left()
        assert not wrong, "\n".join(wrong)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def _served(running: Gateway) -> AsyncIterator[None]:
    (running.directory / "process").mkdir()
    clean = [need("env", "coreutils"), "-i", f"PATH={SEARCH}", f"HOME={running.directory}"]
    careless = [need("sh", "dash"), "-c", 'umask 0; exec "$@"', "sh"]  # what it writes is private, whatever its parent thinks of that
    command = [*careless, *clean, program(), "serve", "--config", str(running.config)]
    daemon = Daemon(running.directory / "process", command, lambda: _greets(running.port), start_timeout=30)
    await asyncio.to_thread(daemon.__enter__)
    try:
        yield
        wrong = running.misdeeds()
        assert not wrong, "\n".join(wrong)
    finally:
        await asyncio.to_thread(daemon.stop)


def completed(sections: Sections, port: int) -> Sections:
    """Return the sections with what every gateway here has: a port and folders of its own."""
    own: dict[str, Section] = {
        "ssh": {"listen": [f"{HOST}:{port}"], "runtime_directory": "run", "workers": 1},
        "audit": {"directory": "audit"},
        "admin": {"listen": ""},
        "unique": {"mode": "off"},
        "capacity": {"interval": "0"},
        "limits": {"refusal_time": "1s", "failures_per_address": 10_000},
    }
    for name, section in sections.items():
        own[name] = {**own.get(name, {}), **section} if isinstance(section, Mapping) else section  # type: ignore[assignment]
    return own


def _greets(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), 1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _open(events: Iterable[Mapping[str, object]]) -> set[object]:
    """Return the sessions that were requested and are not over."""
    begun = {event["session"] for event in events if event["event"] == "session.requested"}
    return begun - {event["session"] for event in events if event["event"] in ("session.ended", "session.failed")}


def _running() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _arguments(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _descendants(pid: int) -> list[int]:
    try:
        below = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*below, *(one for child in below for one in _descendants(child))]


def _resident(pid: int) -> int:
    try:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) << 10 if found else 0
