"""The audit trail read from its end, a page at a time: cheap however long it is. Blocking.

A page is asked for by ``before``, the ``seq`` of the line after the last one wanted (0: from the very end), so a trail that grows
meanwhile moves nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from octopus.control.audit_file import finished_files
from octopus.core.chain import CURRENT, first_seq
from octopus.core.errors import AuditUnavailable

BLOCK = 1 << 20
MAX_LINE = 1 << 20
"""Bytes of a line that can be read; a longer one is none of ours."""
MAX_BYTES = 256 << 20
"""Bytes that are looked through for one page, of which nothing may fit."""
_SEQ = re.compile(rb'\{"seq":([0-9]{1,18}),')

FromEnd = Iterator[tuple[int, bytes]]
"""Each line with its ``seq``, the latest first."""


@dataclass(frozen=True, kw_only=True)
class TrailPage:
    """Lines that fit, the latest first; ``before`` asks for the next page, 0 when there is nothing older."""

    lines: tuple[bytes, ...]
    before: int


def _never(line: bytes) -> bool:
    return False


def page(
    directory: Path,
    fits: Callable[[bytes], bool],
    *,
    before: int = 0,
    limit: int = 100,
    max_bytes: int = MAX_BYTES,
    is_first: Callable[[bytes], bool] = _never,
) -> TrailPage:
    """Return at most ``limit`` lines before that ``seq`` that fit; before one that ``is_first`` none does. Raise AuditUnavailable."""
    found: list[bytes] = []
    looked = following = 0
    for seq, line in from_end(directory, before):
        looked += len(line)
        if fits(line):
            found.append(line)
            if is_first(line):
                break
        if len(found) >= limit or looked > max_bytes:
            following = seq
            break
    return TrailPage(lines=tuple(found), before=following if following > 1 else 0)


def from_end(directory: Path, before: int = 0) -> FromEnd:
    """Yield every line with a ``seq`` below ``before`` (0: every line), the latest first. Raise AuditUnavailable."""
    lowest = before or 1 << 62
    try:
        # The current one first: should it be finished meanwhile, it is met again and passed over.
        for path in _latest_first(directory):
            if first_seq(path.name) >= lowest:
                continue
            for seq, line in _lines_from_end(path, lowest):
                if seq < lowest:
                    lowest = seq
                    yield seq, line
    except OSError as error:
        raise AuditUnavailable(f"{error.filename or directory}: cannot be read: {error.strerror}") from error


def _latest_first(directory: Path) -> Iterator[Path]:
    yield directory / CURRENT
    yield from reversed(list(finished_files(directory)))


def _lines_from_end(path: Path, before: int) -> FromEnd:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        end = _offset_of(file, before)
        rest, torn = b"", True
        while end > 0:
            start = max(0, end - BLOCK)
            block = os.pread(file, end - start, start) + rest
            end = start
            lines = block.split(b"\n")
            if torn:  # what follows the last newline is still being written
                lines.pop()
                torn = not lines
            # The first may have begun in the block before.
            rest = lines.pop(0) if start and lines else b""
            rest = rest if len(rest) <= MAX_LINE else b""
            for line in reversed(lines):
                if seq := _seq(line):
                    yield seq, line
    finally:
        os.close(file)


def _offset_of(file: int, before: int) -> int:
    """Return an offset behind every line of a smaller ``seq``, found by halving, and not far behind."""
    size = os.fstat(file).st_size
    low, high = 0, size
    while high - low > BLOCK:
        middle = (low + high) // 2
        block = os.pread(file, 2 * MAX_LINE, middle)
        seq = _seq(block[block.find(b"\n") + 1 :])
        if not seq:
            break
        low, high = (low, middle) if seq >= before else (middle, high)
    return min(high + MAX_LINE, size)


def _seq(line: bytes) -> int:
    match = _SEQ.match(line)
    return int(match[1]) if match else 0
