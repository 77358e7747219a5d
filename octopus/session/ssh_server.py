"""The gateway's SSH side: one connection after another to its end, their people, and the sessions on them."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import asyncssh
import structlog

from octopus import hostkeys
from octopus.control.plane import LiveSession, Plane
from octopus.core.errors import ConfigError
from octopus.core.ports import ForwardBackend
from octopus.core.types import Connection
from octopus.session import ssh_algorithms
from octopus.session.courtesy import Courtesy
from octopus.session.forward_session import ForwardSession
from octopus.session.forwarding import Forwarding
from octopus.session.lobby import Lobby
from octopus.session.marks import Marks
from octopus.session.recorder import Recordings
from octopus.session.session import Backend, Session
from octopus.session.ssh_channel import ClientChannel
from octopus.session.ssh_connection import GatewayConnection
from octopus.session.ssh_front import Front
from octopus.session.ssh_keys import Authorities
from octopus.session.visit import Visit
from octopus.session.write_ahead import WriteAhead

MAX_BANNER = 65_536
"""Bytes of the banner file."""

_log = structlog.get_logger(__name__)


def new_id() -> str:
    """Return 48 random bits as hexadecimal digits."""
    return secrets.token_hex(6)


class Gateway:
    """Serves SSH connections. Times in seconds; ``idle_timeout`` 0 is none and holds where a rule sets none. ``max_recording`` in
    bytes of one session; ``max_channels`` at a time on one connection; ``bulk_share`` as ``Courtesy`` has it;
    ``post_quantum_only`` refuses clients without such a key exchange.

    Raise ConfigError: host keys missing or readable by others, a banner or authorities that cannot be read.
    ``clock`` gives seconds since 1970; ``new_id`` what is unique among sessions and connections of all workers.
    """

    def __init__(
        self,
        *,
        plane: Plane,
        backend: Backend,
        forwards: ForwardBackend,
        host_keys: Path,
        recordings: Path,
        write_ahead: WriteAhead | None = None,
        banner_file: str = "",
        trusted_user_ca_keys: str = "",
        login_grace_time: float = 30.0,
        idle_timeout: float = 0.0,
        bulk_share: float = 0.33,
        post_quantum_only: bool = False,
        keepalive_interval: float = 30.0,
        keepalive_count: int = 4,
        max_channels: int = 64,
        max_recording: int = 4 << 30,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = new_id,
    ) -> None:
        self.connections = 0
        self._plane = plane
        self._backend = backend
        self._forwards = forwards
        self._recordings = Recordings(recordings, clock=clock, ahead=write_ahead, max_bytes=max_recording)
        self._banner = _banner(banner_file)
        self._authorities = Authorities(trusted_user_ca_keys)
        self._idle_timeout = idle_timeout
        self._max_channels = max_channels
        self._clock = clock
        self._new_id = new_id
        self._sessions: dict[str, Session | ForwardSession] = {}
        self._marks = Marks()
        self._moved = 0
        self._courtesy = Courtesy(share=bulk_share)
        key_exchanges = ssh_algorithms.POST_QUANTUM if post_quantum_only else ssh_algorithms.KEY_EXCHANGES
        self._options = _options(_host_keys(host_keys), key_exchanges, login_grace_time, keepalive_interval, keepalive_count)

    @property
    def moved(self) -> int:
        """Bytes that went through commands, both ways, since the start."""
        return self._moved + sum(session.traffic.inward + session.traffic.outward for session in self._sessions.values())

    def sessions(self) -> tuple[LiveSession, ...]:
        """Return the sessions that were admitted and whose end is not on the record yet."""
        return tuple(session.live for session in self._sessions.values() if session.live)

    async def kill(self, session: str, reason: str) -> None:
        """Have a session end; nothing happens when it is not here (any more)."""
        if known := self._sessions.get(session):
            known.end(reason)

    async def serve(self, sock: socket.socket, client: str) -> None:
        """Serve one accepted connection from ``client`` (``ip:port``) until it and all its sessions are over."""
        loop = asyncio.get_running_loop()
        self.connections += 1
        try:
            async with asyncio.TaskGroup() as tasks:
                known = Connection(id=f"c-{self._new_id()}", client=client)
                forwarding = Forwarding(lambda: self._begin_forwarding(tasks, front))
                front = Front(
                    self._plane,
                    known,
                    self._authorities,
                    lambda front, channel: _started(tasks, self._visit(front, channel)),
                    forwarding.connect,
                    banner=self._banner,
                    max_channels=self._max_channels,
                )
                connection = GatewayConnection(loop, self._options, front, self._courtesy)
                try:
                    await loop.connect_accepted_socket(lambda: connection, sock)
                    await connection.wait_closed()
                except OSError as error:
                    _log.info("connection lost before it began", client=client, error=str(error))
                finally:
                    connection.abort()
                    forwarding.close()
        finally:
            self.connections -= 1

    def close(self) -> None:
        """Release threads, once no connection is served any more."""
        self._recordings.close()

    def _visit(self, front: Front, channel: ClientChannel) -> Visit:
        lobby = Lobby(self._plane, front.identity, channel, clock=self._clock)
        return Visit(channel, front.login, lobby, partial(self._session, front, channel), self._new_id)

    @contextmanager
    def _session(self, front: Front, channel: ClientChannel, session: str) -> Iterator[Session]:
        opened = Session(
            session,
            channel,
            plane=self._plane,
            backend=self._backend,
            recordings=self._recordings,
            identity=front.identity,
            connection=front.login.connection,
            clock=self._clock,
            marks=self._marks,
            idle_timeout=self._idle_timeout,
        )
        with self._kept(opened):
            yield opened

    def _begin_forwarding(self, tasks: asyncio.TaskGroup, front: Front) -> ForwardSession:
        session = ForwardSession(
            f"s-{self._new_id()}",
            plane=self._plane,
            backend=self._forwards,
            identity=front.identity,
            connection=front.login.connection,
            clock=self._clock,
            marks=self._marks,
            idle_timeout=self._idle_timeout,
        )
        tasks.create_task(self._forward(session, front.login.connection.user_name))
        return session

    async def _forward(self, session: ForwardSession, name: str) -> None:
        with self._kept(session), structlog.contextvars.bound_contextvars(session=session.id):
            await session.run(name)

    @contextmanager
    def _kept(self, session: Session | ForwardSession) -> Iterator[None]:
        """Have the session known while it is open, so that it can be ended, and its bytes counted ever after."""
        self._sessions[session.id] = session
        try:
            yield
        finally:
            self._moved += session.traffic.inward + session.traffic.outward
            del self._sessions[session.id]


def _started(tasks: asyncio.TaskGroup, visit: Visit) -> None:
    tasks.create_task(visit.serve())


def _options(
    host_keys: Sequence[asyncssh.SSHKeyPair],
    key_exchanges: Sequence[str],
    login_grace_time: float,
    keepalive_interval: float,
    keepalive_count: int,
) -> asyncssh.SSHServerConnectionOptions:
    """Return the options of every connection: nothing from configuration files, nothing offered that is not needed."""
    return asyncssh.SSHServerConnectionOptions(
        config=None,
        server_host_keys=host_keys,
        server_version="octopus",
        kex_algs=list(key_exchanges),
        encryption_algs=list(ssh_algorithms.CIPHERS),
        mac_algs=list(ssh_algorithms.MACS),
        compression_algs=list(ssh_algorithms.COMPRESSIONS),
        signature_algs=list(ssh_algorithms.SIGNATURES),
        gss_host=None,
        host_based_auth=False,
        x509_trusted_certs=None,
        agent_forwarding=False,
        x11_forwarding=False,
        line_editor=False,
        encoding=None,
        login_timeout=login_grace_time,
        keepalive_interval=keepalive_interval,
        keepalive_count_max=keepalive_count,
    )


def _host_keys(directory: Path) -> Sequence[asyncssh.SSHKeyPair]:
    """Return the keys to use, best first, loaded once: to check an RSA key takes a second, so what was checked just now is not again."""
    found = [key for key in hostkeys.read(directory) if key.algorithm in ssh_algorithms.HOST_KEY_KINDS]
    if not found:
        raise ConfigError([f"{directory}: holds neither an Ed25519 nor an RSA key"])
    found.sort(key=lambda key: ssh_algorithms.HOST_KEY_KINDS.index(key.algorithm))
    return asyncssh.load_keypairs([key.path for key in found], unsafe_skip_rsa_key_validation=True)


def _banner(file: str) -> str:
    if not file:
        return ""
    try:
        with Path(file).open("rb") as source:
            return source.read(MAX_BANNER).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: the banner cannot be read: {error}"]) from error
