"""A live terminal, watched: what is recorded as it is recorded, as server-sent events for asciinema-player.

The recording is read, never the session: whoever watches can neither slow it nor be noticed in it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

INTERVAL = 0.2
"""Seconds between two looks at the file."""
HEARTBEAT = 15.0
"""Seconds after which a silent stream says that it is there."""
MAX_READ = 1 << 20
"""Bytes read at a time."""
CATCH_UP = 4 << 20
"""Bytes of what was before that a watcher is shown at once, to see the screen as it is."""
MAX_LINE = 1 << 20
DONE = b"event: done\ndata: {}\n\n"


class Tail:
    """Whole lines of a file that grows. Blocking."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._offset = 0
        self._rest = b""

    def beginning(self) -> tuple[bytes, list[bytes]]:
        """Return the first line, and the lines of the last CATCH_UP bytes."""
        first = os.pread(self._file, MAX_LINE, 0).partition(b"\n")[0]
        size = os.fstat(self._file).st_size
        self._offset = max(len(first) + 1, size - CATCH_UP)
        if self._offset > len(first) + 1:
            cut = os.pread(self._file, MAX_LINE, self._offset).find(b"\n")
            self._offset += cut + 1
        lines: list[bytes] = []
        while self._offset < size and (more := self.read()):
            lines += more
        return first, lines

    def read(self) -> list[bytes]:
        """Return the lines that were added since, at most MAX_READ bytes of them."""
        block = os.pread(self._file, MAX_READ, self._offset)
        self._offset += len(block)
        *lines, self._rest = (self._rest + block).split(b"\n")
        return lines

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def _never() -> bool:
    return False


async def watched(path: Path, is_live: Callable[[], bool], stopping: Callable[[], bool] = _never) -> AsyncIterator[bytes]:
    """Yield server-sent events: the screen as it is, what is written to it, and at the end of the session that it is over.

    Where it is this gateway that is ``stopping`` the stream just ends: the browser asks again, and finds the next one.
    """
    try:
        tail = await asyncio.to_thread(Tail, path)
    except OSError:
        yield DONE
        return
    try:
        first, lines = await asyncio.to_thread(tail.beginning)
        yield _message(_screen(first, lines))
        silent = 0.0
        while not stopping():
            # Asked first: what was written before the end is read after it.
            live = is_live()
            lines = await asyncio.to_thread(tail.read)
            if lines:
                yield b"".join(_message(event) for line in lines if (event := _shown(line)))
            elif not live:
                yield DONE
                break
            silent = 0.0 if lines else silent + INTERVAL
            if silent >= HEARTBEAT:
                silent = 0.0
                yield b": still here\n\n"
            await asyncio.sleep(0 if lines else INTERVAL)
    finally:
        tail.close()


def _message(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _screen(first: bytes, lines: list[bytes]) -> dict[str, Any]:
    """Return the state a watcher begins with: the size as it is now, and what was written up to now."""
    header = _decoded(first)
    known = header if isinstance(header, dict) else {}
    cols, rows, time = known.get("width", 80), known.get("height", 24), 0.0
    written = []
    for line in lines:
        event = _shown(line)
        if event is None:
            continue
        time = event[0]
        if event[1] == "o":
            written.append(event[2])
        else:
            width, _, height = event[2].partition("x")
            if width.isdecimal() and height.isdecimal():
                cols, rows = int(width), int(height)
    return {"cols": cols, "rows": rows, "time": time, "init": "".join(written)}


def _shown(line: bytes) -> list[Any] | None:
    """Return an event that is shown: output and resizes. What the person typed is for a replay by who may read the file."""
    event = _decoded(line)
    if isinstance(event, list) and len(event) == 3 and event[1] in ("o", "r") and isinstance(event[2], str):
        return event
    return None


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
