"""What is had without a target, with a channel by hand."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

from octopus.core.types import ClientEvent, Identity, Input, Pty, RequestKind, SessionRequest, TermSize
from octopus.session.lobby import Lobby
from octopus.session.ssh_channel import ClientChannel
from tests.fake_plane import FakePlane
from tests.parts.gateway import target


class Typed:
    """A terminal at which this was typed; ``left`` is what was put back."""

    def __init__(self, *data: bytes) -> None:
        self.gone = asyncio.Event()
        self.left = b""
        self._events: deque[ClientEvent] = deque(Input(data=one) for one in data)

    def request(self) -> SessionRequest:
        """Ask for a shell."""
        return SessionRequest(kind=RequestKind.SHELL, pty=Pty(term="xterm", size=TermSize(cols=80, rows=24)))

    async def next_event(self) -> ClientEvent:
        """Return what was typed."""
        return self._events.popleft()

    def put_back(self, data: bytes) -> None:
        """Keep it, in front of what was put back before."""
        self.left = data + self.left

    async def write(self, data: bytes, *, stderr: bool = False) -> None:
        """Show it to nobody."""


async def test_who_pastes_into_the_picker_holds_up_nobody_else() -> None:
    """However much it is, the others of the process have their turns; what follows the choice is the shell's."""
    tasks = {f"web.{number:04}": target(f"web.{number:04}", "/web") for number in range(500)}
    typed = Typed(b"x\x7f" * 2000 + b"w\r" + b"exit 5\r" * 1000)
    lobby = Lobby(FakePlane(tasks, passwords={}), Identity(login="alice", method="password"), cast(ClientChannel, typed), clock=lambda: 0.0)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    assert await lobby.pick("") == "web.0000"
    beside.cancel()
    assert turns > 50
    assert typed.left == b"exit 5\r" * 1000
