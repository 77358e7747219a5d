"""A recording played to a made-up screen and clock, with keys; and as text."""

from __future__ import annotations

from collections.abc import Iterable

from octopus.core.cast_reading import Cast, Shown
from octopus.core.types import TermSize
from octopus.replay import Player, transcript

SIZE = TermSize(cols=20, rows=3)


class Desk:
    """A screen, a keyboard and a clock: ``keys`` are pressed at their times, ``log`` is what was shown when."""

    def __init__(self, *keys: tuple[float, str], answers: Iterable[str] = ()) -> None:
        self.now = 0.0
        self.log: list[tuple[float, str]] = []
        self._keys = list(keys)
        self._answers = iter(answers)

    def show(self, text: str) -> None:
        """Note it."""
        if text:
            self.log.append((self.now, text))

    def key(self, timeout: float | None) -> str:
        """Let the time pass until the next key or the timeout."""
        if self._keys and (timeout is None or self._keys[0][0] <= self.now + timeout):
            at, key = self._keys.pop(0)
            self.now = max(self.now, at)
            return key
        assert timeout is not None, "it waits for ever"
        self.now += timeout
        return ""

    def ask(self, prompt: str) -> str:
        """Return the next answer."""
        return next(self._answers)


def cast(*shown: tuple[float, str]) -> Cast:
    """Return a recording."""
    return Cast(SIZE, "", tuple(Shown(at, text) for at, text in shown))


TEN = cast(*((float(second), f"{second};") for second in range(1, 31)))


def played(desk: Desk, recording: Cast = TEN, speed: float = 1.0) -> list[tuple[float, str]]:
    """Return what was shown when."""
    Player(recording, desk, speed=speed, clock=lambda: desk.now).play()
    return desk.log


def test_a_recording_plays_in_its_time() -> None:
    """Or so many times as fast; an empty one is over at once."""
    recording = cast((1.0, "a"), (1.0, "b"), (3.0, "c"))
    assert played(Desk(), recording) == [(1.0, "ab"), (3.0, "c")]
    assert played(Desk(), recording, 2.0) == [(0.5, "ab"), (1.5, "c")]
    assert played(Desk(), cast()) == []


def test_it_pauses_and_ends() -> None:
    """Space, space, q; keys that mean nothing do nothing."""
    desk = Desk((1.5, " "), (10.0, "x"), (11.5, " "), (12.2, "q"))
    assert played(desk) == [(1.0, "1;"), (12.0, "2;")]
    assert played(Desk((1.5, "end"))) == [(1.0, "1;")]


def test_arrows_move() -> None:
    """Forward all between is shown at once; back the screen begins anew."""
    log = played(Desk((1.5, "right"), (1.7, "left"), (1.8, "q")))
    assert log == [(1.0, "1;"), (1.5, "2;3;4;5;6;7;8;9;10;11;"), (1.7, "\x1bc"), (1.7, "1;")]


def test_nobody_moves_out_of_it() -> None:
    """Before the beginning is the beginning, after the end the end."""
    assert played(Desk((1.5, "left"), (1.5, "q")))[-1] == (1.5, "\x1bc")
    assert played(Desk((1.5, "right"), (1.5, "right"), (1.5, "right")))[-1] == (1.5, "22;23;24;25;26;27;28;29;30;")


def test_speed_changes() -> None:
    """Twice as fast, and half."""
    assert [at for at, _ in played(Desk((1.0, "+"), (2.0, "q")))] == [1.0, 1.5, 2.0]
    assert [at for at, _ in played(Desk((1.0, "-"), (5.0, "q")))] == [1.0, 3.0, 5.0]


def test_search_goes_from_place_to_place() -> None:
    """And stops at each; nothing found or asked for leaves everything as it is."""
    recording = cast((1.0, "one"), (50.0, "error a\n"), (60.0, "more"), (70.0, "Error b\n"))
    desk = Desk((1.5, "/"), (2.0, "n"), (3.0, "n"), (4.0, "q"), answers=["error"])
    assert played(desk, recording) == [
        (1.0, "one"),
        (1.5, "error a\n"),
        (2.0, "moreError b\n"),
        (3.0, "\x1bc"),
        (3.0, "oneerror a\n"),
    ]
    desk = Desk((1.5, "/"), (1.5, "/"), (1.5, "n"), (50.5, "q"), answers=["none", ""])
    assert played(desk, recording) == [(1.0, "one"), (50.0, "error a\n")]


def test_a_transcript_is_what_was_on_the_screen() -> None:
    """What scrolled out of it and what was left, corrected and without colours; a new size is followed."""
    recording = Cast(
        SIZE,
        "",
        (
            Shown(0.0, "one\r\n\x1b[31mtwo\x1b[0m\r\nthree\r\nfuor\b\b\bour\r\n"),
            Shown(1.0, size=TermSize(cols=40, rows=3)),
            Shown(2.0, "five, which is longer than before\r\n\r\n"),
        ),
    )
    assert list(transcript(recording)) == ["one", "two", "three", "four", "five, which is longer than before"]
    assert list(transcript(cast())) == []


def test_it_begins_where_it_is_told_to() -> None:
    """With all that was on the screen then; beyond the end there is nothing more to play."""
    for start, count, rest in ((28.5, 28, [(0.5, "29;"), (1.5, "30;")]), (99.0, 30, [])):
        desk = Desk()
        Player(TEN, desk, clock=lambda: desk.now).play(start)  # noqa: B023
        assert desk.log == [(0.0, "".join(f"{second};" for second in range(1, count + 1))), *rest]
