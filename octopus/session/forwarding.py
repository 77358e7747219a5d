"""-L and -W on one SSH connection: each destination is connected within one session, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable

import asyncssh
import structlog

from octopus.core.errors import OctopusError, Refused, TooManySessions
from octopus.session.forward_channel import ForwardClient
from octopus.session.forward_session import ForwardSession
from octopus.session.listing import listed

_log = structlog.get_logger(__name__)


class Forwarding:
    """``begin`` starts a session, which is done in the background until it is over."""

    def __init__(self, begin: Callable[[], ForwardSession]) -> None:
        self._begin = begin
        self._session: ForwardSession | None = None

    async def connect(self, host: str, port: int, client: ForwardClient) -> ForwardClient:
        """Return the client once it is connected. Raise ChannelOpenError: the outermost net, for else the SSH connection would end."""
        if self._session is None or (self._session.over and not self._session.final):
            self._session = self._begin()
        session = self._session
        try:
            await session.open(host, port, client)
        except OctopusError as error:
            reason = f"octopus: {error.notice}{listed(error)} [{session.id}]"
            reason = reason.replace("…", "...")  # OpenSSH shows what is not ASCII in octal
            raise asyncssh.ChannelOpenError(_code(error), reason) from error
        except Exception as error:
            _log.exception("forwarding failed with a bug", session=session.id)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, f"octopus: internal error [{session.id}]") from error
        return client

    def close(self) -> None:
        """Have the session end: the SSH connection has."""
        if self._session:
            self._session.leave()


def _code(error: OctopusError) -> int:
    """Return the reason of RFC 4254 5.1 for an error."""
    if isinstance(error, TooManySessions):
        return asyncssh.OPEN_RESOURCE_SHORTAGE
    return asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED if isinstance(error, Refused) else asyncssh.OPEN_CONNECT_FAILED
