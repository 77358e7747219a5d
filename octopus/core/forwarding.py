"""Which ports of a task -L and -W reach. Pure: decided by what Mesos gave the task and how its engine says it is connected.

The task's own are, by where its container stands in the network:

========================  ==================================================================================================
network                   ports
========================  ==================================================================================================
the agent's (host)        those that Mesos allocated to the task, at the agent
its own (bridge, …)       those that its engine maps, named by the container's port or by the agent's; where the rule says
                          ``forward_localhost``, every port on the container's own loopback as well
another container's       those that its engine maps
========================  ==================================================================================================
"""

from __future__ import annotations

from enum import StrEnum

from octopus.core.errors import AccessDenied, InvalidRequest, InvalidTarget, printable
from octopus.core.names import normalised, parse_user_name
from octopus.core.types import Target, Value

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_HOST = 60
MAX_SHOWN = 10
"""Characters of a destination, and ports, that a refusal names."""


class Side(StrEnum):
    """Whose name the person used: the task's (``localhost``, its id, its app), or its agent's."""

    TASK = "task"
    AGENT = "agent"


class Network(StrEnum):
    """Where a container stands in the network."""

    HOST = "host"
    OWN = "own"
    ANOTHERS = "another's"


class Connectivity(Value, frozen=True, kw_only=True):
    """How an engine connects a container: its network, and TCP ports of the agent by the container's that they are mapped to."""

    network: Network
    mapped: dict[int, int]


class AtAgent(Value, frozen=True, kw_only=True):
    """The way goes to a port at the agent's address."""

    port: int


class InContainer(Value, frozen=True, kw_only=True):
    """The way goes to a port on the container's loopback, through a command inside."""

    port: int


def side(host: str, port: int, target: Target, user_name: str) -> Side:
    """Return whom a destination means; ``user_name`` is what stood in front of ssh's ``@``. Raise AccessDenied for anybody else's."""
    if not 0 < port < 65536:
        raise InvalidRequest(f"port {port}", notice=f"{port} is no port")
    name = host.casefold()
    if name in LOOPBACK or name == target.task.casefold() or normalised(name) in _spellings(target, user_name):
        return Side.TASK
    if name and name in {target.agent.casefold(), target.agent_ip}:
        return Side.AGENT
    shown = printable(host, MAX_HOST)
    raise AccessDenied(
        f"{shown}:{port} is neither the task nor its agent", notice=f"only ports of the task are forwarded, not {shown}:{port}"
    )


def way(asked: Side, port: int, connectivity: Connectivity, target: Target, *, localhost: bool) -> AtAgent | InContainer:
    """Return the way to a port of the task's own. ``localhost`` allows what is not mapped. Raise AccessDenied for any other port."""
    if connectivity.network is Network.HOST:
        if port in target.ports:
            return AtAgent(port=port)
        raise _not_its_own(port, target.ports)
    if asked is Side.TASK and port in connectivity.mapped:
        return AtAgent(port=connectivity.mapped[port])
    if port in connectivity.mapped.values():
        return AtAgent(port=port)
    if asked is Side.AGENT or connectivity.network is not Network.OWN:
        raise _not_its_own(port, tuple(connectivity.mapped.values()))
    if not localhost:
        raise AccessDenied(f"port {port} is not mapped, and the rule has no forward_localhost", notice=f"port {port} is not mapped")
    return InContainer(port=port)


def _not_its_own(port: int, ports: tuple[int, ...]) -> AccessDenied:
    shown = ", ".join(map(str, sorted(ports)[:MAX_SHOWN])) + (", …" if len(ports) > MAX_SHOWN else "")
    theirs = f"these are: {shown}" if ports else "it has none"
    return AccessDenied(f"port {port} is not the task's; {theirs}", notice=f"port {port} is not the task's own; {theirs}")


def _spellings(target: Target, user_name: str) -> set[str]:
    names = {normalised(target.app.casefold())}
    try:
        typed = parse_user_name(user_name).target
    except InvalidTarget:
        typed = None
    return names | ({normalised(typed.text.casefold()), normalised(typed.body.casefold())} if typed else set())
