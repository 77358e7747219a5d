"""An engine behind SSH: one connection to the agent, the engine's socket forwarded to a private one here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from functools import partial

import asyncssh

from octopus.engine.transport import ByteStream, Pipe, PlainStream

KEEPALIVE = 30


class _TunnelStream(PlainStream):
    """A stream through the tunnel, whose end counts only while the SSH connection lives."""

    def __init__(self, transport: asyncio.Transport, pipe: Pipe, connection: asyncssh.SSHClientConnection) -> None:
        super().__init__(transport, pipe)
        self._connection = connection

    async def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; b"" at the end of the stream."""
        data = await super().read(size)
        if not data and self._connection.is_closed():
            raise ConnectionResetError("the SSH connection is lost")
        return data


class _HeldChannel(asyncssh.SSHUNIXChannel[bytes]):
    """A channel that grants no more while it holds back what came: asyncssh grants a whole window for each part that it lets go."""

    def _deliver_data(self, data: bytes, datatype: int | None) -> None:
        if not self._recv_buf:
            super()._deliver_data(data, datatype)
        elif self._session is not None:
            self._session.data_received(data, datatype)


class SshTunnel:
    """Keeps ``path``, a unix socket in a folder of our own, connected to the engine's socket on the agent.

    The host key must be in ``known_hosts``; nothing of the account's own SSH configuration, agent or keys is used.
    """

    def __init__(self, *, host: str, port: int, user: str, key: str, known_hosts: str, remote: str, timeout: float) -> None:
        if not known_hosts:
            raise OSError("ssh:// needs a file of known host keys")
        if not key:
            raise OSError("ssh:// needs a private key file")
        self._host, self._port, self._user = host, port, user
        self._key, self._known_hosts, self._remote = key, known_hosts, remote
        self._timeout = timeout
        self._folder: tempfile.TemporaryDirectory[str] | None = tempfile.TemporaryDirectory(prefix="octopus-ssh-")
        self.path = os.path.join(self._folder.name, "engine.sock")
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connecting = asyncio.Lock()

    async def ready(self) -> None:
        """Connect unless connected. Raise OSError."""
        async with self._connecting:
            if self._connection is None or self._connection.is_closed():
                await self._connect()

    async def connect(self) -> ByteStream:
        """Open a stream to the engine; when the SSH connection dies it fails, it does not just end. Raise OSError."""
        await self.ready()
        connection = self._connection
        if connection is None:
            raise OSError("the tunnel is closed")
        return _TunnelStream(*await asyncio.get_running_loop().create_unix_connection(Pipe, self.path), connection)

    def release(self) -> None:
        """Close the connection; ``ready`` opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def aclose(self) -> None:
        """Close the connection for good and remove the socket."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
            await connection.wait_closed()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    async def _connect(self) -> None:
        if self._folder is None:
            raise OSError("the tunnel is closed")
        try:
            connection = await asyncssh.connect(
                self._host,
                self._port,
                username=self._user,
                client_keys=[self._key],
                known_hosts=self._known_hosts,
                config=None,
                agent_path=None,
                gss_host=None,
                preferred_auth="publickey",
                connect_timeout=self._timeout,
                login_timeout=self._timeout,
                keepalive_interval=KEEPALIVE,
            )
            await self._forward(connection)
        except (asyncssh.Error, ValueError) as error:
            raise OSError(f"ssh to {self._host}: {error}") from error

    async def _forward(self, connection: asyncssh.SSHClientConnection) -> None:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            connection.create_unix_channel = partial(_held_channel, connection)  # type: ignore[method-assign]
            await connection.forward_local_path(self.path, self._remote)
        except BaseException:
            connection.abort()
            raise
        self._connection = connection


def _held_channel(
    connection: asyncssh.SSHClientConnection, encoding: str | None, errors: str, window: int, max_pktsize: int
) -> asyncssh.SSHUNIXChannel[bytes]:
    return _HeldChannel(connection, asyncio.get_running_loop(), encoding, errors, window, max_pktsize)
