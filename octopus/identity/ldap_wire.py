"""One LDAP server, blocking: connect, bind, search. The only module that knows ldap3, and none of it leaves.

ldap3 gives every read a time-out of its own, so a server that sends a byte now and then holds a thread for ever, and it puts
no limit on an answer. Here the socket is ours: all that happens in a session shares one deadline, each answer has a
size, and TLS always verifies the certificate and the host name.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import ldap3
from ldap3.core import results
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import parse_dn

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable, printable
from octopus.identity.bounded_socket import BoundedSocket, Bounds, connect
from octopus.identity.ldap_answers import Entry, Found, as_ours, describe, entry_of
from octopus.identity.ldap_idle import IdleConnections
from octopus.identity.unsettled import PasswordUnsettled

MAX_ANSWER = 8 * 1024 * 1024
"""Bytes of one answer (a page, an entry with all its groups)."""

_START_TLS = "1.3.6.1.4.1.1466.20037"
_PAGED_RESULTS = "1.2.840.113556.1.4.319"
_REFUSALS = frozenset(
    {
        results.RESULT_CONSTRAINT_VIOLATION,
        results.RESULT_INAPPROPRIATE_AUTHENTICATION,
        results.RESULT_INVALID_CREDENTIALS,
        results.RESULT_INSUFFICIENT_ACCESS_RIGHTS,
        results.RESULT_UNWILLING_TO_PERFORM,
    }
)
"""Results of a bind that speak of the account; all others speak of the server."""


def escape(text: str) -> str:
    """Return ``text`` as a value in a filter (RFC 4515)."""
    return str(escape_filter_chars(text))


def read_dn(dn: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Return a DN's RDNs, each its (type, value) pairs: types in lower case, values without escapes. Raise ValueError."""
    rdns: list[list[tuple[str, str]]] = [[]]
    try:
        for kind, value, separator in parse_dn(dn, strip=True):
            rdns[-1].append((kind.lower(), _unescape(value)))
            if separator == ",":
                rdns.append([])
    except Exception as error:  # ldap3 fails on odd DNs with more than its own LDAPInvalidDnError
        raise ValueError("not a DN") from error
    return tuple(tuple(rdn) for rdn in rdns)


def _unescape(value: str) -> str:
    def char(found: re.Match[bytes]) -> bytes:
        return bytes.fromhex(found[1].decode()) if len(found[1]) == 2 else found[1]

    return re.sub(rb"\\([0-9A-Fa-f]{2}|.)", char, value.encode()).decode()


class LdapSession:
    """A bound connection to one server. ``renew`` makes another in place of one that was kept, should the server have given it up."""

    def __init__(self, url: str, connection: Any, bounds: Bounds, renew: Callable[[], Any] | None = None) -> None:
        self.url = url
        self.connection = connection
        self._bounds = bounds
        self._renew = renew

    def remaining(self) -> float:
        """Return the seconds the session may still take, at least a little."""
        with as_ours(self.url):
            return self._bounds.remaining()

    def search(self, base: str, query: str, attributes: Sequence[str], *, size_limit: int) -> Found:
        """Return up to ``size_limit`` entries under ``base``; without attributes only their DNs. Referrals are not followed."""
        with as_ours(f"{self.url}: search under {base}"):
            result = self._search(base, query, attributes, size_limit=size_limit)
            if result["result"] not in (results.RESULT_SUCCESS, results.RESULT_SIZE_LIMIT_EXCEEDED):
                raise DirectoryUnavailable(f"{self.url}: search under {base}: {describe(result)}")
            return Found(entries=self._entries(), complete=result["result"] == results.RESULT_SUCCESS)

    def pages(self, base: str, query: str, attributes: Sequence[str], *, page_size: int) -> Iterator[tuple[Entry, ...]]:
        """Yield all entries under ``base`` page by page (RFC 2696)."""
        cookie = None
        while True:
            with as_ours(f"{self.url}: paged search under {base}"):
                result = self._search(base, query, attributes, paged_size=page_size, paged_cookie=cookie)
                if result["result"] != results.RESULT_SUCCESS:
                    raise DirectoryUnavailable(f"{self.url}: paged search under {base}: {describe(result)}")
                entries = self._entries()
                cookie = result.get("controls", {}).get(_PAGED_RESULTS, {}).get("value", {}).get("cookie")
            yield entries
            if not cookie:
                return

    def exists(self, base: str) -> None:
        """Raise DirectoryUnavailable when there is no entry ``base``, or none that may be read."""
        with as_ours(f"{self.url}: read {base}"):
            result = self._search(base, "(objectClass=*)", (), search_scope=ldap3.BASE, size_limit=1)
            if result["result"] != results.RESULT_SUCCESS or not self._entries():
                raise DirectoryUnavailable(f"{self.url}: read {base}: {describe(result)}")

    def _search(self, base: str, query: str, attributes: Sequence[str], **options: Any) -> Any:
        renew, self._renew = self._renew, None
        try:
            return self._asked(base, query, attributes, **options)
        except Exception:
            if renew is None:
                raise
            _close(self.connection)
            self.connection = renew()
            return self._asked(base, query, attributes, **options)

    def _asked(self, base: str, query: str, attributes: Sequence[str], **options: Any) -> Any:
        self._bounds.next_answer()
        time_limit = max(1, int(self._bounds.remaining()))
        self.connection.search(base, query, attributes=list(attributes), time_limit=time_limit, **options)
        result = self.connection.result
        if result["type"] != "searchResDone":
            raise ValueError("the answer is no search result")
        return result

    def _entries(self) -> tuple[Entry, ...]:
        found = self.connection.response or ()
        return tuple(entry_of(item) for item in found if item["type"] == "searchResEntry")


class LdapServer:
    """Where one server is, how to reach it, and the account that searches there (both empty: anonymous).

    Up to ``max_idle`` of its connections are kept, unused for at most ``keep`` seconds each. Raises ValueError for a URL or a CA
    file that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        bind_dn: str = "",
        bind_password: str = "",
        start_tls: bool = False,
        ca_file: str = "",
        max_answer: int = MAX_ANSWER,
        keep: float = 60.0,
        max_idle: int = 4,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ldap", "ldaps") or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise ValueError(f"not ldap://host[:port] or ldaps://host[:port]: {printable(url.rpartition('@')[2])}")
        if bool(bind_dn) != bool(bind_password):
            raise ValueError("bind_dn and bind_password go together")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.hostname
        self._port = parts.port or (636 if parts.scheme == "ldaps" else 389)
        self._bind_dn = bind_dn
        self._bind_password = bind_password
        self._tls_first = parts.scheme == "ldaps"
        self._start_tls = start_tls and not self._tls_first
        self._max_answer = max_answer
        self._idle = IdleConnections(_close, keep=keep, capacity=max_idle)
        try:
            self._tls = ssl.create_default_context(cafile=ca_file or None)
        except OSError as error:
            raise ValueError(f"the CA file {ca_file} cannot be used: {error}") from error

    @contextmanager
    def session(self, *, timeout: float) -> Iterator[LdapSession]:
        """Connect and bind as the searching account, or go on with a connection kept; this and all that follows in ``timeout`` seconds.

        Raise DirectoryUnavailable, also when that account is refused: the operator's to mend, nobody's failed login.
        """
        bounds = Bounds(timeout, self._max_answer)
        kept = self._idle.take()
        if kept is not None:
            kept.socket.bounds = bounds
        session = LdapSession(self.url, kept or self._searching(bounds), bounds, (lambda: self._searching(bounds)) if kept else None)
        try:
            yield session
        except AuthenticationFailed:  # about the person: the connection is as good as it was
            self._idle.give(session.connection)
            raise
        except BaseException:
            _close(session.connection)
            raise
        self._idle.give(session.connection)

    def close(self) -> None:
        """Close the connections kept, and keep none from here on."""
        self._idle.close()

    def _searching(self, bounds: Bounds) -> Any:
        try:
            return self._bound(self._bind_dn, self._bind_password, bounds)
        except AuthenticationFailed as error:
            raise DirectoryUnavailable(f"the account that searches is refused: {error}") from error
        except PasswordUnsettled as error:  # nobody's password but our own
            raise DirectoryUnavailable(str(error)) from error

    def check_bind(self, dn: str, password: str, *, timeout: float) -> None:
        """Bind as ``dn`` on a connection of its own. Raise AuthenticationFailed, PasswordUnsettled, DirectoryUnavailable."""
        if not dn or not password:  # either would bind as nobody, and succeed
            raise AuthenticationFailed(f"{self.url}: a bind needs both a DN and a password")
        _close(self._bound(dn, password, Bounds(timeout, self._max_answer)))

    def _bound(self, dn: str, password: str, bounds: Bounds) -> Any:
        connection = self._connection(dn, password)
        try:
            with as_ours(f"{self.url}: connect"):
                self._open(connection, bounds)
            with as_ours(f"{self.url}: bind", PasswordUnsettled):
                self._bind(connection)
        except BaseException:
            _close(connection)
            raise
        return connection

    def _connection(self, dn: str, password: str) -> Any:
        server = ldap3.Server(self._host, port=self._port, get_info=ldap3.NONE)
        return ldap3.Connection(
            server,
            user=dn or None,
            # Bytes go as they are; of text ldap3 makes SASLprep's form, which can be empty where the password was not.
            password=password.encode() or None,
            authentication=ldap3.SIMPLE if dn else ldap3.ANONYMOUS,
            client_strategy=ldap3.SYNC,
            auto_referrals=False,
            auto_escape=False,
            auto_encode=False,
            check_names=False,
            raise_exceptions=False,
            return_empty_attributes=False,
            read_only=True,
        )

    def _open(self, connection: Any, bounds: Bounds) -> None:
        """What ldap3's ``open`` does, with a socket of ours."""
        raw = connect(self._host, self._port, bounds)
        connection.socket = BoundedSocket(raw, bounds)
        connection.strategy._outstanding = {}
        connection.closed = False
        connection.listening = True
        connection.open = _never_again
        if self._start_tls:
            connection.extended(_START_TLS)
            if connection.result["result"] != results.RESULT_SUCCESS:
                raise DirectoryUnavailable(f"{self.url}: StartTLS: {describe(connection.result)}")
        if self._start_tls or self._tls_first:
            raw.settimeout(bounds.remaining())  # for the handshake as a whole
            connection.socket = BoundedSocket(self._tls.wrap_socket(raw, server_hostname=self._host), bounds)

    def _bind(self, connection: Any) -> None:
        bound = connection.bind(read_server_info=False)
        result = connection.result
        bind = f"{self.url}: bind as {printable(connection.user or 'nobody')}"
        if result["type"] != "bindResponse":
            raise ValueError("the answer is no bind response")
        if result["result"] in _REFUSALS:
            raise AuthenticationFailed(f"{bind}: {describe(result)}")
        if not bound:
            raise DirectoryUnavailable(f"{bind}: {describe(result)}")


def _never_again(**_: Any) -> None:
    """Stand in for ldap3's ``open``, which ``bind`` calls on a closed connection: it would connect anew, without TLS."""
    raise ConnectionError("the server closed the connection")


def _close(connection: Any) -> None:
    """Say goodbye if that is possible, and close the socket in any case."""
    bounded = connection.socket
    with suppress(Exception):  # the server may be gone or the time be up; nothing depends on the goodbye
        connection.unbind()
    if bounded is not None:
        bounded.close()
