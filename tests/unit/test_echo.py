"""Of what is typed only that is kept which the terminal gave back: never a password."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from octopus.core.echo import MAX_LINE, MAX_LINES, OpenInput

CONTROLS = "".join(map(chr, (*range(32), 127)))
"""What nobody types into a password: they end it, or edit it."""


def kept(*steps: str | bytes) -> bytes:
    """Return what is kept of steps: ``<text`` is typed, ``>text`` shown."""
    typed, found = OpenInput(), b""
    for step in steps:
        way, data = step[:1], step[1:]
        raw = data if isinstance(data, bytes) else data.encode()
        found += typed.typed(raw) if way in ("<", b"<") else typed.shown(raw)
    return found + typed.finish()


def test_a_line_that_is_given_back_is_kept() -> None:
    """Key by key, or at once, with what it led to in between."""
    assert kept(">$ ", "<l", ">l", "<s", ">s", "<\r", ">\r\nfile\r\n$ ") == b"ls\r"
    assert kept(">$ ", "<ls\r", ">ls\r\nfile\r\n$ ") == b"ls\r"
    assert kept("<ls", "<\r", ">l", ">s\r\n$ ", "<id\r", ">i", ">d\r\n0\r\n$ ") == b"ls\rid\r"


def test_lines_typed_ahead_are_kept_in_their_order() -> None:
    """What is echoed at once, as a terminal does while a program runs."""
    assert kept("<one\rtwo\r", ">one\r\ntwo\r\n", ">$ ") == b"one\rtwo\r"


def test_keys_that_are_no_text_need_no_echo() -> None:
    """Backspace, tab, arrows, also cut in two; ^C and ^D end a line."""
    assert (
        kept("<lx", ">lx", "<\x7f", ">\b \b", "<s\t", ">s", ">file", "<\x1b[", "<D\x1bOA\x1bf", ">\x1b[D", "<\x03")
        == b"lx\x7fs\t\x1b[D\x1bOA\x1bf\x03"
    )
    assert kept("<\x04") == b"\x04"
    assert kept("<ä".encode()[:2], "<ä".encode()[0:1] + "ä".encode()[1:], ">ä", "<\r") == "ä\r".encode()


@pytest.mark.parametrize("begun", ["\x1b[", "\x1bO", "\x1b[1;", "\x1b[1 2", "\x1b[" + "0" * (MAX_LINE + 10)])
def test_a_sequence_that_comes_to_nothing_hides_its_own_line_alone(begun: str) -> None:
    """Nobody types out of the record by beginning one: the line is told of as left out, those after it are kept."""
    typed = OpenInput()
    found = b"".join(typed.typed(part.encode()) for part in (begun, "\r"))
    found += typed.shown(b"\r\n$ ") + typed.typed(b"id\r") + typed.shown(b"id\r\n0\r\n$ ")
    assert (found, typed.left_out) == (b"id\r", 1)


def test_colours_around_an_echo_do_not_matter() -> None:
    """As shells draw what is typed."""
    assert kept("<ls\r", ">\x1b[32ml\x1b[0m", ">\x1b[1ms\x1b[0m\r\n") == b"ls\r"


def test_a_password_is_left_out() -> None:
    """Its whole line, and the lines around it stay."""
    assert kept("<su\r", ">su\r\nPassword: ", "<s3cret\r", ">\r\n# ", "<id\r", ">id\r\n") == b"su\rid\r"
    assert kept(">Password: ", "<s3cret\r") == b""
    assert kept(">Password: ", "<s", "<3", ">\x1b[2K* still working", "<cret\r", ">\r\n# ") == b""


def test_one_character_that_does_not_come_back_hides_its_line() -> None:
    """Although the others do."""
    assert kept("<ab", ">ax", "<c", ">c", "<\r", ">\r\n") == b""


def test_what_is_left_out_is_counted() -> None:
    """A line each, however long it is, and however many they are."""
    typed = OpenInput()
    typed.typed(b"secret\r")
    typed.shown(b"\r\nno\r\n")
    assert typed.left_out == 1
    long = b"x" * (MAX_LINE + 1)
    assert typed.typed(long) + typed.shown(long) + typed.typed(b"\r") == b""
    assert typed.left_out == 2
    assert typed.typed(b"a\r" * (MAX_LINES + 1)) == b""
    assert typed.left_out > 2
    assert typed.finish() == b""
    assert typed.left_out == 2 + MAX_LINES + 1


@pytest.mark.parametrize("unfinished", ["abc", "\x1b[", "ab\x1b"])
def test_an_unfinished_line_is_kept_as_far_as_it_was_given_back(unfinished: str) -> None:
    """Or not at all."""
    assert kept(f"<{unfinished}", f">{unfinished}") in (b"abc", b"ab", b"")
    assert kept(f"<{unfinished}") == b""


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=CONTROLS), min_size=3, max_size=12), st.integers())
@example("\xad\ud7fc\ue000", 0)
@example("\x80\x81\x82", 0)
def test_no_password_is_ever_kept(password: str, seed: int) -> None:
    """However it is cut, and whatever is shown meanwhile that is not itself."""
    chance = random.Random(seed)
    typed, found = OpenInput(), b""
    rest = f"{password}\r".encode()
    while rest:
        size = chance.randint(1, len(rest))
        found += typed.typed(rest[:size])
        rest = rest[size:]
        if chance.random() < 0.5:
            found += typed.shown(chance.choice([b"\r\n", b"\x07", b"\x1b[K", b"working\r\n"]))
    found += typed.shown(b"\r\n\x01 welcome\r\n") + typed.finish()
    assert password.encode() not in found or password in ("working", "welcome")
