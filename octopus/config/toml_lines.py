"""Where the keys of a TOML text stand: what tomllib knows and does not tell.

Works on text that tomllib has read without complaint, so it may be simple: it walks the words, skips values whole, and
notes the line of each table header and of each key outside of inline tables.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping

KeyPath = tuple[str | int, ...]
"""Keys from the top, with a number for each element of an array of tables: ``("policy", 2, "apps")``."""

_LEXEME = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # a value may end in quotes of its own
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*|\n|[\[\]{}=.,]|[^\s\[\]{}=.,#\"']+",
    re.DOTALL,
)
_OPEN, _CLOSE = frozenset("[{"), frozenset("]}")
_PUNCTUATION = frozenset("[].")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, of every key and table header of a valid TOML text."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    counts: dict[KeyPath, int] = {}
    for line, statement in _statements(text):
        if statement[0] == "[":
            table = _header(statement, counts)
            _note(lines, table, 0, line)
        else:
            _note(lines, table + _keys(statement[: statement.index("=")]), len(table), line)
    return lines


def nearest_line(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """Return the line of ``path`` or of the nearest thing that holds it; 0 when there is none."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 0)


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each header and each ``key = value`` as its first line and its words."""
    line, depth = 1, 0
    start, words = 1, list[str]()
    for match in _LEXEME.finditer(text):
        word = match[0]
        if word == "\n" and depth == 0 and words:
            yield start, words
            words = []
        elif word != "\n" and not word.startswith("#"):
            start = start if words else line
            words.append(word)
            depth += (word in _OPEN) - (word in _CLOSE)
        line += word.count("\n")
    if words:
        yield start, words


def _header(statement: list[str], counts: dict[KeyPath, int]) -> KeyPath:
    """Return the path of ``[table]`` or of the next ``[[table]]``, below the last element of arrays it passes through."""
    is_array = statement[1] == "["
    path: KeyPath = ()
    for key in _keys(statement):
        path += (key,)
        if path in counts:
            path += (counts[path],)
    if not is_array:
        return path
    if isinstance(path[-1], int):
        path = path[:-1]
    counts[path] = counts.get(path, -1) + 1
    return (*path, counts[path])


def _keys(words: list[str]) -> tuple[str, ...]:
    return tuple(_key(word) for word in words if word not in _PUNCTUATION)


def _key(word: str) -> str:
    return next(iter(tomllib.loads(f"{word} = 0")))


def _note(lines: dict[KeyPath, int], path: KeyPath, above: int, line: int) -> None:
    for end in range(above + 1, len(path) + 1):
        lines.setdefault(path[:end], line)
