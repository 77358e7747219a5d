"""The pump: in order, recorded before delivered, ended from whichever side, never half told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from octopus.core.asciicast import TerminalEvent
from octopus.core.errors import ContainerUnavailable, Disconnected, OctopusError, RecordingUnavailable, SessionEnded
from octopus.core.short_way import Take
from octopus.core.types import (
    ClientEvent,
    ContainerClue,
    EngineAddress,
    ExecSpec,
    Exit,
    Input,
    InputEof,
    Mark,
    Resize,
    Signal,
    Target,
    TermSize,
)
from octopus.session.recorder import Recording
from octopus.session.relay import Relay, Traffic
from tests.fakes import FakeBackend, FakeExecStream, Program, echo
from tests.streams import until

TARGET = Target(app="/a", task="a.1", agent="h", engine=EngineAddress(url="unix:///x"), clue=ContainerClue())
SPEC = ExecSpec(command=None, pty=None, env={}, user="", token="token")


class Client:
    """A client that does what it is told in ``events`` and keeps what it is sent; ``journal`` orders it among other things."""

    def __init__(self, journal: list[str], *events: ClientEvent) -> None:
        self.gone = asyncio.Event()
        self.sent = bytearray()
        self.errors = bytearray()
        self.taking = asyncio.Event()
        self.taking.set()
        self.take: Take | None = None
        self._journal = journal
        self._events = asyncio.Queue[ClientEvent]()
        for event in events:
            self._events.put_nowait(event)

    async def next_event(self) -> ClientEvent:
        """Return the next event, or wait for ever."""
        return await self._events.get()

    async def write(self, data: bytes, *, stderr: bool = False) -> None:
        """Keep it, as soon as the client takes something."""
        await self.taking.wait()
        if self.gone.is_set():
            raise Disconnected("gone")
        self._journal.append(f"sent {data.decode()}")
        (self.errors if stderr else self.sent).extend(data)

    @property
    def ready(self) -> bool:
        """Whether it takes something."""
        return self.taking.is_set() and not self.gone.is_set()

    def send(self, data: bytes) -> None:
        """Keep it."""
        self._journal.append(f"sent {data.decode()}")
        self.sent += data

    def offer(self, take: Take) -> None:
        """Keep who takes what is typed."""
        self.take = take

    def type(self, data: bytes) -> None:
        """Type it, as a channel does on which nothing waits before it."""
        if not (self.take and self.take(data)):
            self._events.put_nowait(Input(data=data))


class Journal:
    """A recorder that keeps events in a journal; full after ``room`` of them. ``waits`` says of each whether it takes a moment."""

    def __init__(self, journal: list[str], room: int = 1000, waits: Callable[[], bool] = lambda: True) -> None:
        self._journal = journal
        self._room = room
        self._waits = waits

    def write_now(self, event: TerminalEvent) -> bool:
        """Keep it, unless that takes a moment."""
        if self._waits() or not self._room:
            return False
        self._keep(event)
        return True

    async def write(self, event: TerminalEvent) -> None:
        """Keep it."""
        await asyncio.sleep(0)
        if not self._room:
            raise RecordingUnavailable("full")
        self._keep(event)

    def _keep(self, event: TerminalEvent) -> None:
        self._room -= 1
        match event:
            case Resize(size=size):
                told = str(size.cols)
            case Mark(text=text):
                told = text
            case _:
                told = event.data.decode()
        self._journal.append(f"recorded {told}")

    async def finish(self) -> Recording | None:
        """Nothing to finish."""
        return None


class Played:
    """What came of one run of the pump."""

    def __init__(self, *events: ClientEvent, room: int = 1000, waits: Callable[[], bool] = lambda: True) -> None:
        self.journal: list[str] = []
        self.client = Client(self.journal, *events)
        self.recorder = Journal(self.journal, room, waits)
        self.traffic = Traffic()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.exit: Exit | None = None
        self.stream: FakeExecStream | None = None

    async def run(self, program: Program, *, record_input: bool = False, idle_timeout: float = 0.0) -> None:
        """Run a program to its end."""
        backend = FakeBackend({None: program})
        async with backend.start(TARGET, SPEC) as stream:
            [self.stream] = backend.streams
            relay = Relay(self.client, stream, self.recorder, self.traffic, record_input=record_input, idle_timeout=idle_timeout)
            await relay.run(self.ended, self._finish)

    async def _finish(self, exit_: Exit) -> None:
        self.journal.append(f"exit {exit_.status}")
        self.exit = exit_


@pytest.mark.parametrize("waits", [True, False])
async def test_output_is_recorded_then_sent_then_the_exit(*, waits: bool) -> None:
    """Each piece is on record before it is sent, and the exit comes last; whether or not the record takes a moment."""

    async def program(stream: FakeExecStream) -> Exit:
        await stream.say(b"one")
        await stream.say(b"two", stderr=True)
        return Exit(status=7)

    played = Played(waits=lambda: waits)
    await played.run(program)
    assert played.journal == ["recorded one", "sent one", "recorded two", "sent two", "exit 7"]
    assert (bytes(played.client.sent), bytes(played.client.errors)) == (b"one", b"two")
    assert played.traffic.outward == 6


async def test_input_resizes_and_end_arrive_in_order() -> None:
    """What the client does reaches the command in its order; input is recorded only where the rule says so."""
    for record_input in (False, True):
        played = Played(Input(data=b"a"), Resize(size=TermSize(cols=99, rows=9)), Input(data=b"b"), InputEof())
        await played.run(echo, record_input=record_input)
        assert played.stream is not None
        assert bytes(played.stream.written) == b"ab"
        assert played.stream.sizes == [TermSize(cols=99, rows=9)]
        assert played.traffic.inward == 2
        recorded = [entry for entry in played.journal if entry.startswith("recorded")]
        # what echo says is recorded as well, in between, and by that it is known what was typed in the open
        assert recorded.count("recorded ab") == record_input
        assert "recorded 99" in recorded


async def test_signal_reaches_the_command() -> None:
    """TERM ends the command with 143; a signal that cannot be delivered is no end of the session."""

    async def forever(stream: FakeExecStream) -> Exit:
        await asyncio.Event().wait()
        return Exit(status=0)

    played = Played(Signal(name="NONE"), Signal(name="TERM"))
    await played.run(forever)
    assert played.exit == Exit(status=143)


@pytest.mark.parametrize("waits", [True, False])
async def test_output_that_cannot_be_recorded_is_not_sent(*, waits: bool) -> None:
    """A recorder that is full ends the session before anything more is shown."""

    async def program(stream: FakeExecStream) -> Exit:
        await stream.say(b"one")
        await stream.say(b"two")
        return Exit(status=0)

    played = Played(room=1, waits=lambda: waits)
    with pytest.raises(RecordingUnavailable):
        await played.run(program)
    assert bytes(played.client.sent) == b"one"
    assert played.exit is None


async def test_a_key_goes_there_and_back_without_anybody_being_woken() -> None:
    """What is short and need not wait has gone on, recorded, when it is known to have come."""
    played = Played(waits=lambda: False)

    async def program(stream: FakeExecStream) -> Exit:
        await until(lambda: played.client.take)
        played.client.type(b"k")
        assert stream.written == b"k"
        await stream.say(b"k")
        assert played.journal == ["recorded k", "sent k"]
        return Exit(status=0)

    await played.run(program)
    assert (played.traffic.inward, played.traffic.outward) == (1, 1)


async def test_input_that_is_recorded_goes_the_long_way() -> None:
    """What was typed in the open shows only together with what came back."""
    played = Played(waits=lambda: False)

    async def program(stream: FakeExecStream) -> Exit:
        played.client.type(b"open\r")
        await stream.say(await stream.read())
        return Exit(status=0)

    await played.run(program, record_input=True)
    assert played.client.take is None
    assert [entry for entry in played.journal if entry.startswith("recorded")] == ["recorded open\r", "recorded open\r"]


@pytest.mark.parametrize("seed", range(20))
async def test_short_and_long_way_keep_the_order(seed: int) -> None:
    """Whatever has to wait, nothing overtakes it: all is sent once, in its order, each piece after it was recorded."""
    chance = random.Random(seed)
    played = Played(waits=lambda: chance.random() < 0.4)
    pieces = [b"%d," % number * (1 if chance.random() < 0.9 else 2000) for number in range(100)]

    async def program(stream: FakeExecStream) -> Exit:
        for piece in pieces:
            await stream.say(piece)
            for _ in range(chance.choice((0, 0, 3, 20))):
                await asyncio.sleep(0)
            if chance.random() < 0.2:
                played.client.taking.clear()
                asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, played.client.taking.set)
        return Exit(status=0)

    await played.run(program)
    assert bytes(played.client.sent) == b"".join(pieces)
    assert played.journal[:-1] == [f"{what} {piece.decode()}" for piece in pieces for what in ("recorded", "sent")]
    assert played.traffic.outward == sum(map(len, pieces))


async def test_command_waits_for_a_slow_client() -> None:
    """A client that takes nothing stops the command after what fits between, and is given all of it later."""
    said = 0

    async def flood(stream: FakeExecStream) -> Exit:
        nonlocal said
        for _ in range(200):
            await stream.say(b"x")
            said += 1
        return Exit(status=0)

    played = Played()
    played.client.taking.clear()
    running = asyncio.create_task(played.run(flood))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert said < 30
    played.client.taking.set()
    await running
    assert len(played.client.sent) == 200


@pytest.mark.parametrize("how", ["gone", "ended", "idle"])
async def test_session_ends_though_nothing_moves(how: str) -> None:
    """A client that is gone, an operator, and the idle timeout each end a silent session."""

    async def silent(stream: FakeExecStream) -> Exit:
        if how == "gone":
            played.client.gone.set()
        if how == "ended":
            played.ended.set_result("because")
        await asyncio.Event().wait()
        return Exit(status=0)

    played = Played()
    kinds: dict[str, tuple[type[OctopusError], str]] = {
        "gone": (Disconnected, "gone"),
        "ended": (SessionEnded, "because"),
        "idle": (SessionEnded, "idle"),
    }
    kind, words = kinds[how]
    with pytest.raises(kind, match=words):
        await played.run(silent, idle_timeout=0.01 if how == "idle" else 0)
    assert played.exit is None


async def test_engine_that_breaks_is_its_own_error() -> None:
    """What the stream raises comes out as itself, not as a group."""

    async def broken(stream: FakeExecStream) -> Exit:
        stream._exit.set_exception(ContainerUnavailable("engine away"))
        return Exit(status=0)

    with pytest.raises(ContainerUnavailable, match="engine away"):
        await Played().run(broken)


async def test_bug_comes_out_before_what_follows_from_it() -> None:
    """An error nobody thought of is not hidden behind a disconnect at the same time."""

    class Broken(Client):
        async def next_event(self) -> ClientEvent:
            """Fail, and be gone."""
            self.gone.set()
            raise ZeroDivisionError

    played = Played()
    played.client = Broken(played.journal)
    with pytest.raises(ZeroDivisionError):
        await played.run(echo)
