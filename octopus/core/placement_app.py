"""What an app asks of the cluster, read from Marathon's JSON as one would PUT it, with Marathon's own errors and their paths.

Types and bounds come first, as Marathon's JSON reader has them (``error.expected.jsnumber``), then its rules
(``api/v2/validation``). Everything that has no bearing on placement is passed over.
"""

from __future__ import annotations

import msgspec

from octopus.core.errors import InvalidDocument
from octopus.core.placement_json import Fields
from octopus.core.placement_operators import Constraint, constraints
from octopus.core.placement_rules import Rules
from octopus.core.resources import NOTHING, UNRESERVED, Amounts, milli

NOT_SIMULATED = {"mount": "a whole disk", "path": "a disk of its own"}


class App(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An app as far as placement goes. ``needs`` is one instance's, without ports; of its disk ``volumes`` thousandths
    of an MB are persistent volumes. ``ports`` are its host ports, 0 for any.

    ``role`` is its own (1.9), "" the framework's. ``declared`` are ports that 0.8 tries first where any would do. ``version``,
    ``configured`` (``versionInfo.lastConfigChangeAt``) and ``deploying`` are what a running Marathon says. ``unmodelled`` names what the
    answer leaves out.
    """

    id: str
    instances: int = 1
    needs: Amounts = NOTHING
    volumes: int = 0
    ports: tuple[int, ...] = ()
    declared: tuple[int, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    role: str = ""
    roles: tuple[str, ...] = ()
    minimum_health: float = 1.0
    maximum_over: float = 1.0
    resident: bool = False
    gpu_behaviour: str = ""
    version: str = ""
    configured: str = ""
    deploying: bool = False
    unmodelled: tuple[str, ...] = ()
    labels: dict[str, str] = {}

    @property
    def unique_host(self) -> bool:
        """Whether at most one instance may be on a host, by a constraint (UNIQUE, or MAX_PER 1, on the host name)."""
        return any(
            each.field in {"hostname", "@hostname"} and (each.operator == "UNIQUE" or (each.operator == "MAX_PER" and each.value == "1"))
            for each in self.constraints
        )


def parse_app(document: object, rules: Rules, path: str = "") -> App:
    """Return one app. Raise InvalidDocument with all its faults, each with its path."""
    fields = Fields.of(document, path)
    app = read_app(fields, rules)
    if fields.faults:
        raise InvalidDocument(fields.faults)
    return app


def absolute(name: str, base: str) -> str:
    """Return an id as from the root; in a group it may be relative to it."""
    return name if name.startswith("/") or not name else f"{base.rstrip('/')}/{name}"


def read_app(fields: Fields, rules: Rules) -> App:
    """Return one app as its fields have it; what is wrong with them is added to their faults."""
    container = fields.inner("container")
    volumes, unmodelled = _volumes(container)
    ports, declared = _ports(fields, container)
    gpus = fields.whole("gpus", 0) if rules.gpus else 0
    labels = fields.texts("labels")
    resident = fields.has("residency") or volumes > 0
    strategy = fields.inner("upgradeStrategy")
    alone = labels.get("MARATHON_SINGLE_INSTANCE_APP") == "true"
    told = fields.inner("versionInfo")
    app = App(
        id=_id(fields),
        instances=fields.whole("instances", 1),
        needs=Amounts(
            milli(fields.number("cpus", 1.0)), milli(fields.number("mem", 128.0)), milli(fields.number("disk", 0.0)) + volumes, gpus * 1000
        ),
        volumes=volumes,
        ports=ports,
        declared=declared,
        constraints=constraints(fields, rules),
        role=_role(fields, rules),
        roles=_roles(fields, rules, resident=resident),
        minimum_health=strategy.number("minimumHealthCapacity", 0.5 if resident else 0.0 if alone else 1.0, most=1.0),
        maximum_over=strategy.number("maximumOverCapacity", 0.0 if resident or alone else 1.0, most=1.0),
        resident=resident,
        gpu_behaviour=labels.get("GPU_SCHEDULING_BEHAVIOR", ""),
        version=fields.text("version"),
        configured=told.text("lastConfigChangeAt"),
        deploying=bool(fields.items("deployments")),
        unmodelled=unmodelled,
        labels=labels,
    )
    _whole_app(fields, app, container)
    return app


def _id(fields: Fields) -> str:
    if not fields.has("id"):
        fields.fault("id", "error.path.missing")
        return ""
    return absolute(fields.text("id"), fields.base or "/")


def _whole_app(fields: Fields, app: App, container: Fields) -> None:
    """Check what concerns several fields (``AppValidation.scala``)."""
    if app.needs.gpus and container.text("type") == "DOCKER":
        fields.fault("", "GPU resources only work with the Mesos containerizer")
    if app.labels.get("MARATHON_SINGLE_INSTANCE_APP") == "true" and app.instances > 1:
        fields.fault("", "Single instance app may only have one instance")
    if app.resident and app.maximum_over != 0:
        fields.fault("upgradeStrategy/maximumOverCapacity", f"got {app.maximum_over}, expected 0.0")


def _role(fields: Fields, rules: Rules) -> str:
    return fields.text("role") if rules.version >= (1, 9, 0) else ""


def _roles(fields: Fields, rules: Rules, *, resident: bool) -> tuple[str, ...]:
    """Return the roles asked for; a resident app takes what it needs from what is unreserved."""
    listed = fields.items("acceptedResourceRoles")
    roles = tuple(each for each in listed if isinstance(each, str))
    if len(roles) != len(listed):
        fields.fault("acceptedResourceRoles", "error.expected.jsstring")
    if fields.has("acceptedResourceRoles") and not listed and rules.version < (1, 5, 0):
        fields.fault("acceptedResourceRoles", "must not be empty")
    own = _role(fields, rules)
    foreign = sorted(set(roles) - rules.own_roles(own))
    if foreign and rules.version >= (1, 10, 0):
        fields.fault("acceptedResourceRoles", f"acceptedResourceRoles can only contain * and {own or rules.role}")
    return (UNRESERVED,) if resident else roles


def _volumes(container: Fields) -> tuple[int, tuple[str, ...]]:
    """Return the thousandths of an MB that persistent volumes on the root disk take, and what is not modelled."""
    size, unmodelled = 0, []
    for volume in container.each("volumes"):
        if volume.has("external"):
            unmodelled.append("an external volume")
        if not volume.has("persistent"):
            continue
        persistent = volume.inner("persistent")
        kind = persistent.text("type") or "root"
        if kind == "root":
            size += persistent.whole("size", 0) * 1000
        else:
            unmodelled.append(NOT_SIMULATED.get(kind, "a volume"))
    return size, tuple(dict.fromkeys(unmodelled))


def _ports(fields: Fields, container: Fields) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return host ports and those that are only wished for (``tasks/PortsMatcher.scala``; one port for an app that names none)."""
    docker = container.inner("docker")
    modes = {each.text("mode") for each in fields.each("networks")}
    own_address = modes == {"container"} or docker.text("network") == "USER"
    mappings = container.each("portMappings") or docker.each("portMappings")
    if mappings:
        given = [each.port("hostPort", None if own_address else 0) for each in mappings]
        return tuple(port for port in given if port is not None), ()
    declared = _declared(fields)
    if declared is None:
        declared = [] if modes - {"host"} or own_address else [0]
    if any(port and declared.count(port) > 1 for port in declared):
        fields.fault("portDefinitions" if fields.has("portDefinitions") else "ports", "Ports must be unique.")
    if fields.flag("requirePorts"):
        return tuple(declared), ()
    return (0,) * len(declared), tuple(declared)


def _declared(fields: Fields) -> list[int] | None:
    if fields.has("portDefinitions"):
        return [each.port("port", 0) or 0 for each in fields.each("portDefinitions")]
    return fields.ports("ports") if fields.has("ports") else None
