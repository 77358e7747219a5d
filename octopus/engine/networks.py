"""How an engine connects a container, from what its inspect says. Pure.

The container's own words (labels, environment, EXPOSE of its image) do not count.
"""

from __future__ import annotations

import re

from octopus.core.forwarding import Connectivity, Network
from octopus.engine.wire import Container, PortBinding

_HOST = "host"
_PORT = re.compile("[0-9]{1,5}")
_ANYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  compared with, not listened on


def connectivity(container: Container, agent_ip: str) -> Connectivity:
    """Return where the container stands; mappings count where they are at the agent's address (or at all of its addresses)."""
    mapped = {}
    for name, bindings in (container.network_settings.ports or {}).items():
        port, _, protocol = name.partition("/")
        at = [found for one in bindings or () if (found := _port(one, agent_ip))]
        if protocol == "tcp" and _PORT.fullmatch(port) and at:
            mapped[int(port)] = at[0]
    return Connectivity(network=_network(container), mapped=mapped)


def _network(container: Container) -> Network:
    """Return HOST where either word says so, and OWN only where both leave no doubt."""
    mode, networks = container.host_config.network_mode, container.network_settings.networks or {}
    if mode == _HOST or _HOST in networks:
        return Network.HOST
    return Network.OWN if mode and ":" not in mode and networks else Network.ANOTHERS


def _port(binding: PortBinding, agent_ip: str) -> int:
    here = binding.host_ip in _ANYWHERE or binding.host_ip == agent_ip
    return int(binding.host_port) if here and _PORT.fullmatch(binding.host_port) else 0
