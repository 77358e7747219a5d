"""One session channel as sessions see it: what is asked for, events in their order, writes that wait, one end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

import asyncssh

from octopus.core import container_log
from octopus.core.errors import Disconnected
from octopus.core.short_way import Take
from octopus.core.types import TRANSFERS, ClientEvent, Input, InputEof, Pty, RequestKind, Resize, SessionRequest, Signal, TermSize
from octopus.session import scp_command
from octopus.session.courtesy import BULK
from octopus.session.ssh_connection import GatewayChannel, GatewayConnection
from octopus.session.ssh_stream import CHUNK, SshStream

SIGNALS = frozenset({"ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2"})
"""RFC 4254 6.10."""
MAX_TERM = 64
WITHOUT_PTY = TRANSFERS | {RequestKind.LOGS}

Serve = Callable[["ClientChannel"], None]


class ClientChannel(SshStream[GatewayChannel], asyncssh.SSHServerSession[bytes]):
    """The client's side of a session. ``serve`` is called once, when the client has asked for a shell, a command or a subsystem.

    Input waits here up to the channel's window, other events up to ``max_events``.
    """

    def __init__(self, connection: GatewayConnection, serve: Serve, *, max_events: int = 256) -> None:
        super().__init__(connection)
        self.pty: Pty | None = None
        self.subsystem: str | None = None
        self.over = False  # an exit status was sent
        self._serve = serve
        self._command: str | None = None
        self._max_events = max_events
        self._events: deque[ClientEvent | bytearray | bytes] = deque()
        self._typed: Take | None = None

    def request(self) -> SessionRequest:
        """Return what the client asks for, with the terminal's size as it is now. A transfer of files has no terminal, nor has a log."""
        environment: Mapping[str, str] = self._chan.get_environment() if self._chan else {}
        kind = self._kind()
        pty = None if kind in WITHOUT_PTY else self.pty
        command = self.subsystem if kind is RequestKind.LOGS else self._command
        return SessionRequest(kind=kind, command=command, pty=pty, env=dict(environment))

    @property
    def command(self) -> str | None:
        """What the client would run; bytes that are no UTF-8 stand in it as surrogates (PEP 383)."""
        return self._command

    @property
    def agent_asked(self) -> bool:
        """Whether the client would like its agent forwarded, which is not offered."""
        return bool(self._chan and self._chan.agent_asked)

    async def next_event(self) -> ClientEvent:
        """Return what the client did next. Raise Disconnected when it is gone."""
        while not self._events:
            if self.gone.is_set():
                raise Disconnected("the client is gone")
            await self._next()
        event = self._take()
        if isinstance(event, Input):
            await self._connection.courtesy.turn(len(event.data))
        return event

    def put_back(self, data: bytes) -> None:
        """Have input that was taken be the next event, where it is not empty."""
        if data:
            self._events.appendleft(Input(data=data))

    def offer(self, take: Take) -> None:
        """Have what is typed in a terminal offered to ``take`` first while ``next_event`` waits; what is not taken is an event."""
        self._typed = take

    def send(self, data: bytes) -> None:
        """Send output at once, while ``ready``. A channel that closes this moment says so itself."""
        if self._chan:
            with suppress(OSError):
                self._chan.write(data)

    async def say(self, line: str) -> None:
        """Write one line to the person, on stderr. Raise Disconnected."""
        text = f"\r\n{line}\r\n" if self.pty else f"{line}\n"
        await self.write(text.encode(), stderr=True)

    async def exit(self, status: int) -> None:
        """Send what is left, then the exit status (0 to 255), and close. Raise Disconnected."""
        await self.flush()
        channel = self._open()
        self.over = True
        channel.write_eof()
        channel.exit(status)

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """Keep the channel; asyncssh calls this and what follows."""
        if not isinstance(chan, GatewayChannel):
            raise TypeError("a gateway's channel is a GatewayChannel")
        self._chan = chan

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Mapping[int, int]) -> bool:
        """Grant a terminal of any size; what cannot be one is put within bounds."""
        term = term_type if len(term_type) <= MAX_TERM and term_type.isprintable() else ""
        self.pty = Pty(term=term, size=TermSize.clamped(cols=term_size[0], rows=term_size[1]))
        return True

    def shell_requested(self) -> bool:
        """Grant it; what becomes of it the person is told in words and by status."""
        return True

    def exec_requested(self, command: str) -> bool:
        """Grant it."""
        self._command = command
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """Grant it, to say in words what is not offered."""
        self.subsystem = subsystem
        return True

    def session_started(self) -> None:
        """Hand over to whoever serves it."""
        self._serve(self)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take input; small pieces in a row are put together, for fewer and larger writes."""
        if self.pty and len(data) < BULK:
            self._connection.courtesy.typed()
            if self._awaited and self._typed and self._typed(data):
                return self._used(len(data))
        last = self._events[-1] if self._events else None
        if len(data) >= BULK:
            self._events.append(data)
        elif isinstance(last, bytearray) and len(last) < CHUNK:
            last += data
        else:
            self._events.append(bytearray(data))
        return self._wake()

    def eof_received(self) -> bool:
        """Note the end of input; the other direction stays open."""
        self._events.append(InputEof())
        self._wake()
        return True

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """Take a window change; of several in a row the last counts."""
        if self.pty is None:
            return
        if self._events and isinstance(self._events[-1], Resize):
            self._events.pop()
        self._put(Resize(size=TermSize.clamped(cols=width, rows=height)))

    def signal_received(self, signal: str) -> None:
        """Take a signal of the standard's; others are dropped."""
        if signal in SIGNALS:
            self._put(Signal(name=signal))

    def break_received(self, msec: int) -> bool:
        """Take a break as what a terminal makes of it: an interrupt."""
        self._put(Signal(name="INT"))
        return True

    def _kind(self) -> RequestKind:
        if self.subsystem is not None:
            return RequestKind.LOGS if container_log.asked(self.subsystem) else RequestKind.SFTP
        if self._command is None:
            return RequestKind.SHELL
        return RequestKind.SCP if scp_command.read(self._command) else RequestKind.EXEC

    def _joined(self, first: bytearray | bytes) -> bytes:
        """Return a piece of input with those that follow it, copied once at most."""
        parts, size = [first], len(first)
        while self._events and size < CHUNK and isinstance(piece := self._events[0], bytearray | bytes):
            self._events.popleft()
            parts.append(piece)
            size += len(piece)
        return b"".join(parts) if len(parts) > 1 else bytes(first)

    def _put(self, event: ClientEvent) -> None:
        # Signals and window changes pass no window: a client could send them for ever.
        if len(self._events) < self._max_events:
            self._events.append(event)
            self._wake()

    def _take(self) -> ClientEvent:
        event = self._events.popleft()
        if isinstance(event, bytearray | bytes):
            data = self._joined(event)
            self._used(len(data))
            return Input(data=data)
        if isinstance(event, Resize) and self.pty:
            self.pty = Pty(term=self.pty.term, size=event.size)
        return event
