"""What verbs have in common: the configuration's file, and JSON for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from octopus.core.errors import printable

if TYPE_CHECKING:
    from octopus.config import Config

DEFAULT_CONFIG = Path("/etc/octopus/octopus.toml")

ConfigFile = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration (TOML).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]


def text(value: str) -> str:
    """Return an argument that is told to others. Raise BadParameter when its bytes are no text."""
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise typer.BadParameter(f"{printable(value)} is no UTF-8 text")
    return value


def load(path: Path) -> Config:
    """Return the configuration. Raise ConfigError."""
    from octopus.config import load as load_config

    return load_config(path)
