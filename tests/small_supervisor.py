"""A supervisor process over the small world of ``plane_parts``: arguments are its folder, the descriptor it listens on, and
its workers' drain timeout."""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
from pathlib import Path

import msgspec

from octopus.control.accepting import Doors
from octopus.control.live import LiveSessions
from octopus.control.placing import ConnectionLimits
from octopus.control.supervisor import Places, Supervisor
from octopus.control.worker_pool import WorkerPlan
from octopus.core.types import ExecSpec, Target
from octopus.session.worker_settings import WorkerSettings
from tests.plane_parts import audit_log, control_plane

HERE = Path(__file__).parent.parent


def supervisor(
    root: Path,
    listener: socket.socket,
    *,
    command: tuple[str, ...] = (sys.executable, "-m", "tests.streaming_gateway"),
    limits: ConnectionLimits | None = None,
    bulk_rate: float = float("inf"),
    drain_timeout: float = 600.0,
    proxy_protocol: bool = False,
    notify_socket: str = "",
    lock_timeout: float = 60.0,
) -> Supervisor:
    """Return a supervisor of two workers with a StreamingGateway each; what it reaps it writes to ``reaped``.

    Streams count as no bulk data unless ``bulk_rate`` says so: mostly their speed does not matter, only whose they are.
    """
    log = audit_log(root, lock_timeout=lock_timeout)

    async def reap(target: Target, spec: ExecSpec) -> bool:
        with (root / "reaped").open("a") as file:
            file.write(f"{target.task} {spec.token}\n")
        return True

    settings = WorkerSettings(
        host_keys="", recordings=str(root / "recordings"), drain_timeout=drain_timeout, stop_grace=1.0, proxy_protocol=proxy_protocol
    )
    return Supervisor(
        plane=control_plane(root, log, live=LiveSessions(root / "run" / "sessions")),
        log=log,
        reap=reap,
        places=Places(runtime=root / "run", spool=root / "spool", recordings=root / "recordings"),
        doors=Doors(inherited=[listener], notify_socket=notify_socket),
        limits=limits or ConnectionLimits(),
        workers=WorkerPlan(command=command, count=2, environment={"PYTHONPATH": str(HERE)}, bulk_rate=bulk_rate),
        worker_settings=msgspec.json.encode(settings),
        new_id=lambda: secrets.token_hex(4),
    )


async def main(root: Path, descriptor: int, drain_timeout: float) -> None:
    """Run until SIGTERM or SIGINT."""
    listener = socket.socket(fileno=descriptor)
    listener.setblocking(False)
    running = supervisor(root, listener, drain_timeout=drain_timeout)
    running.obey_signals()
    await running.run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
