"""A supervisor process over the small world of ``plane_parts``: arguments are its folder and the descriptor it listens on."""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
from pathlib import Path

import msgspec

from octopus.control.live import LiveSessions
from octopus.control.placing import ConnectionLimits
from octopus.control.supervisor import Supervisor
from octopus.core.types import ExecSpec, Target
from octopus.session.worker_settings import WorkerSettings
from tests.plane_parts import audit_log, control_plane

HERE = Path(__file__).parent.parent


def supervisor(root: Path, listener: socket.socket, limits: ConnectionLimits | None = None, workers: int = 2) -> Supervisor:
    """Return a supervisor of workers with a StreamingGateway; what it reaps it writes to ``reaped``."""
    log = audit_log(root)

    async def reap(target: Target, spec: ExecSpec) -> bool:
        with (root / "reaped").open("a") as file:
            file.write(f"{target.task} {spec.token}\n")
        return True

    settings = WorkerSettings(host_keys="", recordings=str(root / "recordings"), drain_timeout=600)
    return Supervisor(
        plane=control_plane(root, log, live=LiveSessions(root / "run" / "sessions")),
        log=log,
        reap=reap,
        runtime=root / "run",
        spool=root / "spool",
        recordings=root / "recordings",
        worker_command=(sys.executable, "-m", "tests.streaming_gateway"),
        worker_settings=msgspec.json.encode(settings),
        workers=workers,
        new_id=lambda: secrets.token_hex(4),
        environment={"PYTHONPATH": str(HERE)},
        inherited=[listener],
        limits=limits,
        # A stream's speed does not matter here, only whose it is.
        bulk_rate=float("inf"),
    )


async def main(root: Path, descriptor: int) -> None:
    """Run until SIGTERM or SIGINT."""
    listener = socket.socket(fileno=descriptor)
    listener.setblocking(False)
    running = supervisor(root, listener)
    running.obey_signals()
    await running.run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
