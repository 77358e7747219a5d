"""Where the last whole line of a file ends: a writer that died may have left half a line behind it."""

from __future__ import annotations

import os


def end_of_last_line(file: int, length: int, block: int = 65536) -> int:
    """Return the offset after the last newline within ``length`` bytes of the open file, 0 when there is none."""
    end = length
    while end:
        start = max(0, end - block)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
