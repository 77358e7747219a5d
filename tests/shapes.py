"""Compares JSON documents by shape: the same keys with the same types, whatever the values."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "demo"

Shape = Any


def text_of(name: str) -> str:
    """Return a fixture under ``tests/data/demo`` as text, without the newline that the recorder put at the end of it."""
    return gzip.decompress((DATA / f"{name}.gz").read_bytes()).decode().removesuffix("\n")


def json_of(name: str) -> Any:
    """Return a JSON fixture; a ``.jsonl`` is a list of its lines."""
    text = text_of(name)
    return [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else json.loads(text)


def headers_of(name: str) -> tuple[int, dict[str, str]]:
    """Return the status and the headers (names in lower case) of a recorded answer."""
    status, *lines = text_of(f"{name}.headers.txt").splitlines()
    pairs = (line.partition(": ") for line in lines if line)
    return int(status.split()[1]), {key.lower(): value for key, _, value in pairs}


def shape_of(value: Any) -> Shape:
    """Return a value's shape: objects by their keys, lists by the set of their elements' shapes, the rest by JSON type."""
    if isinstance(value, dict):
        return frozenset((key, shape_of(each)) for key, each in value.items())
    if isinstance(value, list):
        return ("list", frozenset(shape_of(each) for each in value))
    if isinstance(value, bool) or value is None:
        return "null" if value is None else "bool"
    return "number" if isinstance(value, int | float) else "string"


def without(value: Any, *names: str) -> Any:
    """Return the document without these keys, wherever they are."""
    if isinstance(value, dict):
        return {key: without(each, *names) for key, each in value.items() if key not in names}
    return [without(each, *names) for each in value] if isinstance(value, list) else value


def differences(recorded: Any, ours: Any, path: str = "$") -> list[str]:
    """Return how ``ours`` is shaped otherwise than ``recorded``, one line each; [] when they are alike.

    In lists every element of one must have its like in the other: the same situations, in any number.
    """
    if isinstance(recorded, dict) and isinstance(ours, dict):
        found = [f"{path}.{key}: missing" for key in recorded if key not in ours]
        found += [f"{path}.{key}: not in the recorded" for key in ours if key not in recorded]
        return found + [each for key in recorded if key in ours for each in differences(recorded[key], ours[key], f"{path}.{key}")]
    if isinstance(recorded, list) and isinstance(ours, list):
        return _unlike(recorded, ours, f"{path}[ours]") + [f"{each} (recorded has it)" for each in _unlike(ours, recorded, f"{path}[]")]
    left, right = shape_of(recorded), shape_of(ours)
    return [] if left == right else [f"{path}: {left} became {right}"]


def _unlike(pool: list[Any], elements: list[Any], path: str) -> list[str]:
    """Return for each element without its like in ``pool`` how it differs from the nearest."""
    known = {shape_of(each) for each in pool}
    found: dict[Shape, list[str]] = {}
    for element in elements:
        shape = shape_of(element)
        if shape not in known and shape not in found:
            nearest = min((differences(each, element, path) for each in pool), key=len, default=[f"{path}: no such element"])
            found[shape] = nearest
    return [line for lines in found.values() for line in lines]
