"""The client's channel as a queue of events: in order, put together, bounded."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from octopus.core.errors import Disconnected
from octopus.core.types import Input, InputEof, Resize, Signal, TermSize
from octopus.session.courtesy import Courtesy
from octopus.session.ssh_channel import ClientChannel
from octopus.session.ssh_connection import GatewayConnection
from octopus.session.ssh_stream import CHUNK


def channel(**limits: Any) -> ClientChannel:
    """Return a channel with a terminal, with nothing of a connection under it but its courtesy."""
    opened = ClientChannel(cast(GatewayConnection, SimpleNamespace(courtesy=Courtesy())), lambda _: None, **limits)
    opened.pty_requested("xterm", (80, 24, 0, 0), {})
    return opened


async def test_input_and_everything_else_keep_their_order() -> None:
    """A resize between two pieces of input stays between them, and the end comes last."""
    client = channel()
    client.data_received(b"a", None)
    client.data_received(b"b", None)
    client.terminal_size_changed(100, 30, 0, 0)
    client.data_received(b"c", None)
    client.signal_received("INT")
    client.break_received(0)
    assert client.eof_received()
    events = [await client.next_event() for _ in range(6)]
    size = TermSize(cols=100, rows=30)
    assert events == [Input(data=b"ab"), Resize(size=size), Input(data=b"c"), Signal(name="INT"), Signal(name="INT"), InputEof()]
    request = client.request()
    assert request.pty is not None
    assert request.pty.size == size


async def test_many_small_pieces_are_few_events() -> None:
    """Input byte by byte is held together, up to a chunk."""
    client = channel()
    for _ in range(3 * CHUNK):
        client.data_received(b"x", None)
    assert [len(cast(Input, await client.next_event()).data) for _ in range(3)] == [CHUNK] * 3


async def test_storms_are_bounded() -> None:
    """Of resizes in a row the last counts; signals are dropped past a limit, the end of input never is."""
    client = channel(max_events=10)
    for cols in range(1, 1000):
        client.terminal_size_changed(cols, 24, 0, 0)
        client.signal_received("TERM") if cols % 100 == 0 else None
    for _ in range(1000):
        client.signal_received("HUP")
    client.eof_received()
    events = [await client.next_event() for _ in range(11)]
    assert events[0] == Resize(size=TermSize(cols=100, rows=24))
    assert events[-1] == InputEof()


@pytest.mark.parametrize(
    ("name", "taken"), [("TERM", True), ("USR1", True), ("STOP", False), ("9", False), ("KILL; rm", False), ("", False)]
)
async def test_only_the_standards_signals_are_taken(name: str, taken: bool) -> None:
    """Names outside RFC 4254 6.10 go nowhere near a container."""
    client = channel()
    client.signal_received(name)
    client.eof_received()
    assert (await client.next_event() == Signal(name=name)) is taken


async def test_what_came_before_the_end_is_still_read() -> None:
    """Events taken before the client went are delivered; then it is Disconnected, also for who waits already."""
    client = channel()
    client.data_received(b"last", None)
    assert await client.next_event() == Input(data=b"last")
    waiting = asyncio.create_task(client.next_event())
    await asyncio.sleep(0)
    client.connection_lost(None)
    with pytest.raises(Disconnected):
        await waiting


async def test_window_changes_without_a_terminal_mean_nothing() -> None:
    """A resize of no terminal is dropped; an absurd size or name of a terminal is put within bounds."""
    client = ClientChannel(cast(GatewayConnection, None), lambda _: None)
    client.terminal_size_changed(100, 30, 0, 0)
    client.eof_received()
    assert await client.next_event() == InputEof()
    client.pty_requested("x" * 1000, (0, 1 << 31, 0, 0), {})
    assert client.pty is not None
    assert (client.pty.term, client.pty.size) == ("", TermSize(cols=80, rows=1000))
