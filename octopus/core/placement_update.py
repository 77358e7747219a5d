"""What Marathon makes of an app's document that is PUT: its whole definition for a new app, a change of one that it has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from octopus.core.placement_json import Fields
from octopus.core.resources import Amounts

if TYPE_CHECKING:
    from octopus.core.placement_app import App

SEGMENT = r"^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$"
"""One element of an app's id (``state/PathId.scala``, ``ID_PATH_SEGMENT_PATTERN``)."""
_SEGMENT = re.compile(SEGMENT)
_PORTS = ("ports", "portDefinitions", "container", "networks", "ipAddress")


def check_new(fields: Fields, app: App) -> None:
    """Tell what keeps Marathon from taking a new app, beside what has to do with where it goes (``AppDefinition.scala``)."""
    if not all(_SEGMENT.fullmatch(segment) for segment in app.id.split("/") if segment):
        fields.fault("id", f"must fully match regular expression '{SEGMENT}'")
    commands = fields.has("cmd") + bool(fields.items("args"))
    if commands > 1 or not (commands or fields.has("container")):
        fields.fault("", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")


def changed(app: App, known: App, fields: Fields) -> App:
    """Return ``known`` with what the document names; what it does not name stays as it is (``raml AppUpdate``)."""

    def of(*keys: str) -> App:
        return app if any(fields.has(key) for key in keys) else known

    return msgspec.structs.replace(
        app,
        instances=of("instances").instances,
        needs=Amounts(
            of("cpus").needs.cpus, of("mem").needs.mem, of("disk", "container").needs.disk, of("gpus").needs.gpus, app.needs.ports
        ),
        ports=of(*_PORTS).ports,
        declared=of(*_PORTS).declared,
        constraints=of("constraints").constraints,
        roles=of("acceptedResourceRoles", "residency").roles,
        minimum_health=of("upgradeStrategy").minimum_health,
        maximum_over=of("upgradeStrategy").maximum_over,
        resident=of("residency", "container").resident,
        gpu_behaviour=of("labels").gpu_behaviour,
        unmodelled=of("container").unmodelled,
        labels=of("labels").labels,
    )
