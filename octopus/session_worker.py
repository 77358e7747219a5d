"""A session worker's composition root: ``python -m octopus.session_worker``, started by the supervisor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from octopus import log
from octopus.control.plane import Plane
from octopus.engine.backend import DockerBackend, EngineBackend
from octopus.engine.forward import DockerForwards
from octopus.engine.limits import EngineLimits, FileLimits
from octopus.engine.mesos_exec import MesosBackend
from octopus.session.ssh_server import Gateway
from octopus.session.worker import run_worker
from octopus.session.worker_settings import WorkerSettings
from octopus.session.write_ahead import WriteAhead


@asynccontextmanager
async def gateway(settings: WorkerSettings, plane: Plane, write_ahead: WriteAhead) -> AsyncIterator[Gateway]:
    """Yield this worker's gateway into containers."""
    log.configure(level=settings.log_level)
    limits = EngineLimits(
        connect=settings.engine_connect,
        call=settings.engine_call,
        start=settings.engine_start,
        exit=settings.engine_exit,
        threads=settings.engine_calls,
    )
    files = FileLimits(spool=settings.spool_size, spool_directory=settings.spool_directory)
    docker = DockerBackend(limits, file_limits=files)
    async with EngineBackend(docker, MesosBackend(limits)) as backend:
        yield Gateway(
            plane=plane,
            backend=backend,
            forwards=DockerForwards(docker, connect_timeout=limits.connect),
            host_keys=Path(settings.host_keys),
            recordings=Path(settings.recordings),
            write_ahead=write_ahead,
            banner_file=settings.banner_file,
            trusted_user_ca_keys=settings.trusted_user_ca_keys,
            login_grace_time=settings.login_grace_time,
            idle_timeout=settings.idle_timeout,
            bulk_share=settings.bulk_share,
            post_quantum_only=settings.post_quantum_only,
        )


if __name__ == "__main__":
    run_worker(gateway)
