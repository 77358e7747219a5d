"""What asyncssh asks of a server on one connection: the methods of authentication, and which channels are granted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import asyncssh
import structlog

from octopus.control.plane import Plane
from octopus.core.errors import AuthenticationFailed, OctopusError
from octopus.core.types import Connection, Identity
from octopus.session.authentication import Login, login_of, prompts
from octopus.session.forward_channel import ForwardClient
from octopus.session.ssh_channel import ClientChannel
from octopus.session.ssh_connection import ForwardChannel, GatewayConnection
from octopus.session.ssh_keys import Authorities, OfferedKey

ServeChannel = Callable[["Front", ClientChannel], None]
ForwardPort = Callable[[str, int, ForwardClient], Awaitable[ForwardClient]]
"""Connects a client to a port by host and number. Raises ChannelOpenError."""
OpenedForward = tuple[ForwardChannel, Awaitable[ForwardClient]]
KbdIntChallenge = tuple[str, str, str, tuple[tuple[str, bool], ...]]

_log = structlog.get_logger(__name__)


class Front(asyncssh.SSHServer):
    """One connection's server object. ``serve`` is given each channel that asks for something, once the person is known; ``forward``
    each destination of -L and -W."""

    def __init__(
        self,
        plane: Plane,
        connection: Connection,
        authorities: Authorities,
        serve: ServeChannel,
        forward: ForwardPort,
        *,
        banner: str = "",
        max_channels: int = 64,
    ) -> None:
        self.login = Login(plane, connection, self._tell)
        self._authorities = authorities
        self._serve = serve
        self._forward = forward
        self._banner = banner
        self._max_channels = max_channels
        self._channels: list[ClientChannel] = []
        self._ssh: GatewayConnection | None = None

    @property
    def identity(self) -> Identity:
        """The person. Raise AuthenticationFailed before they are known."""
        if self.login.identity is None:
            raise AuthenticationFailed("not authenticated")
        return self.login.identity

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Keep the connection, and prove keys through it."""
        if not isinstance(conn, GatewayConnection):
            raise TypeError("a gateway's connection is a GatewayConnection")
        self._ssh = conn
        conn.spend_key = self._spend_key
        conn.prove_key = self._prove_key

    def connection_lost(self, exc: Exception | None) -> None:
        """Log the end of the connection."""
        _log.info("connection closed", client=self.login.connection.client, reason=str(exc) if exc else "")

    def begin_auth(self, username: str) -> bool:
        """Show the banner, once, and ask everybody to prove who they are: the method ``none`` is never enough."""
        if self._ssh:
            self.login.met(self._ssh.get_extra_info("client_version", ""))
        if self._banner:
            self._send_banner(self._banner)
            self._banner = ""
        return True

    def password_auth_supported(self) -> bool:
        """Offer passwords where the login is said up front: else there would be no place to say it."""
        return bool(login_of(self._user_name))

    async def validate_password(self, username: str, password: str) -> bool:
        """Try one password."""
        return self._still(await self.login.password(username, (password,), "password"))

    def kbdint_auth_supported(self) -> bool:
        """Offer keyboard-interactive to everybody."""
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> KbdIntChallenge:
        """Ask for the password, and before it for the login where none is said up front."""
        return "", "", "", prompts(username)

    async def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        """Try the answers."""
        return self._still(await self.login.password(username, tuple(responses), "keyboard-interactive"))

    def public_key_auth_supported(self) -> bool:
        """Offer public keys and certificates to everybody."""
        return True

    def session_requested(self) -> ClientChannel:
        """Grant a session channel, up to ``max_channels`` at a time. Raise ChannelOpenError."""
        self._channels = [channel for channel in self._channels if not channel.gone.is_set()]
        if self._ssh is None or len(self._channels) >= self._max_channels:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "octopus: too many sessions on one connection")
        channel = ClientChannel(self._ssh, lambda opened: self._serve(self, opened))
        self._channels.append(channel)
        return channel

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> OpenedForward:
        """Connect -L and -W (direct-tcpip), or say why not. -D comes as these too."""
        if self._ssh is None:
            raise _not_offered("port forwarding")
        return self._ssh.create_forward_channel(), self._forward(dest_host, dest_port, ForwardClient(self._ssh))

    def unix_connection_requested(self, dest_path: str) -> bool:
        """Refuse -L to a socket's path."""
        raise _not_offered("forwarding to sockets")

    def tun_requested(self, unit: int | None) -> bool:
        """Refuse -w."""
        raise _not_offered("tunnel forwarding")

    def tap_requested(self, unit: int | None) -> bool:
        """Refuse -w with Ethernet frames."""
        raise _not_offered("tunnel forwarding")

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        """Refuse -R."""
        _log.info("remote forwarding refused", client=self.login.connection.client)
        return False

    def unix_server_requested(self, listen_path: str) -> bool:
        """Refuse -R of a socket's path."""
        return self.server_requested(listen_path, 0)

    @property
    def _user_name(self) -> str:
        return self._ssh.user_name if self._ssh else ""

    def _spend_key(self, kind: str) -> bool:
        return self._still(self.login.spend(kind))

    async def _prove_key(self, user_name: str, offered: OfferedKey) -> bool:
        if offered.certificate is None:
            return await self.login.key(user_name, offered.fingerprint)
        principals: tuple[str, ...] = ()
        try:
            principals = self._authorities.principals(offered.certificate, self.login.connection.address)
        except OctopusError as error:
            # Asked all the same, for nobody: the refusal is on the trail then, and takes as long as any other.
            _log.info("certificate refused", client=self.login.connection.client, error=str(error))
        proven = await self.login.certificate(user_name, offered.fingerprint, principals)
        return proven and bool(principals)

    def _still(self, proven: bool) -> bool:
        """Return ``proven``; close the connection once too much was tried."""
        if not proven and self.login.exhausted:
            raise asyncssh.DisconnectError(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "too many authentication failures")
        return proven

    def _tell(self, notice: str) -> None:
        self._send_banner(f"octopus: {notice}\n")

    def _send_banner(self, text: str) -> None:
        if self._ssh:
            self._ssh.send_auth_banner(text)


def _not_offered(what: str) -> asyncssh.ChannelOpenError:
    return asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, f"octopus: {what} is not offered")
