"""What becomes of one request on a channel: an answer in the lobby, a session, or one line and a status."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import structlog

from octopus.control.plane import may_choose
from octopus.core import container_log
from octopus.core.errors import AmbiguousTarget, InvalidRequest, InvalidTarget, OctopusError, printable
from octopus.core.names import parse_user_name
from octopus.session import scp_command
from octopus.session.authentication import Login
from octopus.session.listing import listed
from octopus.session.lobby import Lobby
from octopus.session.session import Session, tell
from octopus.session.ssh_channel import ClientChannel

BUG = 70
MAX_COMMAND = 131_071
"""Bytes: Linux takes no longer argument (MAX_ARG_STRLEN, execve(2)), and says so in words of its own."""

OpenSession = Callable[[str], AbstractContextManager[Session]]

_log = structlog.get_logger(__name__)


class Visit:
    """One channel's request, served once. ``open_session`` makes a session of a new id and keeps it known while it is open."""

    def __init__(
        self,
        channel: ClientChannel,
        login: Login,
        lobby: Lobby,
        open_session: OpenSession,
        new_id: Callable[[], str],
        *,
        patience: float = 5.0,
    ) -> None:
        self._channel = channel
        self._login = login
        self._lobby = lobby
        self._open_session = open_session
        self._new_id = new_id
        self._patience = patience
        self._session = f"s-{new_id()}"

    async def serve(self) -> None:
        """Serve it; the outermost net: whatever goes wrong, the person gets one line and a status, and nobody else notices."""
        try:
            await self._serve()
        except OctopusError as error:
            getattr(_log, error.level)("session refused or cut off", session=self._session, kind=type(error).__name__, error=str(error))
            await self._tell(error.notice + listed(error), error.exit_status)
        except Exception:
            _log.exception("session failed with a bug", session=self._session)
            await self._tell("internal error", BUG)

    async def _serve(self) -> None:
        subsystem = self._channel.subsystem
        if subsystem and container_log.asked(subsystem):
            container_log.read(subsystem)  # what cannot be read is nobody's session
        elif subsystem not in (None, "sftp"):
            raise InvalidRequest("subsystem", notice=f"the {printable(subsystem, 40)} subsystem is not offered")
        if wrong := _unfit(self._channel.command or ""):
            raise InvalidRequest("command", notice=f"the command {wrong}")
        if self._channel.agent_asked:
            await self._channel.say("octopus: agent forwarding is not offered")
        name = self._login.connection.user_name
        if self._names_nothing(name):
            await self._enter(await self._lobby.target())
            return
        try:
            await self._enter(name)
        except AmbiguousTarget:
            if not may_choose(self._channel.request()):
                raise
            await self._enter(await self._lobby.pick(_body(name)))

    async def _enter(self, name: str) -> None:
        """Run a session in ``name``; "" is nowhere. Each admission has an id of its own, as each has its terminal event."""
        if not name:
            return
        self._session = f"s-{self._new_id()}"
        with self._open_session(self._session) as session, structlog.contextvars.bound_contextvars(session=self._session):
            await session.run(name, self._channel.request())

    def _names_nothing(self, name: str) -> bool:
        """Whether the user name is only the person's login (``alice``, ``alice+``), or empty (``ssh -l ''``)."""
        identity = self._login.identity
        if not name:
            return True
        if identity and name.lower() == identity.login.lower():
            return True
        try:
            return parse_user_name(name).target is None
        except InvalidTarget:
            return False

    async def _tell(self, notice: str, status: int) -> None:
        await tell(self._channel, self._session, notice, status, patience=self._patience)


def _unfit(command: str) -> str:
    """Return why a command cannot be handed on, "" for one that can. scp's is not: it is served here, with paths of any bytes."""
    size = len(command.encode("utf-8", "surrogateescape"))
    if not command.isascii() and scp_command.read(command) is None and not _is_text(command):
        return "is not UTF-8 text"
    if size > MAX_COMMAND:
        return f"has {size} bytes; the system takes {MAX_COMMAND}"
    return "holds a NUL character" if "\0" in command else ""


def _is_text(command: str) -> bool:
    try:
        command.encode()
    except UnicodeEncodeError:
        return False
    return True


def _body(name: str) -> str:
    target = parse_user_name(name).target
    return target.body if target else ""
