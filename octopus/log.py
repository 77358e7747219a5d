"""Log lines: structlog to one stream, one event a line, nothing secret and nothing a terminal could act on.

JSON where the stream is no terminal. What libraries log through the standard library takes the same way, from warnings up:
below that asyncssh logs people's commands and httpx every request. Context is ambient: ``structlog.contextvars``.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from octopus.core.errors import printable

MAX_VALUE = 4096
"""Characters of a value in a line."""
MAX_TRACEBACK = 65_536
MAX_DEPTH = 6
HIDDEN = "[redacted]"
LIBRARIES = ("asyncssh", "asyncio", "botocore", "docker", "httpcore", "httpx", "kazoo", "ldap3", "py.warnings", "urllib3", "uvicorn")

_SECRET_KEY = re.compile(r"password|passwd|passphrase|secret|token|authorization|credential|cookie|private_?key|api_?key", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(?P<scheme>\b(?i:bearer|basic)\s+)(?=\S*[0-9A-Z=+/])[A-Za-z0-9._~+/=-]{6,}"
    r"|(?P<url>[a-z][a-z0-9+.-]{0,20}://)[^\s/@]+@"
    r"|-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


def configure(*, level: str = "info", stream: TextIO | None = None) -> None:
    """Send all log lines of this process from ``level`` up to ``stream`` (stderr), replacing what was set before."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        clean,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _in_order, _renderer(stream)],
        )
    )
    # A line that cannot be formatted would be printed by logging itself, past everything above.
    logging.raiseExceptions = False
    logging.captureWarnings(capture=True)
    handler.setLevel(level.upper())  # also of what libraries let through, which have a level of their own
    logging.root.handlers = [handler]
    logging.root.setLevel(level.upper())
    _route_libraries()


def clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide secrets by key and by form, escape control characters, cut what is long; the processor every line passes."""
    return {key: value if key.startswith("_") else _cleaned(key, value, MAX_DEPTH) for key, value in event.items()}


def _cleaned(key: str, value: object, depth: int) -> object:
    if _SECRET_KEY.search(key):
        return HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping) and depth:
        return {printable(str(name)): _cleaned(str(name), part, depth - 1) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [_cleaned("", part, depth - 1) for part in value]
    text = _SECRET_TEXT.sub(_hide, _text(value)[:MAX_TRACEBACK])
    if key == "exception":
        return "\n".join(printable(line, MAX_VALUE) for line in text.split("\n"))
    return printable(text, MAX_VALUE)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return repr(value)
    except Exception:
        # A log line must not end what it tells of.
        return f"<{type(value).__name__}>"


def _hide(match: re.Match[str]) -> str:
    return f"{match['url']}{HIDDEN}@" if match["url"] else f"{match['scheme'] or ''}{HIDDEN}"


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put first what a reader looks for first."""
    first = {key: event[key] for key in ("time", "level", "event") if key in event}
    return first | {key: value for key, value in event.items() if key not in first}


def _renderer(stream: TextIO) -> Processor:
    if not stream.isatty():
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(timestamp_key="time", exception_formatter=structlog.dev.plain_traceback)


def _route_libraries() -> None:
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers = []
        logger.propagate = True
