"""Where the demo is played: on the engine that answers, which keeps nothing of it."""

from __future__ import annotations

import socket

import pytest

from octopus.demo.images import BUSYBOX
from octopus.demo.scene import HOST, free_port
from octopus.demo.stage import set_up
from tests.parts.engines import Engine


def test_an_engine_that_answers_is_used(docker_engine: Engine) -> None:
    """The engine that answers is taken, keeps the images it had, and the folder goes."""
    with docker_engine.api() as api:
        with set_up(docker_engine.address.url) as stage:
            assert (stage.engine, stage.private) == (docker_engine.address, False)
            assert stage.directory.is_dir()
        assert not stage.directory.exists()
        assert api.inspect_image(BUSYBOX)


@pytest.mark.parametrize("taken", [False, True])
def test_a_port_that_is_taken_is_left_alone(taken: bool) -> None:
    """The wanted port is used when it is free, another when somebody listens there."""
    with socket.create_server((HOST, 0)) as server:
        port = int(server.getsockname()[1])
        if not taken:
            server.close()
        assert (free_port(port) == port) != taken
