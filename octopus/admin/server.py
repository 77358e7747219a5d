"""The admin's HTTP server: bound when it runs, gone with its socket when it is cancelled."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.types import ASGIApp

from octopus.admin.slow_clients import HEAD_TIME, protocol
from octopus.core.errors import ConfigError

MAX_CONNECTIONS = 500
"""Connections and requests at a time; one too many is answered with 503."""
KEEP_ALIVE = 30
MAX_HEAD = 32 * 1024
"""Bytes of a request's line and headers."""

_log = structlog.get_logger(__name__)


class AdminServer:
    """Serves ``app`` at ``host:port`` (port 0: any free one), over TLS where there is ``tls_cert``.

    ``trusted_proxies`` are the addresses and networks whose X-Forwarded-For and X-Forwarded-Proto count. ``grace`` is how many seconds
    requests under way get when it ends, ``head_time`` how many the head of a request may take; ``stop`` is called at the end, to let go
    of answers that have none.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        tls_cert: str = "",
        tls_key: str = "",
        trusted_proxies: Sequence[str] = (),
        grace: int = 2,
        head_time: float = HEAD_TIME,
        stop: Callable[[], None] | None = None,
    ) -> None:
        self._stop = stop
        self._host, self._port = host, port
        self._bound: asyncio.Future[tuple[str, int]] | None = None
        self._config = uvicorn.Config(
            app,
            http=protocol(head_time),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            ssl_certfile=tls_cert or None,
            ssl_keyfile=tls_key or None,
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=MAX_HEAD,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=grace,
        )

    async def run(self) -> None:
        """Serve until cancelled. Raise ConfigError when it cannot listen, or its certificate cannot be used."""
        try:
            self._config.load()
        except (OSError, ssl.SSLError) as error:
            raise ConfigError([f"[admin] tls_cert, tls_key: cannot be used: {error}"]) from error
        server = _Server(self._config)
        with _listening(self._host, self._port) as sock:
            address = sock.getsockname()[:2]
            _log.info("admin listens", listen=f"{address[0]}:{address[1]}", tls=self._config.is_ssl)
            self._known().set_result(address)
            serving = asyncio.ensure_future(server.serve(sockets=[sock]))
            try:
                await asyncio.shield(serving)
            finally:
                if self._stop:
                    self._stop()
                server.should_exit = True
                await asyncio.wait([serving])

    async def address(self) -> tuple[str, int]:
        """Wait until it listens and return where."""
        return await asyncio.shield(self._known())

    def _known(self) -> asyncio.Future[tuple[str, int]]:
        if self._bound is None:
            self._bound = asyncio.get_running_loop().create_future()
        return self._bound


class _Server(uvicorn.Server):
    """Leaves the process' signals to the supervisor."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.create_server((str(address[0]), int(address[1])), family=family, backlog=128)
    except OSError as error:
        raise ConfigError([f"[admin] listen: cannot listen on {host}:{port}: {error}"]) from error
    with sock:
        sock.setblocking(False)
        yield sock
