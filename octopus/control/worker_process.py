"""One session worker as its supervisor sees it: a child process and the channel that is its standard input."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec
import structlog

from octopus.control.placing import WorkerLoad
from octopus.control.plane import Cut, Draining, FromWorker, Load, Serve, Start

MAX_PACKET = 4096
_PACKET: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)
_log = structlog.get_logger(__name__)


class WorkerProcess:
    """Started at once (raise OSError); ``news`` gets what the worker tells of its connections.

    ``leaving`` is set once it takes no more connections, alive or not. It tells its load every few seconds; when nothing came for
    ``max_silence`` seconds, it is taken to hang.
    A subprocess.Popen and not asyncio's: that one kills its child when the loop is closed, and a worker outlives this process.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        start: Start,
        news: Callable[[WorkerProcess, FromWorker], None],
        *,
        max_silence: float = 10.0,
    ) -> None:
        self.worker = start.worker
        self.connections: set[int] = set()
        self.leaving = asyncio.Event()
        self._rate = 0.0
        self._now = asyncio.get_running_loop().time  # figures are read in a thread of their own, where no loop runs
        self._heard = self._now()
        self._news = news
        self._max_silence = max_silence
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        try:
            # A session of its own: a terminal's ^C must not reach it before the supervisor has decided.
            self._process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 (the command is the wiring's own, not input)
                command, stdin=theirs.fileno(), env=environment, start_new_session=True
            )
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()
        self._channel.send(msgspec.json.encode(start))
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._readable)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def load(self) -> WorkerLoad:
        """What it is busy with."""
        silent = self._now() - self._heard > self._max_silence
        return WorkerLoad(worker=self.worker, connections=len(self.connections), rate=self._rate, silent=silent)

    def give(self, serve: Serve, connection: socket.socket) -> bool:
        """Hand over a connection; False when the worker takes none: it drains, is dead, or does not read."""
        try:
            socket.send_fds(self._channel, [msgspec.json.encode(serve)], [connection.fileno()])
        except OSError as error:
            _log.warning("a worker takes no connection", worker=self.worker, error=str(error))
            return False
        self.connections.add(serve.number)
        return True

    def cut(self, number: int) -> None:
        """Have a connection cut; a worker that does not read keeps it until its person had time enough to log in."""
        with suppress(OSError):
            self._channel.send(msgspec.json.encode(Cut(number=number)))

    def drain(self) -> None:
        """Let the worker end with its last connection; it still tells of them."""
        self.leaving.set()
        if self._channel.fileno() >= 0:
            self._channel.shutdown(socket.SHUT_WR)

    def release(self) -> None:
        """Close the channel: the worker is on its own from here."""
        if self._channel.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()

    def kill(self) -> None:
        """End it at once."""
        self._process.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Return its exit status, negative for a signal, once it has ended and its last news is read."""
        ended = asyncio.Event()
        pidfd = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)
        self._readable()
        self.release()
        self.leaving.set()
        return self._process.wait()

    def _readable(self) -> None:
        while self._channel.fileno() >= 0:
            try:
                packet = self._channel.recv(MAX_PACKET)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
                return
            self._hear(packet)

    def _hear(self, packet: bytes) -> None:
        try:
            message = _PACKET.decode(packet)
        except msgspec.DecodeError as error:
            _log.error("not a worker's packet", worker=self.worker, error=str(error))
            return
        self._heard = self._now()
        if isinstance(message, Load):
            self._rate = message.rate
        elif isinstance(message, Draining):
            self.leaving.set()
        else:
            self._news(self, message)
