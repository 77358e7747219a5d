"""An engine that costs nothing: it answers as Docker does and runs no containers, so that what is measured is the gateway.

``python -m tests.benchmarks.stub_engine SOCKET`` serves one container, ``idle``, until it is killed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
import sys

CONTAINER = "c0ffee" + "0" * 58
NAME = "idle"
_STAT = {"name": "sh", "size": 1, "mode": 0o755, "mtime": "2026-01-01T00:00:00Z", "linkTarget": ""}
STAT = base64.b64encode(json.dumps(_STAT).encode()).decode()
INSPECTED = {"Id": CONTAINER, "Name": f"/{NAME}", "State": {"Running": True, "StartedAt": "2026-01-01T00:00:00Z"}}
LISTED = {"Id": CONTAINER, "Names": [f"/{NAME}"], "State": "running", "Created": 1}
TOP = {"Titles": ["PID", "STAT", "ELAPSED"], "Processes": [["1", "S", "99999999"]]}
ANSWERS: list[tuple[str, int, object]] = [
    (r"GET (/v[^/]+)?/version", 200, {"ApiVersion": "1.45", "MinAPIVersion": "1.24"}),
    (r"GET /v[^/]+/containers/json.*", 200, [LISTED]),
    (r"GET /v[^/]+/containers/[^/]+/json", 200, INSPECTED),
    (r"GET /v[^/]+/containers/[^/]+/top.*", 200, TOP),
    (r"GET /v[^/]+/exec/[^/]+/json", 200, {"Running": False, "ExitCode": 0}),
    (r"POST /v[^/]+/exec/[^/]+/resize.*", 200, {}),
]


class Execs:
    """The execs made so far: whether each is a sweep, which reads signals and answers how many processes it met."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._sweeps: set[str] = set()

    def made(self, config: dict[str, object]) -> str:
        """Keep an exec and return its id."""
        made = f"{next(self._ids):064x}"
        if "octopus-sweep" in str(config.get("Cmd")):
            self._sweeps.add(made)
        return made

    async def run(self, made: str, tty: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the exec: a sweep that finds nothing, or a shell that shows its prompt and ends with its input."""
        if made in self._sweeps:
            self._sweeps.discard(made)
            while await reader.readline() not in (b"", b"EXIT\n"):
                writer.write(b"\1\0\0\0\0\0\0\2" + b"0\n")
        elif tty:
            writer.write(b"/ # ")
            while data := await reader.read(4096):
                writer.write(data)
                if b"\r" in data:
                    break


async def serve(execs: Execs, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests on one connection to its end."""
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            what = head.partition(" HTTP/")[0]
            length = re.search(r"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if started := re.fullmatch(r"POST /v[^/]+/exec/([^/]+)/start", what):
                writer.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
                await execs.run(started[1], bool(json.loads(body).get("Tty")), reader, writer)
                break
            writer.write(answer(what, body, execs))
            await writer.drain()
    writer.close()


def answer(what: str, body: bytes, execs: Execs) -> bytes:
    """Return the whole answer to a request."""
    if what.startswith("HEAD"):
        known = "passwd" not in what
        return f"HTTP/1.1 {200 if known else 404} x\r\nX-Docker-Container-Path-Stat: {STAT}\r\nContent-Length: 0\r\n\r\n".encode()
    if re.fullmatch(r"POST /v[^/]+/containers/[^/]+/exec", what):
        status, content = 201, json.dumps({"Id": execs.made(json.loads(body))})
    else:
        found = next(((status, json.dumps(content)) for pattern, status, content in ANSWERS if re.fullmatch(pattern, what)), (404, "{}"))
        status, content = found
    return f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}".encode()


async def main(socket: str) -> None:
    """Serve at ``socket`` for ever."""
    execs = Execs()
    async with await asyncio.start_unix_server(lambda reader, writer: serve(execs, reader, writer), socket, backlog=1024) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
