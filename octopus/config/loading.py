"""Reads the layers of the configuration, one over the other, and collects what is wrong with any of them."""

from __future__ import annotations

import contextlib
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from octopus.config.crossings import Fault, crossings
from octopus.config.faults import dotted, faults_of, keys_of, section_at, suggestion
from octopus.config.files import CREDENTIAL
from octopus.config.sections import Config
from octopus.config.toml_lines import KeyPath, key_lines, nearest_line
from octopus.core.errors import ConfigError

MAX_FILE = 4 * 1024 * 1024
"""Bytes of a configuration file."""
PREFIX = "OCTOPUS_"


def load(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration in ``path``, under the environment and systemd's credentials. Raise ConfigError."""
    environ = os.environ if environ is None else environ
    text = _read(path)
    data = _parse(path, text)
    credentials = environ.get("CREDENTIALS_DIRECTORY", "")
    context = {"base": str(path.parent.absolute()), "credentials": credentials}
    places, unknown = _overlay(data, environ, context)
    _add_credentials(data, credentials)
    faults: list[Fault] = list(crossings(data))
    try:
        config = Config.model_validate(data, context=context)
    except ValidationError as error:
        faults += faults_of(error, Config)
        raise ConfigError(_lines(path, key_lines(text), places, faults) + unknown) from error
    if faults or unknown:
        raise ConfigError(_lines(path, key_lines(text), places, faults) + unknown)
    return config


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
        text = raw.decode("utf-8-sig")  # editors of Windows put a mark in front
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: not UTF-8 text"]) from error
    if len(raw) > MAX_FILE:
        raise ConfigError([f"{path}: longer than {MAX_FILE} bytes"])
    return text


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        where = re.search(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", str(error))
        line = int(where["line"]) if where and where["line"] else text.count("\n") + (not text.endswith("\n"))
        what = str(error)[: where.start()] if where else str(error)
        column = f", column {where['column']}" if where and where["column"] else ""
        raise ConfigError([f"{path}:{line}: not valid TOML{column}: {what}"]) from error


def _overlay(data: dict[str, Any], environ: Mapping[str, str], context: Mapping[str, str]) -> tuple[dict[KeyPath, str], list[str]]:
    """Put the environment's keys into ``data``; return which variable each came from, and a line for each that is not known."""
    places: dict[KeyPath, str] = {}
    unknown: list[str] = []
    for name in sorted(environ):
        keys = tuple(name.removeprefix(PREFIX).lower().split("__"))
        # One word alone is not of this form; the one exception is the list of rules.
        if not name.startswith(PREFIX) or (len(keys) == 1 and keys != ("policy",)):
            continue
        section = section_at(Config, keys[:-1]) or Config
        field = next((field for key, field in section.model_fields.items() if (field.alias or key) == keys[-1]), None)
        if field is None or section_at(Config, keys[:-1]) is None:
            unknown.append(f"{name}: {dotted(keys)}: unknown key" + suggestion(keys[-1], keys_of(section)))
        else:
            places[keys] = name
            _put(data, keys, _value(field, environ[name], context))
    return places, unknown


def _put(data: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    for key in keys[:-1]:
        # A section that is no table is reported by its model.
        if not isinstance(data := data.setdefault(key, {}), dict):
            return
    data[keys[-1]] = value


def _value(field: FieldInfo, text: str, context: Mapping[str, str]) -> Any:
    """Return the first reading of ``text`` that the key takes, else that with the fewest wrong types: its faults are reported."""
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    adapter: TypeAdapter[Any] = TypeAdapter(kind, config=ConfigDict(strict=True))
    best, fewest = None, math.inf
    for reading in _readings(text):
        try:
            adapter.validate_python(reading, context=dict(context))
        except ValidationError as error:
            wrong = sum(fault["type"].endswith("_type") for fault in error.errors(include_url=False, include_context=False))
            if wrong < fewest:
                best, fewest = reading, wrong
        else:
            return reading
    return best


def _readings(text: str) -> Iterable[Any]:
    yield text
    with contextlib.suppress(tomllib.TOMLDecodeError, RecursionError):
        yield tomllib.loads(f"value = {text}")["value"]
    yield [part.strip() for part in text.split(",") if part.strip()]


def _add_credentials(data: dict[str, Any], directory: str, section: type[BaseModel] = Config, path: tuple[str, ...] = ()) -> None:
    """Set the keys of private files that are not set and have a credential, in the sections that are there."""
    if not directory:
        return
    for name, field in section.model_fields.items():
        key = field.alias or name
        sub = section_at(section, (name,))
        if sub is not None and isinstance(data.get(key), dict):
            _add_credentials(data[key], directory, sub, (*path, key))
        credential = Path(directory, ".".join((*path, key.removesuffix("_file"))))
        if CREDENTIAL in field.metadata and not data.get(key) and credential.is_file():
            data[key] = str(credential)


def _lines(path: Path, lines: Mapping[KeyPath, int], places: Mapping[KeyPath, str], faults: Iterable[Fault]) -> list[str]:
    """Return the faults as lines, in the order of the file; those of the environment last."""

    def order(fault: Fault) -> tuple[bool, int]:
        return _variable(places, fault[0]) != "", nearest_line(lines, fault[0])

    texts = []
    for key, what in sorted(faults, key=order):
        line = nearest_line(lines, key)
        where = _variable(places, key) or (f"{path}:{line}" if line else str(path))
        texts.append(f"{where}: {dotted(key)}: {what}")
    return list(dict.fromkeys(texts))


def _variable(places: Mapping[KeyPath, str], key: KeyPath) -> str:
    return next((places[key[:end]] for end in range(len(key), 0, -1) if key[:end] in places), "")
