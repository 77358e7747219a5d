"""What a session worker is told at its start: as one JSON message over its channel, never in arguments or environment."""

from __future__ import annotations

from octopus.core.types import Value


class WorkerSettings(Value, frozen=True, kw_only=True):
    """The part of the configuration that sessions need. Paths; times in seconds, 0 is off.

    ``stop_grace`` is what a session that is told to end gets before its connection is cut.

    ``log_level`` is a name of logging's. ``engine_…`` are the limits of calls to an agent's engine. ``spool_…`` are
    where files of containers without a shell are meanwhile, and how large the largest may be, in bytes.
    """

    host_keys: str
    recordings: str
    trusted_user_ca_keys: str = ""
    banner_file: str = ""
    login_grace_time: float = 30.0
    idle_timeout: float = 0.0
    bulk_share: float = 0.33
    post_quantum_only: bool = False
    drain_timeout: float = 12 * 3600.0
    stop_grace: float = 10.0
    proxy_protocol: bool = False
    log_level: str = "info"
    engine_connect: float = 5.0
    engine_call: float = 10.0
    engine_start: float = 15.0
    engine_exit: float = 60.0
    engine_calls: int = 4
    spool_directory: str = ""
    spool_size: int = 8 << 30
