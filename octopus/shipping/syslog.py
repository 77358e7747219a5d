"""A connection to a syslog collector: datagrams on a unix socket, or frames over TCP or TLS (RFC 5425, RFC 6587). Blocking."""

from __future__ import annotations

import errno
import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from octopus.core.errors import ConfigError, ShippingUnavailable
from octopus.core.syslog import framed, message, shortened

_OPEN = (1, 8)
"""States of a connection that is up, or that only the other side has closed (tcp_states.h)."""
_PAUSE = 0.005
_LINGER = 2.0
"""Seconds that a collector has to close its side of a connection we closed."""


def trust(ca_file: str, cert_file: str = "", key_file: str = "") -> ssl.SSLContext:
    """Return what a collector is known by, and we to it where there is a certificate of ours. Raise ConfigError."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        if cert_file:
            context.load_cert_chain(cert_file, key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"audit.syslog: certificates cannot be used: {error}"]) from error
    return context


class Collector:
    """``url`` is ``unix:///path``, ``tcp://host:port`` or ``tls://host:port``; every wait ends after ``timeout`` seconds.

    ``host`` and ``process`` name us in each message.
    """

    def __init__(self, url: str, *, host: str, process: int, context: ssl.SSLContext | None = None, timeout: float = 10.0) -> None:
        self.url = url
        self.sure = urlsplit(url).scheme == "unix"
        """Whether what is delivered was read by the collector, not only taken by its machine."""
        self._host = host
        self._process = process
        self._context = context
        self._timeout = timeout
        self._socket: socket.socket | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._socket is not None

    def connect(self) -> None:
        """Connect, where there is no connection. Raise ShippingUnavailable."""
        try:
            self._socket = self._socket or self._connected()
        except (OSError, ValueError) as error:
            raise ShippingUnavailable(f"{self.url}: {error}") from error

    def check(self) -> None:
        """Raise ShippingUnavailable where the collector has closed the connection."""
        here = self._socket
        if here is None or self.sure:
            return
        try:
            if _is_closed(here, self._timeout):
                raise ConnectionError("closed by the collector")
        except OSError as error:
            self.drop()
            raise ShippingUnavailable(f"{self.url}: {error}") from error

    def deliver(self, lines: Sequence[bytes]) -> None:
        """Return once the collector's machine has taken them all, a unix socket's collector read them. Raise ShippingUnavailable."""
        self.connect()
        here = self._socket
        if here is None:
            raise ShippingUnavailable(f"{self.url}: not connected")
        try:
            if self.sure:
                for line in lines:
                    self._send_datagram(here, line)
            else:
                here.sendall(b"".join(framed(self._message(line)) for line in lines))
            self._wait_until_taken(here)
        except (OSError, ValueError) as error:
            self.drop()
            raise ShippingUnavailable(f"{self.url}: {error}") from error

    def leave(self) -> bool:
        """Close the connection in good order; tell whether the collector has read all of it."""
        here = self._socket
        if here is None or self.sure:
            self.drop()
            return True
        try:
            here.settimeout(_LINGER)
            if isinstance(here, ssl.SSLSocket):
                here = self._socket = here.unwrap()
            here.shutdown(socket.SHUT_WR)
            return here.recv(1) == b""
        except (OSError, ValueError):
            return False
        finally:
            self.drop()

    def drop(self) -> None:
        """Close the connection at once."""
        here, self._socket = self._socket, None
        if here is not None:
            here.close()

    def _message(self, line: bytes) -> bytes:
        return message(line, host=self._host, process=self._process)

    def _connected(self) -> socket.socket:
        where = urlsplit(self.url)
        if where.scheme == "unix":
            here = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                here.settimeout(self._timeout)
                here.connect(where.path)
            except BaseException:
                here.close()
                raise
            return here
        plain = socket.create_connection((where.hostname or "", where.port or 0), self._timeout)
        try:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._timeout * 1000))
            return self._context.wrap_socket(plain, server_hostname=where.hostname) if self._context else plain
        except BaseException:
            plain.close()
            raise

    def _send_datagram(self, here: socket.socket, line: bytes) -> None:
        try:
            here.send(self._message(line))
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            here.send(self._message(shortened(line)))

    def _wait_until_taken(self, here: socket.socket) -> None:
        # No event tells of an acknowledgement: the length of the socket's queue does (tcp(7), unix(7), SIOCOUTQ).
        until = time.monotonic() + self._timeout
        while _queued(here):
            if time.monotonic() > until:
                raise TimeoutError(f"nothing was taken for {self._timeout:g} s")
            time.sleep(_PAUSE)
        # A reset empties the queue as well.
        if not self.sure and here.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] not in _OPEN:
            raise ConnectionResetError(errno.ECONNRESET, "reset by the collector")


def _queued(here: socket.socket) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(here, termios.TIOCOUTQ, bytes(4)))
    return int(count)


def _is_closed(here: socket.socket, timeout: float) -> bool:
    here.settimeout(0)
    try:
        return here.recv(4096) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    finally:
        here.settimeout(timeout)
