"""From what pydantic found to lines an operator can act on: where, which key, what is wrong, what is expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from octopus.config.crossings import Fault
from octopus.config.fields import shown
from octopus.config.toml_lines import KeyPath

_WANTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "tuple_type": "a list",
    "model_type": "a table",
    "dict_type": "a table",
}
_BOUND = {
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "enum": "{expected}",
}


def faults_of(error: ValidationError, model: type[BaseModel]) -> Iterator[Fault]:
    """Yield the path and the text of each thing pydantic found wrong in the data for ``model``."""
    for detail in error.errors(include_url=False):
        # A list whose elements are all wrong counts as empty too; one fault each is enough.
        if detail["type"] == "too_short" and detail["input"]:
            continue
        yield detail["loc"], _text(detail, model)


def dotted(path: KeyPath) -> str:
    """Return a path as people write it: ``policy[2].apps[0]``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


def suggestion(key: str, known: list[str]) -> str:
    """Return `` (did you mean …?)`` for a key that nearly is one, else ""."""
    near = difflib.get_close_matches(key, known, 1, 0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys a section's table may hold."""
    return [field.alias or name for name, field in model.model_fields.items()]


def section_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """Return the model of the table at ``path``, None when there is no such table."""
    here: type[BaseModel] | None = model
    for key in path:
        if isinstance(key, str):
            here = _sub_model(here.model_fields[key].annotation) if here and key in here.model_fields else None
    return here


def _sub_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in getattr(annotation, "__args__", ()) if (model := _sub_model(part))), None)


def _text(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        section = section_at(model, detail["loc"][:-1])
        return "unknown key" + suggestion(str(detail["loc"][-1]), keys_of(section) if section else [])
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("too_short", "string_too_short"):
        return f"is empty; expected {'text' if isinstance(value, str) else 'at least one'}"
    if kind in _WANTED:
        return f"is {_kind(value)}; expected {_WANTED[kind]}"
    if kind in _BOUND:
        near = suggestion(value, _words(context)) if isinstance(value, str) else ""
        return f"{shown(value)} is not allowed; expected {_BOUND[kind].format(**context)}{near}"
    return f"{shown(value)} is not allowed: {detail['msg']}"


def _words(context: Mapping[str, Any]) -> list[str]:
    return str(context.get("expected", "")).replace(" or ", ", ").replace("'", "").split(", ")


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")
