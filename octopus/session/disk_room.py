"""Room set aside on a disk: bytes written there later find it, however full the disk is by then (fallocate(2))."""

from __future__ import annotations

import ctypes

_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE: the file is not seen to grow."""


def set_aside(fd: int, start: int, length: int) -> bool:
    """Have the disk keep room for ``length`` bytes at offset ``start``; False where it has none or knows no such thing. Blocking."""
    libc = ctypes.CDLL(None)
    return bool(libc.fallocate(fd, _KEEP_SIZE, ctypes.c_int64(start), ctypes.c_int64(length)) == 0)
