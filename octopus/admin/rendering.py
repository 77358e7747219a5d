"""Pages from templates: everything that comes from elsewhere is escaped twice over, as HTML and as text for a screen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from octopus.admin.access import Visitor, cookie
from octopus.admin.catalogue import LANGUAGES, Catalogue, chosen
from octopus.core.errors import printable
from octopus.core.resources import shown

HERE = Path(__file__).parent
LANGUAGE = "language"
DASH = "-"
MAX_SHOWN = 4000
"""Characters of one text on a page."""


class Pages:
    """Renders templates for whoever asks."""

    def __init__(self, catalogue: Catalogue, *, version: str, clock: Callable[[], float]) -> None:
        self._catalogue = catalogue
        self._version = version
        self._clock = clock
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_harmless,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"amount": shown, "when": _when, "ago": self._ago, "since": self._since, "percent": _percent}
        self._environment.filters |= {"tojson_text": _json, "as_typed": _as_typed}

    def language(self, request: Request) -> str:
        """Return the language of an answer."""
        return chosen(cookie(request, LANGUAGE), request.headers.get("accept-language", ""))

    def render(self, request: Request, template: str, visitor: Visitor | None = None, status: int = 200, **values: Any) -> Response:
        """Return a page; ``visitor`` is who it is for."""
        language = self.language(request)
        text = self._environment.get_template(template).render(
            _=partial(self._catalogue.text, language),
            language=language,
            languages=LANGUAGES,
            visitor=visitor,
            version=self._version,
            here=request.url.path,
            address=f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path,
            query=request.query_params,
            **values,
        )
        return HTMLResponse(text, status, headers={"content-language": language, "vary": "accept-language, cookie"})

    def _ago(self, seconds: float) -> str:
        """Show an age in seconds."""
        return _span(seconds) if seconds >= 0 else DASH

    def _since(self, time: str) -> str:
        """Show how long ago a time (RFC 3339) was."""
        try:
            return _span(max(0.0, self._clock() - datetime.fromisoformat(time).timestamp()))
        except ValueError:
            return DASH


def _harmless(value: object) -> object:
    """Escape what a screen or a terminal could act on in every text that is put into a page."""
    return printable(value, MAX_SHOWN) if isinstance(value, str) and not isinstance(value, Markup) else value


def _when(time: str | float) -> str:
    """Show a time as people read it, UTC, to the second."""
    try:
        at = datetime.fromtimestamp(time, UTC) if isinstance(time, int | float) else datetime.fromisoformat(time).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return DASH
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _percent(part: float, whole: float = 1.0) -> str:
    return f"{part / whole:.0%}" if whole else DASH


def _json(value: object) -> str:
    """Show a value of the trail that is no text."""
    return msgspec.json.encode(value).decode()


def _as_typed(text: str) -> Markup:
    """Give a document back as it was typed, with its line ends."""
    return escape("".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text))
