"""Standard input, output and error of the command: there even where the caller closed them, and a failing output is an error of ours."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import cast

from octopus.core.errors import OutputFailed


def prepare() -> None:
    """Open to /dev/null what the caller closed, and have what cannot be written raise OutputFailed.

    Otherwise the next file that is opened would become standard output, and what is printed would land in it.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 (these live as long as the process)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdout = _Output.of(cast(io.TextIOWrapper, sys.stdout) or open(1, "w", closefd=False))  # noqa: SIM115


def finish() -> None:
    """Write what is still held back. Raise OutputFailed; Python then says nothing more about it."""
    try:
        sys.stdout.flush()
    except (OutputFailed, BrokenPipeError):
        give_up()
        raise


def give_up() -> None:
    """Let what is still to be printed go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


class _Output(io.TextIOWrapper):
    @classmethod
    def of(cls, stream: io.TextIOWrapper) -> _Output:
        encoding, errors = stream.encoding, stream.errors
        lines, at_once = stream.line_buffering, stream.write_through
        return cls(stream.detach(), encoding, errors, line_buffering=lines, write_through=at_once)

    def write(self, text: str, /) -> int:
        with _told():
            return super().write(text)

    def flush(self) -> None:
        with _told():
            super().flush()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # whoever reads has enough: no failure
        raise
    except OSError as error:
        raise OutputFailed(f"standard output cannot be written: {error.strerror}") from error
