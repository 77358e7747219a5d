"""Which commands are scp's own protocol (``scp -O``), and what they ask for. Pure.

They are served here for every image alike, whether or not it holds an scp.
"""

from __future__ import annotations

import re
import shlex

from octopus.core.types import Value

_OPERATORS = frozenset("();<>|&")
_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""", re.DOTALL)


class ScpCommand(Value, frozen=True, kw_only=True):
    """``scp -f`` sends the ``paths``; ``scp -t`` (``receive``) takes files to the one path, a ``directory`` where that is said."""

    receive: bool
    paths: tuple[bytes, ...]
    recursive: bool = False
    preserve: bool = False
    directory: bool = False


def read(command: str) -> ScpCommand | None:
    """Return what an scp client asks its other half, None for every other command."""
    words = _words(command)
    if not words or words[0] not in ("scp", "/usr/bin/scp"):
        return None
    options, paths = _apart(words[1:])
    if not set(options) <= set("tfrpdvq") or ("t" in options) == ("f" in options):
        return None
    if not paths or ("t" in options and len(paths) > 1):
        return None
    return ScpCommand(
        receive="t" in options,
        paths=tuple(_path(path) for path in paths),
        recursive="r" in options,
        preserve="p" in options,
        directory="d" in options,
    )


def _words(command: str) -> list[str]:
    """Return the words as a shell takes them apart; none where a shell would do more than that."""
    if not command.startswith(("scp ", "/usr/bin/scp ")) or "\n" in command or "`" in command or "$(" in command:
        return []
    if _OPERATORS & set(_QUOTED.sub("", command)):
        return []
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _apart(words: list[str]) -> tuple[str, list[str]]:
    options = ""
    while words and words[0].startswith("-") and len(words[0]) > 1:
        option, words = words[0], words[1:]
        if option == "--":
            break
        options += option[1:]
    return options, words


def _path(word: str) -> bytes:
    home = "." if word == "~" else word.removeprefix("~/") or "."
    return home.encode("utf-8", "surrogateescape")
