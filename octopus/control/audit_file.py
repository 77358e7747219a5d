"""The file under the audit trail: locked for one writer, whole lines only, durable when written. Blocking; for one thread."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from octopus.control.whole_lines import end_of_last_line
from octopus.core.errors import AuditUnavailable

MAX_TORN = 4096
"""Bytes kept of a torn last line, to tell of it."""


class AuditFile:
    """``audit.jsonl`` (0600) in a directory of its own (0700).

    A write that fails is taken back, so the file always ends with a whole line; the next write opens it anew.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "audit.jsonl"
        self._directory = directory
        self._size = 0
        self._file: int | None = None
        self._lock: int | None = None

    def try_lock(self) -> bool:
        """Take the lock that makes this process the one writer; False while another holds it. Raise AuditUnavailable."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._directory / "audit.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AuditUnavailable(f"cannot open the audit directory {self._directory}: {error}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def open(self) -> bytes:
        """Open the file and cut off a torn last line, which nobody was ever told is written; return it. Raise AuditUnavailable."""
        try:
            self._file = self._open_file()
            with os.fdopen(os.dup(self._file), "rb") as file:
                length = file.seek(0, os.SEEK_END)
                self._size = end_of_last_line(file.fileno(), length)
                torn = os.pread(self._file, min(length - self._size, MAX_TORN), self._size)
            if torn:
                os.ftruncate(self._file, self._size)
                os.fsync(self._file)
        except OSError as error:
            raise AuditUnavailable(f"cannot open {self.path}: {error}") from error
        return torn

    def lines(self) -> Iterator[bytes]:
        """Yield the lines written so far."""
        with self.path.open("rb") as file:
            yield from file

    def append(self, lines: bytes) -> None:
        """Write whole lines; on return they are durable, or AuditUnavailable is raised and none of them is there."""
        try:
            if self._file is None:
                self._file = self._reopen()
            _write_all(self._file, lines)
            os.fsync(self._file)
        except OSError as error:
            self._take_back()
            raise AuditUnavailable(f"cannot write {self.path}: {error}") from error
        self._size += len(lines)

    def close(self) -> None:
        """Close the file and let go of the lock."""
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def _open_file(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(self.path, flags, 0o600)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return file

    def _reopen(self) -> int:
        file = self._open_file()
        length = os.fstat(file).st_size
        if length < self._size:
            os.close(file)
            raise OSError(f"it has shrunk from {self._size} to {length} bytes")
        os.ftruncate(file, self._size)
        return file

    def _take_back(self) -> None:
        # After a failed fsync the kernel may have dropped pages: only a new descriptor and a new write can be trusted.
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            os.ftruncate(file, self._size)
        except OSError:
            return  # The next write cuts it, or this process' end leaves lines whose events did happen.
        finally:
            os.close(file)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
