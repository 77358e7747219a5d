"""The demo's composition root: a real gateway on loopback over a cluster that is stood in for."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from functools import partial

from octopus import hostkeys
from octopus.app import private_files, supervisor
from octopus.config import load
from octopus.config.process import Process
from octopus.demo.scene import Scene
from octopus.demo.stage import Stage, set_up
from octopus.identity.passwords import hash_password

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def demo(tell: Callable[[str], None]) -> None:
    """Run the demo until SIGINT, SIGTERM or SIGHUP; nothing of it is left then. Raise Unavailable, saying what is missing."""
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)  # while the stage is set up: what was begun is undone
    with set_up() as stage:
        asyncio.run(_play(stage, tell))


async def _play(stage: Stage, tell: Callable[[str], None]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ready:
        ready.bind(f"{stage.directory}/ready")
        async with Scene(stage, hash_password) as scene:
            private_files()
            keys = hostkeys.create(scene.host_keys)
            told = Process(notify_socket=f"{stage.directory}/ready")
            async with supervisor(load(scene.config_file, environ={}), told, "warning") as gateway, asyncio.TaskGroup() as tasks:
                for number in ENDING:
                    asyncio.get_running_loop().add_signal_handler(number, partial(gateway.stop, end_sessions=True))
                showing = tasks.create_task(_show(scene, ready, [key.line for key in keys], tell))
                await gateway.run()
                showing.cancel()


async def _show(scene: Scene, ready: socket.socket, host_key_lines: Sequence[str], tell: Callable[[str], None]) -> None:
    """Say hello once the gateway takes connections (sd_notify's READY=1), then let agents come and go."""
    await asyncio.get_running_loop().sock_recv(ready, 4096)
    tell(scene.welcome(host_key_lines))
    await scene.visits(tell)
