"""The OpenAPI 3.1 document of /api/v1: paths by hand, schemas from the very types that are encoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from octopus.admin.shapes import LIMIT, MAX_TEXT, MOST, AuditPage, Killed, Scaled, SessionLine, SessionsPage, TasksPage, UniquePage
from octopus.admin.web import Problem

PROBLEMS = {
    400: "a parameter that cannot be read",
    401: "nobody is logged in, or no such token",
    403: "not for this role, or a change without its token",
    404: "there is no such thing",
    422: "a document with faults: errors has the path of each",
    429: "too much at once",
    503: "something behind the gateway does not answer",
}
_SESSION = {"name": "session", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9-]{0,63}$"}}
_PAGED = (
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT}},
    {
        "name": "cursor",
        "in": "query",
        "description": "next of the page before",
        "schema": {"type": "string", "pattern": "^[0-9]{0,18}$"},
    },
)


def document(*, version: str, report: type, simulation: type) -> dict[str, Any]:
    """Return the document; ``report`` and ``simulation`` are the types of what capacity answers."""
    types = (SessionsPage, SessionLine, TasksPage, UniquePage, AuditPage, Killed, Scaled, Problem, report, simulation)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    refs = {kind: schema for kind, schema in zip(types, schemas, strict=True)}
    paths = dict(_paths(refs, report, simulation))
    return {
        "openapi": "3.1.0",
        "info": {"title": "octopus", "version": version, "description": "What the gateway knows. Times are UTC; amounts are thousandths."},
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "octopus"},
            },
        },
    }


def _paths(refs: dict[type, Any], report: type, simulation: type) -> Iterator[tuple[str, Any]]:
    def get(summary: str, kind: type, *parameters: dict[str, Any], also: tuple[int, ...] = ()) -> dict[str, Any]:
        return {"get": _operation(summary, refs[kind], refs[Problem], [*parameters], (400, 401, 403, 503, *also))}

    yield "/sessions", get("Sessions, live and past", SessionsPage, *_texts("text", "login", "outcome"), *_PAGED)
    yield "/sessions/{session}", get("One session", SessionLine, _SESSION, also=(404,))
    yield "/tasks", get("Running tasks and what one may do there", TasksPage, *_texts("text"), *_PAGED)
    yield "/capacity", get("How full the cluster is", report, *_PAGED)
    yield "/unique", get("Apps with one instance on each host", UniquePage, *_texts("app"), *_PAGED, also=(404,))
    yield "/audit", get("Lines of the audit trail", AuditPage, *_texts("text", "login", "event", "session"), *_PAGED)
    asked = {"type": "string", "maxLength": 200}
    reason = _body({"type": "object", "properties": {"reason": asked}, "additionalProperties": False}, required=False)
    yield "/sessions/{session}/kill", _post("End a session", refs[Killed], refs[Problem], reason, [_SESSION])
    app = _body({"type": "object", "properties": {"app": {"type": "string"}}, "required": ["app"], "additionalProperties": False})
    yield "/unique/scale", _post("Scale a UNIQUE app to the hosts there are", refs[Scaled], refs[Problem], app, [])
    yield "/capacity/simulate", _post("What Marathon would do with apps", refs[simulation], refs[Problem], _simulate_body(), [])


def _simulate_body() -> dict[str, Any]:
    number = {"type": ["integer", "null"], "minimum": 0, "maximum": 100_000, "description": "instances to add to each"}
    return _body(
        {
            "type": "object",
            "properties": {
                "apps": {"description": "Marathon JSON as one would PUT it: an app, several, a group", "type": ["object", "array"]},
                "id": {"description": "or an app or a group that Marathon has", "type": "string", "maxLength": 1024},
                "instances": number,
            },
            "additionalProperties": False,
        }
    )


def _texts(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "schema": {"type": "string", "maxLength": MAX_TEXT}} for name in names]


def _body(schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _post(summary: str, answer: Any, problem: Any, body: dict[str, Any], parameters: list[dict[str, Any]]) -> dict[str, Any]:
    operation = _operation(summary, answer, problem, parameters, (400, 401, 403, 404, 413, 415, 422, 429, 503))
    return {"post": operation | {"requestBody": body}}


def _operation(summary: str, answer: Any, problem: Any, parameters: list[dict[str, Any]], problems: tuple[int, ...]) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": summary, "content": {"application/json": {"schema": answer}}}}
    for status in problems:
        content = {"application/json": {"schema": problem}}
        responses[str(status)] = {"description": PROBLEMS.get(status, "what was sent cannot be taken"), "content": content}
    return {"summary": summary, "parameters": parameters, "responses": responses}
