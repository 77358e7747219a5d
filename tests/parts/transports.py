"""The ways to an engine: by its unix socket, over TLS, and through SSH to its machine."""

from __future__ import annotations

import pytest

from octopus.core.types import ContainerClue, EngineAddress, Target
from tests.parts.engines import Engine
from tests.parts.sshd import Sshd

TRANSPORTS = ["unix", "tls", "ssh"]
ALONE = {"NetworkMode": "none"}
"""A container without a network starts in half the time."""


def reached(request: pytest.FixtureRequest) -> tuple[Engine, EngineAddress]:
    """Return an engine and its address by the transport that is the fixture's parameter."""
    if request.param == "tls":
        engine: Engine = request.getfixturevalue("two_tls_engines")[0]
        return engine, engine.address
    engine = request.getfixturevalue("docker_engine")
    return engine, ssh_address(engine, request.getfixturevalue("sshd")) if request.param == "ssh" else engine.address


def ssh_address(engine: Engine, sshd: Sshd) -> EngineAddress:
    """Return the address of an engine on this machine by way of its SSH server."""
    socket = engine.address.url.removeprefix("unix://")
    url = f"ssh://{sshd.user}@{sshd.host}:{sshd.port}{socket}"
    return EngineAddress(url=url, ssh_key=str(sshd.key), ssh_known_hosts=str(sshd.known_hosts))


def target_of(container: str, address: EngineAddress) -> Target:
    """Return the target of a container on a plain engine."""
    return Target(app="/test", task="test.1", agent="agent-1", engine=address, clue=ContainerClue(engine_id=container))
