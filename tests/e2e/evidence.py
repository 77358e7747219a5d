"""What a gateway of the run leaves when it ends: proven, replayed by asciinema, and searched for every secret that was used."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from octopus.control.audit_verify import verify
from tests.stranger import prove

GIVEN = {"ldap.secret", "users.toml", "authority.pub", "s3-access", "s3-secret"}
"""What a gateway was given, and did not write."""
TYPED = "askpass-"
"""Begins the names of what answers ssh's questions."""
MAX_NAMES = 200
"""Recordings replayed by one command."""

seen: Counter[str] = Counter()
"""What was looked at in the whole run."""


async def faults(
    directory: Path, audit: Path, secrets: Iterable[str], marks: Iterable[str], asciinema: str, *, in_order: bool
) -> list[str]:
    """Return what must not be in what a gateway left in its ``directory``; ``in_order`` when it ended as it should."""
    wrong = await asyncio.to_thread(told, directory, secrets, marks)
    wrong += [f"{path} is open to others" for top in (audit, directory / "run") for path in open_to_others(top)]
    if (audit / "audit.jsonl").exists():
        verdict = await asyncio.to_thread(verify, audit)
        wrong += [f"{fault.file}:{fault.line}: {fault.text}" for fault in verdict.faults]
        seen.update(trails=1, lines=verdict.lines, proven_recordings=verdict.recordings)
        if in_order and prove(audit) != verdict.lines:
            wrong.append("a stranger counts other lines")
        wrong += await unplayable(sorted(audit.rglob("*.cast")), asciinema)
    return wrong


def told(directory: Path, secrets: Iterable[str], marks: Iterable[str]) -> list[str]:
    """Return each secret that stands in a file that was not given, as it is or in base64.

    The marks of sessions stand in the files of those that the next supervisor may have to clean up after, and nowhere else.
    """
    wanted = [(secret, form) for secret in secrets for form in forms(secret)]
    marked = [(mark, form) for mark in marks for form in forms(mark)]
    files = [path for path in directory.rglob("*") if path.is_file() and path.name not in GIVEN and not path.name.startswith(TYPED)]
    wrong = []
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            content = path.read_bytes()
            sought = wanted if path.parent == directory / "run" / "sessions" else wanted + marked
            wrong += [f"{path.relative_to(directory)} tells {secret!r}" for secret, form in sought if form in content]
    seen.update(files=len(files), secrets=len(wanted) + len(marked))
    return wrong


def open_to_others(top: Path) -> list[Path]:
    """Return what group or others may do something with: ``top`` or anything below."""
    return [path for path in (top, *top.rglob("*")) if path.exists() and path.lstat().st_mode & 0o077]


def forms(secret: str) -> list[bytes]:
    """Return the text, and its base64 wherever it begins within three bytes."""
    raw = secret.encode()
    cores = [base64.b64encode(bytes(shift) + raw)[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6] for shift in range(3)]
    return [raw, *cores]


async def unplayable(recordings: list[Path], asciinema: str) -> list[str]:
    """Return the recordings of which asciinema shows anything else than what they hold."""
    wrong = []
    for start in range(0, len(recordings), MAX_NAMES):
        some = recordings[start : start + MAX_NAMES]
        shown = await _run(asciinema, "cat", *map(str, some))
        if shown != b"".join(map(_output, some)):
            wrong += [f"{path.name} is not replayed" for path in some if await _run(asciinema, "cat", str(path)) != _output(path)]
    seen.update(replayed=len(recordings))
    return wrong


@asynccontextmanager
async def marks_of(sessions: Path, marks: set[str]) -> AsyncIterator[None]:
    """Note meanwhile the marks of the sessions that are live: of those that live long enough."""

    async def look() -> None:
        while True:
            for path in sessions.glob("*.json"):
                with contextlib.suppress(OSError, ValueError, KeyError):
                    marks.add(json.loads(path.read_bytes())["admission"]["allow"]["spec"]["token"])
            await asyncio.sleep(0.2)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _output(path: Path) -> bytes:
    _, *events = map(json.loads, path.read_bytes().splitlines())
    return "".join(data for _, code, data in events if code == "o").encode()


async def _run(*command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    shown, _ = await process.communicate()
    return shown
