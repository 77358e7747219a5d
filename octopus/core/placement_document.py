"""Apps in a document, and what Marathon makes of each that is PUT: the definition of a new app, a change of one that it has."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from octopus.core.errors import InvalidDocument
from octopus.core.placement_app import App, absolute, read_app
from octopus.core.placement_json import Fields
from octopus.core.placement_rules import Rules
from octopus.core.resources import Amounts
from octopus.core.types import Value

MAX_APPS = 10_000
MAX_DEPTH = 32
SEGMENT = r"^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$"
"""One element of an app's id (``state/PathId.scala``, ``ID_PATH_SEGMENT_PATTERN``)."""
_SEGMENT = re.compile(SEGMENT)
_PORTS = ("ports", "portDefinitions", "container", "networks", "ipAddress")


class _Part(Value, frozen=True):
    """A part of a document: its JSON, its path, the group it is in, and whether it stands whole, as what a group holds does."""

    document: object
    path: str = ""
    group: str = ""
    whole: bool = False


def parse_apps(body: bytes, rules: Rules, known: Mapping[str, App] | None = None) -> list[App]:
    """Return the apps of a document: one app, a list of them, or a group with its groups. Raise InvalidDocument with all faults.

    One of ``known``, those Marathon has, is what it was but for what the document names of it; in a group each app stands whole.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidDocument([("", f"Invalid JSON: {error}")]) from error
    found: list[App] = []
    faults: list[tuple[str, str]] = []
    for part in _parts(_Part(document), 0, faults):
        found.append(_put(Fields.of(part.document, part.path, faults, part.group), rules, {} if part.whole else known or {}))
    ids = [app.id for app in found]
    faults.extend((f"{each}", "An app with this id is there twice") for each in sorted({i for i in ids if i and ids.count(i) > 1}))
    if not found and not faults:
        faults.append(("", "holds no app"))
    if faults:
        raise InvalidDocument(faults)
    return found


def _put(fields: Fields, rules: Rules, known: Mapping[str, App]) -> App:
    before = len(fields.faults)
    app = read_app(fields, rules)
    if app.id in known:
        return _changed(app, known[app.id], fields)
    # The reader's errors come alone, and what is no object has been told.
    if len(fields.faults) == before and app.id != "/":
        _check_new(fields, app)
    return app


def _parts(part: _Part, depth: int, faults: list[tuple[str, str]]) -> list[_Part]:
    """Return each app's part; a group is what has ``apps`` or ``groups``."""
    document, path = part.document, part.path
    if depth > MAX_DEPTH:
        faults.append((path, f"more than {MAX_DEPTH} groups in each other"))
        return []
    if isinstance(document, list):
        inner = [_Part(each, f"{path}({at})", part.group, part.whole) for at, each in enumerate(document[:MAX_APPS])]
    elif isinstance(document, Mapping) and ("apps" in document or "groups" in document):
        own = document.get("id")
        group = absolute(own, part.group) if isinstance(own, str) else part.group
        inner = [_Part(document.get(key) or [], f"{path}/{key}", group, whole=True) for key in ("apps", "groups")]
    else:
        return [part]
    return [app for each in inner for app in _parts(each, depth + 1, faults)]


def _check_new(fields: Fields, app: App) -> None:
    """Tell what keeps Marathon from taking a new app, beside what has to do with where it goes (``AppDefinition.scala``)."""
    if not all(_SEGMENT.fullmatch(segment) for segment in app.id.split("/") if segment):
        fields.fault("id", f"must fully match regular expression '{SEGMENT}'")
    commands = fields.has("cmd") + bool(fields.items("args"))
    if commands > 1 or not (commands or fields.has("container")):
        fields.fault("", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")


def _changed(app: App, known: App, fields: Fields) -> App:
    """Return ``known`` with what the document names; what it does not name stays as it is (``raml AppUpdate``)."""

    def of(*keys: str) -> App:
        return app if any(fields.has(key) for key in keys) else known

    disk, volumes = of("disk"), of("container").volumes
    return msgspec.structs.replace(
        app,
        instances=of("instances").instances,
        needs=Amounts(
            of("cpus").needs.cpus,
            of("mem").needs.mem,
            disk.needs.disk - disk.volumes + volumes,
            of("gpus").needs.gpus,
            app.needs.ports,
        ),
        volumes=volumes,
        ports=of(*_PORTS).ports,
        declared=of(*_PORTS).declared,
        constraints=of("constraints").constraints,
        role=of("role").role,
        roles=of("acceptedResourceRoles", "residency").roles,
        minimum_health=of("upgradeStrategy").minimum_health,
        maximum_over=of("upgradeStrategy").maximum_over,
        resident=of("residency", "container").resident,
        gpu_behaviour=of("labels").gpu_behaviour,
        unmodelled=of("container").unmodelled,
        labels=of("labels").labels,
    )
