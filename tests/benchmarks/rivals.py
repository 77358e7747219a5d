"""What octopus is compared with: OpenSSH with docker exec as people use it today, and the bare engine API as the floor."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from octopus.core.types import TermSize
from tests.e2e.scene import Scene, own_socket
from tests.parts.engines import Engine
from tests.parts.sshd import Sshd
from tests.parts.tools import need

WINDOW = TermSize(cols=100, rows=40)


@dataclass(frozen=True)
class Container:
    """One container of the scene and the ways around octopus into it, all by its engine's own unix socket."""

    engine: Engine
    id: str

    @classmethod
    def of(cls, scene: Scene, app: str) -> Container:
        """Return the container of an app's first task."""
        task = scene.task(app)
        return cls(scene.engine(task), scene.container(task))

    def docker(self, *options: str) -> list[str]:
        """Return the start of a ``docker exec`` command line, up to the container."""
        return [need("docker", "docker.io"), "-H", own_socket(self.engine).url, "exec", *options, self.id]

    @contextmanager
    def openssh(self, command: str = "") -> Iterator[Sshd]:
        """Run an sshd that forces ``docker exec``: of a shell on a terminal, or of ``command`` without one.

        ``$SSH_ORIGINAL_COMMAND`` is what the client asks for.
        """
        shell = ["/bin/sh", "-c", f'"{command}"'] if command else ["/bin/sh"]
        words = [*self.docker("-i" if command else "-it"), *shell]
        with Sshd(more=[f"ForceCommand {' '.join(words)}"]) as server:
            yield server

    async def bare_prompt(self) -> float:
        """Return the seconds from the first of two calls of the engine's API to a shell's prompt."""
        return await self._bare({"AttachStdin": True, "AttachStdout": True, "Tty": True, "Cmd": ["/bin/sh"]}, rb"[#$] ")

    async def bare_output(self, command: str) -> float:
        """Return the seconds that a command and all its output take by the engine's API."""
        return await self._bare({"AttachStdout": True, "AttachStderr": True, "Cmd": ["/bin/sh", "-c", command]}, b"")

    async def _bare(self, config: dict[str, object], until: bytes) -> float:
        began = time.perf_counter()
        reader, writer = await asyncio.open_unix_connection(own_socket(self.engine).url.removeprefix("unix://"))
        try:
            created = await _post(reader, writer, f"/containers/{self.id}/exec", config)
            length = int(re.search(rb"(?i)content-length: (\d+)", created)[1])  # type: ignore[index]
            made = json.loads(await reader.readexactly(length))["Id"]
            await _post(reader, writer, f"/exec/{made}/start", {"Tty": config.get("Tty", False)}, "Connection: Upgrade\r\nUpgrade: tcp\r\n")
            seen = b""
            while data := await reader.read(1 << 18):
                if until and re.search(until, seen := seen + data):
                    break
            took = time.perf_counter() - began
            if until:
                writer.write(b"exit\r")
                while await reader.read(4096):
                    pass
        finally:
            writer.close()
        return took


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: object, more: str = "") -> bytes:
    """Send a request and return the head of its answer."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\n{more}Content-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    return await reader.readuntil(b"\r\n\r\n")
