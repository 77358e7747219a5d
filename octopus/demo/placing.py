"""Where Marathon would put an instance: resources, ports and constraints of one agent at a time."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import Any

from octopus.demo.app_model import App, Instance, wanted_ports
from octopus.demo.model import Agent
from octopus.demo.resources import Resources

TOLERANCE = 0.0005
"""Cores or MiB by which a request may exceed what is free: sums of floats are not exact."""

INSUFFICIENT = (("cpus", "InsufficientCpus"), ("mem", "InsufficientMemory"), ("disk", "InsufficientDisk"), ("gpus", "InsufficientGpus"))


def demand(app: App) -> Resources:
    """Return what one instance takes, without its ports; a pod's executor included."""
    if not app.pod:
        return amount(app.definition)
    parts = [container.get("resources", {}) for container in app.definition["containers"]]
    return Resources.total([executor_demand(app), *(amount(part) for part in parts)])


def amount(part: dict[str, Any]) -> Resources:
    """Return the amount that an object with cpus, mem, disk and gpus asks for."""
    cpus, mem, disk, gpus = (float(part.get(name, 0)) for name in ("cpus", "mem", "disk", "gpus"))
    return Resources(cpus, mem, disk, gpus)


def executor_demand(app: App) -> Resources:
    """Return what a pod's executor takes."""
    return amount(app.definition.get("executorResources") or {"cpus": 0.1, "mem": 32, "disk": 10})


def constraints_of(app: App) -> list[list[str]]:
    """Return the app's or the pod's constraints as lists of field, operator and value."""
    if not app.pod:
        return [list(map(str, each)) for each in app.definition["constraints"]]
    placed = app.definition.get("scheduling", {}).get("placement", {}).get("constraints", [])
    return [[each["fieldName"], each["operator"], *([str(each["value"])] if "value" in each else [])] for each in placed]


def _value(hostname: str, attributes: dict[str, str | float], name: str) -> str | None:
    if name in ("hostname", "@hostname"):
        return hostname
    value = attributes.get(name)
    return f"{value:g}" if isinstance(value, float) else value


def _meets(constraint: list[str], agent: Agent, placed: Iterable[Instance]) -> bool:
    name, operator, value = [*constraint, "", ""][:3]
    found = _value(agent.hostname, agent.attributes, name)
    if found is None:
        return operator == "UNLIKE"
    if operator in ("LIKE", "UNLIKE"):
        return (re.fullmatch(value, found) is not None) == (operator == "LIKE")
    counts: dict[str | None, int] = {}
    for each in placed:
        held = _value(each.hostname, each.attributes, name)
        counts[held] = counts.get(held, 0) + 1
    match operator:
        case "UNIQUE":
            return found not in counts
        case "MAX_PER":
            return counts.get(found, 0) < int(value)
        case "CLUSTER":
            return found == value if value else not counts or found in counts
        case "IS":
            return found == value
        case "GROUP_BY":
            return found not in counts or (len(counts) >= int(value or 0) and counts[found] == min(counts.values()))
    return False


def refusal(app: App, agent: Agent, placed: list[Instance]) -> str:
    """Return why the agent cannot take one more instance, in Marathon's words; "" when it can."""
    if not all(_meets(constraint, agent, placed) for constraint in constraints_of(app)):
        return "UnfulfilledConstraint"
    used, need = agent.used(), demand(app)
    for name, reason in INSUFFICIENT:
        if getattr(agent.resources, name) - getattr(used, name) + TOLERANCE < getattr(need, name):
            return reason
    return "" if choose_ports(app, agent, None) is not None else "InsufficientPorts"


def choose_ports(app: App, agent: Agent, rng: random.Random | None) -> list[int] | None:
    """Return the host ports for one more instance on the agent, None when it has not enough; without ``rng`` any that would do."""
    wanted = [0] * _endpoints(app) if app.pod else wanted_ports(app.definition)
    if not wanted:
        return []
    taken = {port for task in agent.tasks.values() for port in task.ports}
    offered = [port for port in agent.resources.each_port() if port not in taken]
    fixed = [port for port in wanted if port]
    free = [port for port in offered if port not in fixed]
    missing = len(wanted) - len(fixed)
    if len(set(fixed)) < len(fixed) or not set(fixed) <= set(offered) or len(free) < missing:
        return None
    chosen = iter(rng.sample(free, missing) if rng else free[:missing])
    return [port or next(chosen) for port in wanted]


def _endpoints(app: App) -> int:
    return sum(len(container.get("endpoints") or []) for container in app.definition["containers"])
