"""A worker's end of its channel to the supervisor: connections come in, news of them goes out."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator

import msgspec
import structlog

from octopus.control.plane import Authenticated, Closed, Cut, Draining, FromWorker, KnownAs, Load, Serve, Start, ToWorker

MAX_PACKET = 256 << 10
MAX_UNSENT = 100_000

Accept = Callable[[int, str, socket.socket], None]
"""Takes a connection: its number, the client (``ip:port``), the socket."""

_PACKET: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(ToWorker)
_log = structlog.get_logger(__name__)


class WorkerChannel:
    """One SOCK_SEQPACKET socket, a JSON message a packet. ``serve`` comes with exactly one connected socket.

    News waits for room, at most ``max_unsent`` of it.
    """

    def __init__(self, channel: socket.socket, *, max_unsent: int = MAX_UNSENT) -> None:
        self._channel = channel
        self._unsent: deque[FromWorker] = deque(maxlen=max_unsent)
        self._clients: dict[int, str] = {}
        self._at_end = False
        self._cut: Callable[[int], None] = lambda number: None

    def start(self, timeout: float = 30.0) -> Start:
        """Wait for the first packet. Raise OSError or ValueError when it does not come or is another."""
        self._channel.settimeout(timeout)
        message = _PACKET.decode(self._channel.recv(MAX_PACKET))
        self._channel.setblocking(False)
        if not isinstance(message, Start):
            raise ValueError(f"the first packet is {type(message).__name__}")  # noqa: TRY004 (a protocol's order, not a type)
        return message

    def listen(self, serve: Accept, ended: Callable[[], None], cut: Callable[[int], None]) -> None:
        """Call ``serve`` with each connection, ``cut`` with the number of one to cut, ``ended`` once when no more will come."""
        self._cut = cut
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._readable, serve, ended)

    def close(self, serve: Accept) -> None:
        """Take the connections already here, then no more: the supervisor's next will fail and find another worker."""
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        self._take(serve)
        self._send(Draining())
        self._channel.shutdown(socket.SHUT_RD)

    def known_as(self, number: int, client: str) -> None:
        """Know a connection by its real client, and tell who that is."""
        self._clients[number] = client
        self._send(KnownAs(number=number, client=client))

    def authenticated(self, client: str) -> None:
        """Tell that the person on the connection from ``client`` is known."""
        for number in [number for number, known in self._clients.items() if known == client]:
            self._send(Authenticated(number=number))

    def closed(self, number: int) -> None:
        """Tell that a connection is over."""
        self._clients.pop(number, None)
        self._send(Closed(number=number))

    def load(self, rate: float) -> None:
        """Tell how many bytes per second this worker moves."""
        self._send(Load(rate=rate))

    def _send(self, message: FromWorker) -> None:
        # What does not fit goes with the next; a supervisor that is gone needs no news.
        self._unsent.append(message)
        while self._unsent:
            try:
                self._channel.send(msgspec.json.encode(self._unsent[0]))
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()
                return
            self._unsent.popleft()

    def _readable(self, serve: Accept, ended: Callable[[], None]) -> None:
        self._take(serve)
        if self._at_end:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            ended()

    def _take(self, serve: Accept) -> None:
        for told, connection in self._receive():
            if isinstance(told, Serve) and connection is not None:
                self._clients[told.number] = told.client
                serve(told.number, told.client, connection)
            elif isinstance(told, Cut):
                self._cut(told.number)

    def _receive(self) -> Iterator[tuple[Serve | Cut, socket.socket | None]]:
        while not self._at_end:
            try:
                packet, ancillary, _, _ = self._channel.recvmsg(MAX_PACKET, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                packet, ancillary = b"", []
            if not packet:
                self._at_end = True
                return
            yield from _read(packet, ancillary)


def _read(packet: bytes, ancillary: list[tuple[int, int, bytes]]) -> Iterator[tuple[Serve | Cut, socket.socket | None]]:
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    try:
        message = _PACKET.decode(packet)
    except msgspec.DecodeError as error:
        _log.error("not a packet of the supervisor", error=str(error))
        message = None
    if isinstance(message, Serve) and len(descriptors) == 1:
        yield message, socket.socket(fileno=descriptors[0])
        return
    if isinstance(message, Cut):
        yield message, None
    for descriptor in descriptors:
        os.close(descriptor)
