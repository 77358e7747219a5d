"""The picker: keys however they are cut, a list that follows the search, a screen that fits any size."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.control.plane import Candidate
from octopus.core.types import TermSize
from octopus.session.picker import Key, KeyDecoder, Picker

NOW = 1_700_000_000.0


def candidates(count: int = 30) -> list[Candidate]:
    """Return tasks of two apps, the later ones of the second, an hour apart."""
    return [
        Candidate(
            app="/logging/logstash" if number < count // 2 else "/web/shop",
            task=f"app.{number:08x}-8a11-11e5-9c5b-56847afe9799",
            agent=f"agent-{number}",
            started=NOW - 3600 * number,
        )
        for number in range(count)
    ]


def picker(cols: int = 80, rows: int = 24, count: int = 30) -> Picker:
    """Return a picker on a terminal of that size."""
    return Picker(candidates(count), TermSize(cols=cols, rows=rows), now=NOW)


def shown(picker: Picker) -> list[str]:
    """Return the lines a terminal shows."""
    screen = pyte.Screen(picker.size.cols, picker.size.rows)
    pyte.Stream(screen).feed(picker.screen())
    return [line.rstrip() for line in screen.display]


def type_in(picker: Picker, *keys: Key | str) -> None:
    """Press keys; a text is typed letter by letter."""
    for key in keys:
        for one in key if isinstance(key, str) else [key]:
            picker.press(one)


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"ab", ["a", "b"]),
        (b"\x1b[A\x1bOB\x10\x0e", [Key.UP, Key.DOWN, Key.UP, Key.DOWN]),
        (b"\x1b[5~\x1b[6~", [Key.PAGE_UP, Key.PAGE_DOWN]),
        (b"\r\x03\x04\x7f\x15", [Key.ENTER, Key.CANCEL, Key.CANCEL, Key.ERASE, Key.CLEAR]),
        (b"\x1b[1;5Cx", ["x"]),  # a sequence without a meaning is swallowed whole
        (b"\xc3\xa9\x00x", ["x"]),
    ],
)
def test_keys_are_read_however_they_are_cut(data: bytes, keys: list[Key | str]) -> None:
    """The same keys come out whole and byte by byte."""
    assert KeyDecoder().feed(data) == keys
    decoder = KeyDecoder()
    assert [key for byte in data for key in decoder.feed(bytes([byte]))] == keys
    assert not decoder.waiting


def test_lone_escape_is_known_once_nothing_follows() -> None:
    """Esc alone waits for what may follow; then it leaves. The start of a sequence is dropped."""
    decoder = KeyDecoder()
    assert decoder.feed(b"\x1b") == []
    assert decoder.waiting
    assert decoder.flush() == [Key.CANCEL]
    decoder.feed(b"\x1b[1;")
    assert decoder.flush() == []
    assert not decoder.waiting


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(data: bytes) -> None:
    """Whatever is sent, the decoder holds back little and yields keys."""
    decoder = KeyDecoder()
    for key in decoder.feed(data):
        assert isinstance(key, Key) or (len(key) == 1 and key.isprintable())
    assert len(decoder._rest) < 32


def test_enter_takes_what_is_marked() -> None:
    """Arrows move the mark, Enter takes it."""
    choice = picker()
    type_in(choice, Key.DOWN, Key.DOWN, Key.UP, Key.ENTER)
    assert choice.chosen == candidates()[1]
    assert choice.done


def test_search_narrows_by_every_word() -> None:
    """Words are searched in app, task and agent, whatever their case; erasing widens again."""
    choice = picker()
    type_in(choice, "SHOP agent-2")
    assert {one.agent for one in choice.found} == {f"agent-2{digit}" for digit in range(10)}
    type_in(choice, "9")
    assert [one.agent for one in choice.found] == ["agent-29"]
    type_in(choice, Key.ERASE)
    assert len(choice.found) == 10
    type_in(choice, Key.CLEAR)
    assert len(choice.found) == 30


def test_nothing_found_chooses_nothing() -> None:
    """Enter on an empty list does nothing; Cancel always leaves."""
    choice = picker()
    type_in(choice, "nothing like it", Key.ENTER)
    assert not choice.done
    assert "nothing found" in shown(choice)[-1]
    type_in(choice, Key.CANCEL)
    assert choice.cancelled
    assert choice.chosen is None


def test_mark_stays_in_the_list_and_on_the_screen() -> None:
    """Paging past either end stops there, and what is marked is always shown."""
    choice = picker(rows=10)
    for key in [Key.PAGE_DOWN] * 10 + [Key.UP] * 3 + [Key.PAGE_UP] * 10:
        type_in(choice, key)
        marked = [line for line in shown(choice)[1:-1] if line.startswith("> ")]
        assert len(marked) == 1
    assert "1/30" in shown(choice)[-1]


def test_search_moves_the_mark_into_what_is_left() -> None:
    """After narrowing, the mark is on something that is there."""
    choice = picker()
    type_in(choice, *[Key.DOWN] * 25, "logstash", Key.ENTER)
    assert choice.chosen == candidates()[0]


def test_other_candidates_can_be_offered() -> None:
    """A longer list's other part keeps the search; the mark stays inside."""
    choice = picker()
    type_in(choice, *[Key.DOWN] * 25)
    choice.offer(candidates(4))
    type_in(choice, Key.ENTER)
    assert choice.chosen == candidates(4)[3]


def test_small_terminal_shows_app_task_and_help() -> None:
    """40 x 10 shows the search, eight tasks with what tells them apart, and how it works."""
    lines = shown(picker(40, 10))
    assert lines[0] == ">"
    assert lines[1].startswith("> /logging/logstash")
    assert "00000000" in lines[1]
    assert lines[9].startswith("1/30  type to search")


@given(st.integers(1, 300), st.integers(1, 100), st.text(max_size=300), st.text(max_size=300))
def test_no_size_and_no_name_breaks_the_screen(cols: int, rows: int, app: str, query: str) -> None:
    """Every line fits, whatever upstream calls its apps, and nothing in a name is acted on by the terminal."""
    choice = Picker([Candidate(app=app, task=app, agent=app)] * 3, TermSize(cols=cols, rows=rows), now=NOW, title=app)
    for key in query:
        if key.isprintable() and key.isascii():
            choice.press(key)
    drawn = choice.screen()
    assert all(char == "\x1b" or " " <= char <= "~" for char in drawn)
    assert drawn.count("\x1b[K") <= rows
    for line in drawn.split("\x1b[K")[:-1]:
        text = line.partition(";1H")[2].removeprefix("\x1b[7m").removesuffix("\x1b[0m")
        assert len(text) < max(cols, 2)
