"""How verbs print: tables for people, tab-separated lines for pipes, JSON for programs; nothing a terminal could act on."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from octopus.core.errors import printable

MAX_CELL = 1000
MIN_WIDTH = 80
"""Columns of a table on a terminal that is narrower: it wraps, and nothing is left out."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    """Print rows as JSON objects, as a table on a terminal, else as lines of columns with tabs between."""
    if as_json:
        print(to_json([dict(zip(head, row, strict=True)) for row in rows]))
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        drawn = Table(box=None, header_style="bold", pad_edge=False)
        for name in head:
            drawn.add_column(name, no_wrap=name == "session")  # which is there to be copied
        for row in rows:
            drawn.add_row(*(Text(printable(cell, MAX_CELL), overflow="fold") for cell in row))
        console = Console()
        console.width = max(console.width, MIN_WIDTH)
        console.print(drawn)
    else:
        for row in [head, *rows]:
            print("\t".join(printable(cell, MAX_CELL) for cell in row))


def to_json(value: object) -> str:
    """Return JSON for programs: ASCII only, so that no character of it does anything to a terminal."""
    return json.dumps(value, indent=2)


def when(seconds: float) -> str:
    """Return a time (seconds since 1970) in UTC, "" for 0."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if seconds > 0 else ""
