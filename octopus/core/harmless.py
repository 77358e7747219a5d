"""Terminal output made harmless: what draws is kept, what acts on the terminal or makes it answer is left out (ECMA-48, xterm)."""

from __future__ import annotations

import re

MAX_SEQUENCE = 65_536
"""Characters of a sequence that is not over yet; a longer one is left out."""

_PIECE = re.compile(
    r"\x1b\[(?P<private>[<=>?]?)(?P<args>[0-9;:]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    r"|\x1b[\]P^_X][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b(?P<charset>[ -/]+[0-~])"
    r"|\x1b(?P<escape>[0-~])"
    r"|(?P<control>[\x00-\x1f\x7f-\x9f])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]P^_X][^\x07\x1b\x9c]*|[ -/]*)\Z")
_DRAWS = frozenset("@ABCDEFGHIJKLMPSTXZ`abdefgmr")
"""Final characters that move the cursor, draw, erase, scroll or set colours."""
_MODES = frozenset({"1", "6", "7", "12", "25", "47", "1047", "1048", "1049"})
"""DEC private modes of drawing: cursor, margins, the other screen. Not those that change what the keyboard or the mouse send."""
_ESCAPES = frozenset("78DEMHc=>")
_CHARSETS = frozenset({"(0", "(A", "(B", ")0", ")A", ")B"})
_CONTROLS = frozenset("\b\t\n\v\f\r\x0e\x0f")


class Harmless:
    """Takes terminal output as it comes, also cut within a sequence; ``plain`` leaves only text, tabs and line feeds of it."""

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._rest = ""

    def feed(self, text: str) -> str:
        """Return what may be shown of it."""
        text = self._rest + text
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        self._rest = text[end:] if len(text) - end <= MAX_SEQUENCE else ""
        return _PIECE.sub(self._kept, text[:end])

    def _kept(self, piece: re.Match[str]) -> str:
        if self._plain:
            return piece[0] if piece[0] in "\t\n" else ""
        if piece["control"]:
            return piece[0] if piece[0] in _CONTROLS else ""
        if piece["escape"]:
            return piece[0] if piece["escape"] in _ESCAPES else ""
        if piece["charset"]:
            return piece[0] if piece["charset"] in _CHARSETS else ""
        return piece[0] if piece["final"] and _draws(piece["private"], piece["args"], piece["between"], piece["final"]) else ""


def _draws(private: str, args: str, between: str, final: str) -> bool:
    if between:
        return False
    if private == "?":
        return final in "JK" or (final in "hl" and _MODES.issuperset(args.split(";")))
    return not private and (final in _DRAWS or (final in "su" and not args))
