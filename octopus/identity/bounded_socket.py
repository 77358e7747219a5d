"""A TCP connection with one deadline for all that happens on it, and a limit on each answer."""

from __future__ import annotations

import select
import socket
import time


class Bounds:
    """How long a connection may still take, and how much it may still receive in this answer."""

    def __init__(self, seconds: float, max_answer: int) -> None:
        self._deadline = time.monotonic() + seconds
        self._max_answer = max_answer
        self._left = max_answer

    def remaining(self) -> float:
        """Return the seconds left. Raise TimeoutError when there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left

    def next_answer(self) -> None:
        """Begin a new answer."""
        self._left = self._max_answer

    def received(self, size: int) -> None:
        """Count bytes that came. Raise OSError when they are too many."""
        self._left -= size
        if self._left < 0:
            raise OSError(f"the answer exceeds {self._max_answer} bytes")


class BoundedSocket:
    """As much of a socket as an LDAP client uses; every wait ends at the one deadline of ``bounds``, which may be exchanged for the
    next question's."""

    def __init__(self, raw: socket.socket, bounds: Bounds) -> None:
        self.raw = raw
        self.bounds = bounds

    @property
    def silent(self) -> bool:
        """Whether nothing has come that nobody asked for: a word, or the end of the connection."""
        ready = select.poll()
        ready.register(self.raw, select.POLLIN)
        return not ready.poll(0)

    def recv(self, size: int) -> bytes:
        """Return at least one byte, b"" at the end."""
        self.raw.settimeout(self.bounds.remaining())
        data = self.raw.recv(size)
        self.bounds.received(len(data))
        return data

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``."""
        self.raw.settimeout(self.bounds.remaining())
        self.raw.sendall(data)

    def shutdown(self, how: int) -> None:
        """End one or both directions."""
        self.raw.shutdown(how)

    def close(self) -> None:
        """Release the socket."""
        self.raw.close()


def connect(host: str, port: int, bounds: Bounds) -> socket.socket:
    """Try the host's addresses in turn, each for its share of the time that is left. Raise OSError.

    Looking up the name is the one wait that only the resolver's own time-out ends.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = OSError("the host has no address")
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        raw = socket.socket(family, kind, protocol)
        try:
            raw.settimeout(bounds.remaining() / (len(addresses) - tried))
            raw.connect(address)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raw.close()
            failure = error
        else:
            return raw
    raise failure
