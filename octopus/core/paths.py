"""Paths of files as bytes: which of them a rule speaks of, how they are written down, how they are taken apart. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from octopus.core.globs import Glob

MAX_PATH = 4095
"""Bytes of a path, as the kernel takes them (PATH_MAX)."""


class PathRule:
    """Globs over absolute, resolved paths; none at all is every path. Raise ValueError for what is no such glob."""

    def __init__(self, globs: Iterable[str]) -> None:
        texts = tuple(globs)
        if not all(text.startswith("/") for text in texts):
            raise ValueError("a path begins with '/'")
        self._globs = tuple(Glob(text) for text in texts)

    def covers(self, path: bytes) -> bool:
        """Tell whether the rule speaks of that path."""
        text = _text(path)
        return not self._globs or any(glob.matches(text) for glob in self._globs)

    def leads_to(self, path: bytes) -> bool:
        """Tell whether what the rule speaks of may lie below that path: people must get there."""
        text = _text(path)
        return not self._globs or any(glob.may_match_below(text) for glob in self._globs)

    def covers_below(self, path: bytes) -> bool:
        """Tell whether the rule speaks of all that may lie below that path: a directory that is moved takes it along."""
        text = _text(path)
        return not self._globs or any(glob.matches_all_below(text) for glob in self._globs)


def absolute(path: bytes, start: bytes) -> bytes:
    """Return the path from ``start``, an absolute one, without ``.``, ``..`` and doubled ``/``; links are not looked at."""
    names: list[bytes] = []
    for name in (path if path.startswith(b"/") else start + b"/" + path).split(b"/"):
        if name == b"..":
            del names[-1:]
        elif name not in (b"", b"."):
            names.append(name)
    return b"/" + b"/".join(names)


def parent(path: bytes) -> bytes:
    """Return the directory an absolute path lies in."""
    return path.rpartition(b"/")[0] or b"/"


def escaped(path: bytes) -> str:
    r"""Return a path as printable text that can be turned back: ``\\`` for a backslash, ``\xNN`` for each byte of anything else."""
    return "".join(_escaped(char) for char in _text(path))


def _escaped(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
