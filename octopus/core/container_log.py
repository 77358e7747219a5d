"""A container's log, what its processes wrote to standard output and error: how it is asked for, and the port to read it.

It is asked for as a subsystem, in the words of ``docker logs``: ``logs [-f] [-n LINES] [-t] [--since TIME]``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import NoReturn, Protocol, runtime_checkable

from octopus.core.errors import InvalidRequest, printable
from octopus.core.types import Output, Target, Value

NAME = "logs"
DEFAULT_LINES = 1000
USAGE = "expected logs [-f] [-n LINES|all] [-t] [--since 30s|10m|2h|1d]"
_SINCE = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MAX_ASKED = 200
"""Characters of what is asked: argparse takes minutes for a hundred thousand options, and all others of the process wait."""
_LINES = re.compile(r"[0-9]{1,9}")


class LogQuery(Value, frozen=True, kw_only=True):
    """The last ``lines`` (None: all) of the last ``since`` seconds (0: whenever), with the time of each where ``timestamps``; with
    ``follow`` also those to come."""

    follow: bool = False
    lines: int | None = DEFAULT_LINES
    timestamps: bool = False
    since: int = 0


class ContainerLog(Protocol):
    """A log that is open."""

    container: str
    """The engine's id of the container."""

    def output(self) -> AsyncGenerator[Output, None]:
        """Yield it as it comes, to its end, or with ``follow`` to the container's. To be iterated once.

        Raise ContainerUnavailable, InvalidRequest (the container's logging driver keeps nothing that could be read).
        """
        ...


@runtime_checkable
class LogsBackend(Protocol):
    """Reads the logs of containers."""

    def logs(self, target: Target, query: LogQuery) -> AbstractAsyncContextManager[ContainerLog]:
        """Check the container against the target as ``ExecBackend.start`` does; on leaving, let go of the log.

        Raise ContainerUnavailable, InvalidRequest (a containerizer that keeps no log).
        """
        ...


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidRequest(f"logs: {message}", notice=f"logs: {message}; {USAGE}")


def asked(subsystem: str) -> bool:
    """Tell whether a subsystem's name is this one, with or without options."""
    return subsystem.partition(" ")[0] == NAME


def read(subsystem: str) -> LogQuery:
    """Return what is asked. Raise InvalidRequest, which says how to ask."""
    if len(subsystem) > MAX_ASKED:
        raise InvalidRequest("logs: too long", notice=f"logs: more than {MAX_ASKED} characters; {USAGE}")
    parser = _Parser(prog=NAME, add_help=False, allow_abbrev=False)
    parser.add_argument("-f", "--follow", action="store_true")
    parser.add_argument("-n", "--tail", dest="lines", type=_lines, default=DEFAULT_LINES)
    parser.add_argument("-t", "--timestamps", action="store_true")
    parser.add_argument("--since", type=_since, default=0)
    return LogQuery(**vars(parser.parse_args(subsystem.split()[1:])))


def _lines(text: str) -> int | None:
    if text == "all":
        return None
    if not _LINES.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{printable(text, 40)!r} is no number of lines")
    return int(text)


def _since(text: str) -> int:
    found = _SINCE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{printable(text, 40)!r} is no time that has passed")
    return int(found[1]) * _SECONDS[found[2]]
