"""Who is on a connection: attempts counted, asked of the control plane, and refused alike whatever the reason was."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from octopus.control.plane import AuthAttempt, Plane
from octopus.core.errors import InvalidTarget, OctopusError, Unavailable
from octopus.core.names import parse_user_name
from octopus.core.types import Connection, Identity

LOGIN_PROMPT = ("LDAP login: ", True)
PASSWORD_PROMPT = ("Password: ", False)

_log = structlog.get_logger(__name__)


def login_of(user_name: str) -> str:
    """Return the login said up front, "" when there is none; a name that cannot be read is told only to people who are known."""
    try:
        return parse_user_name(user_name).login
    except InvalidTarget:
        return ""


def prompts(user_name: str) -> tuple[tuple[str, bool], ...]:
    """Return what keyboard-interactive asks, each with whether it is echoed (RFC 4256 3.2)."""
    return (PASSWORD_PROMPT,) if login_of(user_name) else (LOGIN_PROMPT, PASSWORD_PROMPT)


class Login:
    """The attempts of one connection. ``tell`` shows a line to the person before they are known; it is the same for everybody.

    ``max_passwords`` counts passwords however they are sent, ``max_keys`` signatures, ``max_probes`` keys that are only asked about.
    """

    def __init__(
        self,
        plane: Plane,
        connection: Connection,
        tell: Callable[[str], None],
        *,
        max_passwords: int = 6,
        max_keys: int = 20,
        max_probes: int = 100,
    ) -> None:
        self.connection = connection
        self.identity: Identity | None = None
        self._plane = plane
        self._tell = tell
        self._told: set[str] = set()
        self._left = {"password": max_passwords, "key": max_keys, "probe": max_probes}

    @property
    def exhausted(self) -> bool:
        """Whether one of the limits is passed: the connection is to be closed."""
        return min(self._left.values()) < 0

    def met(self, client_version: str) -> None:
        """Note the client's version line."""
        self.connection = msgspec.structs.replace(self.connection, client_version=client_version)

    def spend(self, kind: str) -> bool:
        """Count one attempt; False when there was none left."""
        self._left[kind] -= 1
        return not self.exhausted

    async def password(self, user_name: str, answers: tuple[str, ...], method: str) -> bool:
        """Try the answers to ``prompts``, or the one password of the password method."""
        login = login_of(user_name)
        expected = 1 if login else 2
        if not self.spend("password") or len(answers) != expected:
            return False
        return await self._try(user_name, method=method, login=login or answers[0], password=answers[-1])

    async def key(self, user_name: str, fingerprint: str) -> bool:
        """Try a public key whose signature is verified."""
        return await self._try(user_name, method="publickey", login=login_of(user_name), fingerprint=fingerprint)

    async def certificate(self, user_name: str, fingerprint: str, principals: tuple[str, ...]) -> bool:
        """Try a certificate of a trusted authority whose signature is verified."""
        login = login_of(user_name)
        return await self._try(user_name, method="certificate", login=login, fingerprint=fingerprint, principals=principals)

    async def _try(
        self, user_name: str, *, method: str, login: str, password: str = "", fingerprint: str = "", principals: tuple[str, ...] = ()
    ) -> bool:
        self.identity = None  # of this attempt alone, whatever came before
        self.connection = msgspec.structs.replace(self.connection, user_name=user_name)
        attempt = AuthAttempt(
            connection=self.connection, method=method, login=login, password=password, fingerprint=fingerprint, principals=principals
        )
        try:
            self.identity = await self._plane.authenticate(attempt)
        except Unavailable as error:
            _log.warning("nobody can be authenticated", client=self.connection.client, error=str(error))
            self._say(error.notice)
        except OctopusError as error:
            _log.info("authentication refused", client=self.connection.client, method=method, error=str(error))
        except Exception:
            _log.exception("authentication failed with a bug", client=self.connection.client, method=method)
        return self.identity is not None

    def _say(self, notice: str) -> None:
        if notice not in self._told:
            self._told.add(notice)
            self._tell(notice)
