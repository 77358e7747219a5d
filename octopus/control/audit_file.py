"""The files under the audit trail: locked for one writer, whole lines only, durable when written. Blocking; for one thread."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from octopus.control.whole_lines import end_of_last_line
from octopus.core.chain import CURRENT, HEAD, TAIL, first_seq
from octopus.core.errors import AuditUnavailable

MAX_TORN = 4096
"""Bytes kept of a torn last line, to tell of it."""


def finished_files(directory: Path) -> list[Path]:
    """Return the trail's finished files, in its order. Raise OSError."""
    return sorted((path for path in directory.iterdir() if first_seq(path.name)), key=lambda path: first_seq(path.name))


def open_files(directory: Path, stack: ExitStack) -> list[BinaryIO]:
    """Open the files of the trail, oldest first; the current one first of all: it may be finished, and found, meanwhile. Raise OSError."""
    try:
        current = [stack.enter_context((directory / CURRENT).open("rb"))]
    except FileNotFoundError:
        current = []
    finished = [
        path for path in finished_files(directory) if not any(os.path.samestat(os.fstat(file.fileno()), path.stat()) for file in current)
    ]
    return [*(stack.enter_context(path.open("rb")) for path in finished), *current]


class AuditFile:
    """``audit.jsonl`` (0600) in a directory of its own (0700), with the finished files and the last checkpoint beside it.

    A write that fails is taken back, so the file always ends with a whole line; the next write opens it anew. Before each write
    the file has to be the one that was written last: where it was taken away or replaced, nothing is written until it is back.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / CURRENT
        self.size = 0
        self._directory = directory
        self._end = b""
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
            self._file = self._open_file(os.O_CREAT)
            length = os.fstat(self._file).st_size
            self.size = end_of_last_line(self._file, length)
            torn = os.pread(self._file, min(length - self.size, MAX_TORN), self.size)
            if torn:
                os.ftruncate(self._file, self.size)
                os.fsync(self._file)
            self._end = os.pread(self._file, TAIL, max(0, self.size - TAIL))
        except OSError as error:
            raise AuditUnavailable(f"cannot open {self.path}: {error}") from error
        return torn

    def last_finished(self) -> Path | None:
        """Return the file before the current one, None where there is none. Raise AuditUnavailable."""
        try:
            return next(reversed(finished_files(self._directory)), None)
        except OSError as error:
            raise AuditUnavailable(f"cannot list {self._directory}: {error}") from error

    def lines(self, path: Path) -> Iterator[bytes]:
        """Yield the lines written so far to the current file or a finished one."""
        with path.open("rb") as file:
            yield from file

    def append(self, lines: bytes) -> None:
        """Write whole lines; on return they are durable, or AuditUnavailable is raised and none of them is there."""
        try:
            file = self._held()
            try:
                _write_all(file, lines)
                os.fsync(file)
            except OSError:
                self._take_back(file)
                raise
        except OSError as error:
            raise AuditUnavailable(f"cannot write {self.path}: {error}") from error
        self.size += len(lines)
        self._end = lines[-TAIL:]

    def rotate(self, name: str) -> None:
        """Finish the current file under ``name``; the next write begins another and syncs the directory. Raise AuditUnavailable."""
        finished = self._directory / name
        try:
            self._held()
            if finished.exists():
                raise FileExistsError(f"{finished} is there")
            self.path.rename(finished)
        except OSError as error:
            raise AuditUnavailable(f"cannot finish {self.path} as {name}: {error}") from error
        self._drop()
        self.size, self._end = 0, b""

    def keep_head(self, checkpoint: bytes) -> None:
        """Keep the last checkpoint in its own file. Raise AuditUnavailable."""
        path = self._directory / HEAD
        new = path.with_name(HEAD + ".new")
        try:
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                _write_all(file, checkpoint)
                os.fsync(file)
            finally:
                os.close(file)
            new.rename(path)
            self._sync_directory()
        except OSError as error:
            raise AuditUnavailable(f"cannot write {path}: {error}") from error

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self._drop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open_file(self, create: int) -> int:
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | create | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._sync_directory()
        return file

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _held(self) -> int:
        """Return the open file, which is the one at its path and ends with what was written last."""
        if self._file is not None:
            here, held = os.stat(self.path, follow_symlinks=False), os.fstat(self._file)
            if (here.st_dev, here.st_ino) == (held.st_dev, held.st_ino) and held.st_size >= self.size:
                return self._file
            self._drop()
        self._file = self._reopen()
        return self._file

    def _reopen(self) -> int:
        file = self._open_file(0 if self.size else os.O_CREAT)
        try:
            self._recognise(file)
            os.ftruncate(file, self.size)
        except OSError:
            os.close(file)
            raise
        return file

    def _recognise(self, file: int) -> None:
        length = os.fstat(file).st_size
        if length < self.size:
            raise OSError(f"it has shrunk from {self.size} to {length} bytes")
        if os.pread(file, len(self._end), self.size - len(self._end)) != self._end:
            raise OSError("it is another file than the one written before")

    def _take_back(self, file: int) -> None:
        # After a failed fsync the kernel may have dropped pages: only a new descriptor and a new write can be trusted.
        try:
            os.ftruncate(file, self.size)
        except OSError:
            return  # The next write cuts it, or this process' end leaves lines whose events did happen.
        finally:
            self._drop()

    def _drop(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
