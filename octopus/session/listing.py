"""Running tasks as plain text: the table of ``ps``, and what ``help`` says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from octopus.control.plane import Candidate
from octopus.core.errors import AmbiguousTarget, OctopusError, printable
from octopus.session.durations import age

HELP = """\
octopus: ssh into the containers of running tasks

  ssh TASK@GATEWAY             a task by its id, or the start of it
  ssh APP@GATEWAY              an app (logging_logstash is /logging/logstash); several instances: choose on a terminal
  ssh APP~2@GATEWAY            the app's second instance; ~any takes any
  ssh APP@AGENT@GATEWAY        the app's instance on that agent
  ssh LOGIN+NAME@GATEWAY       the same, with your login said up front
  ssh LOGIN@GATEWAY            choose on a terminal from all you may enter

  ssh NAME@GATEWAY COMMAND     runs a command; its exit status is yours
  ssh -s NAME@GATEWAY logs -f  follows the container's log; -n LINES, -t, --since 10m
  ssh LOGIN@GATEWAY ps [TEXT]  lists what you may enter

  scp FILE NAME@GATEWAY:/tmp/  copies a file in, or out the other way round; sftp NAME@GATEWAY does more
  ssh -L 8080:localhost:PORT NAME@GATEWAY   forwards a port of the task's own
"""

MAX_LISTED = 20
"""Candidates a refusal lists."""


def plain(text: str, width: int = 300) -> str:
    """Return upstream text safe for a terminal, one cell a character: all but printable ASCII is escaped, cut to ``width``."""
    shown = printable(text, width).encode("ascii", "backslashreplace").decode("ascii").replace("\\u2026", ">")
    return shown if len(shown) <= width else shown[: max(0, width - 1)] + ">"[: width or 0]


def listed(error: OctopusError) -> str:
    """Return what a refusal's notice is followed by: the tasks an ambiguous name may mean."""
    if not isinstance(error, AmbiguousTarget) or not error.candidates:
        return ""
    rest = len(error.candidates) - MAX_LISTED
    return ": " + ", ".join(map(plain, error.candidates[:MAX_LISTED])) + (f" and {rest} more" if rest > 0 else "")


def table(candidates: Iterable[Candidate], now: float) -> str:
    """Return a line for each task under a heading, columns aligned, whole ids. ``now`` in seconds since 1970."""
    rows = [("APP", "TASK", "AGENT", "AGE")]
    rows += [(plain(one.app), plain(one.task), plain(one.agent), age(one.started, now)) for one in candidates]
    widths = _widths(rows)
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows)


def short_id(task: str) -> str:
    """Return what tells a task from its siblings: the first eight characters of its UUID (Marathon's ids end in one)."""
    last = task.partition(".instance-")[2] or task.partition(".marathon-")[2] or task.rpartition(".")[2]
    return last[:8]


def _widths(rows: Sequence[tuple[str, ...]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]
