"""The words of the pages in each language: English stands in the templates, the others in a TOML file beside this one.

A catalogue of our own, since there are two languages and no plurals that differ: a file of ``"English" = "译文"`` and twenty lines.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

LANGUAGES = {"en": "English", "zh": "中文"}
"""The languages, each by its own name; the first is what everything is written in."""
DEFAULT = "en"
MAX_HEADER = 1000


class Catalogue:
    """Texts by language."""

    def __init__(self, texts: Mapping[str, Mapping[str, str]]) -> None:
        self._texts = texts

    @classmethod
    def read(cls, directory: Path = Path(__file__).parent) -> Catalogue:
        """Return the catalogue of the files in the room."""
        files = {language: directory / f"{language}.toml" for language in LANGUAGES if language != DEFAULT}
        return cls({language: tomllib.loads(path.read_text(encoding="utf-8")) for language, path in files.items()})

    def text(self, language: str, english: str, **values: object) -> str:
        """Return a text in a language, with values in its braces; English where there is no other."""
        found = self._texts.get(language, {}).get(english, english)
        return found.format(**values) if values else found

    def texts(self, language: str) -> Mapping[str, str]:
        """Return all there is in a language, by the English."""
        return self._texts[language]

    def knows(self, language: str, english: str) -> bool:
        """Tell whether there is a translation."""
        return language == DEFAULT or english in self._texts[language]


def chosen(kept: str, accepted: str) -> str:
    """Return the language somebody chose, else the one their browser asks for first (RFC 9110 12.5.4) and we have."""
    if kept in LANGUAGES:
        return kept
    wishes = []
    for place, part in enumerate(accepted[:MAX_HEADER].split(",")):
        tag, _, weight = part.strip().partition(";")
        name, equals, number = weight.strip().partition("=")
        try:
            quality = float(number) if name.strip() == "q" and equals else 1.0
        except ValueError:
            quality = 0.0
        wishes.append((-quality, place, tag.strip().partition("-")[0].casefold()))
    for quality, _, language in sorted(wishes):
        if language in LANGUAGES and quality < 0:
            return language
    return DEFAULT
