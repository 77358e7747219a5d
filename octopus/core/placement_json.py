"""Typed reading of one JSON object, which goes on after a fault, so that a document's faults are told all at once."""

from __future__ import annotations

import math
from collections.abc import Mapping

Fault = tuple[str, str]
"""A path in the document (``/constraints(0)``) and what is wrong there, in Marathon's words."""

MAX_ITEMS = 10_000
MOST_INSTANCES = 2**31 - 1


class Fields:
    """The fields of one object. What is missing or null has its default; what is of another type is a fault and the default."""

    def __init__(self, values: Mapping[str, object], path: str, faults: list[Fault], base: str = "") -> None:
        self._values = values
        self.path = path
        self.faults = faults
        self.base = base

    @classmethod
    def of(cls, document: object, path: str, faults: list[Fault] | None = None, base: str = "") -> Fields:
        """Return the fields of what should be an object."""
        told: list[Fault] = [] if faults is None else faults
        if isinstance(document, Mapping):
            return cls(document, path, told, base)
        told.append((path, "error.expected.jsobject"))
        # An id, so that one fault is told and not two.
        return cls({"id": "/"}, path, told, base)

    def fault(self, key: str, text: str) -> None:
        """Tell what is wrong with a field, "" for the whole object."""
        self.faults.append((f"{self.path}/{key}" if key else self.path, text))

    def names(self) -> list[str]:
        """Return the names there are."""
        return list(self._values)

    def has(self, key: str) -> bool:
        """Whether it is there and not null."""
        return self._values.get(key) is not None

    def text(self, key: str) -> str:
        """Return a text, "" by default."""
        value = self._values.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        self.fault(key, "error.expected.jsstring")
        return ""

    def flag(self, key: str) -> bool:
        """Return a truth value, False by default."""
        value = self._values.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.fault(key, "error.expected.jsboolean")
        return False

    def number(self, key: str, default: float, *, most: float = math.inf) -> float:
        """Return a number from 0 to ``most``."""
        value = self._values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fault(key, "error.expected.jsnumber")
        elif value < 0:
            self.fault(key, "error.min")
        elif value > most:
            self.fault(key, "error.max")
        else:
            return float(min(value, 1e15))
        return default

    def whole(self, key: str, default: int) -> int:
        """Return a whole number from 0 to what Java's Int holds; 3.0 is one."""
        value = self.number(key, default, most=MOST_INSTANCES)
        if value != int(value):
            self.fault(key, "error.expected.int")
            return default
        return int(value)

    def port(self, key: str, default: int | None) -> int | None:
        """Return a port, 0 for any."""
        if not self.has(key):
            return default
        port = self.whole(key, 0)
        if port > 65535:
            self.fault(key, "error.max")
        return port

    def inner(self, key: str) -> Fields:
        """Return an object's fields; none of them where it is not there."""
        if not self.has(key):
            return Fields({}, f"{self.path}/{key}", self.faults)
        return Fields.of(self._values[key], f"{self.path}/{key}", self.faults)

    def items(self, key: str) -> list[object]:
        """Return a list's items, at most MAX_ITEMS."""
        value = self._values.get(key)
        if value is None or isinstance(value, list):
            return (value or [])[:MAX_ITEMS]
        self.fault(key, "error.expected.jsarray")
        return []

    def each(self, key: str) -> list[Fields]:
        """Return the objects of a list."""
        return [Fields.of(item, f"{self.path}/{key}({at})", self.faults) for at, item in enumerate(self.items(key))]

    def ports(self, key: str) -> list[int]:
        """Return the ports of a list."""
        listed = Fields({f"{key}({at})": item for at, item in enumerate(self.items(key))}, self.path, self.faults)
        return [listed.port(name, 0) or 0 for name in listed.names()]

    def texts(self, key: str) -> dict[str, str]:
        """Return an object of texts."""
        value = self._values.get(key)
        if value is None:
            return {}
        if isinstance(value, Mapping) and all(isinstance(each, str) for each in value.values()):
            return dict(value)
        self.fault(key, "error.expected.jsobject")
        return {}
