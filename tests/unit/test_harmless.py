"""Output that is shown again draws, and does nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.harmless import MAX_SEQUENCE, Harmless

DRAWING = [
    "text \u00e9 \u4e16\n\r\t\b",
    "\x1b[1;31mred\x1b[0m",
    "\x1b[2J\x1b[10;20H\x1b[K",
    "\x1b[?25l\x1b[?1049h\x1b[?1;7h",
    "\x1b(0lqk\x1b(B\x0e\x0f",
    "\x1b7\x1b8\x1bM\x1bc",
    "\x1b[s\x1b[u\x1b[?J",
]
ACTING = [
    "\x1b]0;title\x07",
    "\x1b]52;c;ZXZpbA==\x1b\\",
    '\x1bP$q"p\x1b\\',
    "\x1b_apc\x1b\\",
    "\x1b^pm\x1b\\",
    "\x1b[6n",
    "\x1b[c",
    "\x1b[>c",
    "\x1b[21t",
    "\x1b[?1000h",
    "\x1b[?25;2004h",
    "\x1b[5i",
    "\x1b[1u",
    "\x1b[!p",
    "\x1bZ",
    "\x1b#8",
    "\x07\x00\x05\x7f\x9b\x9d",
]


@pytest.mark.parametrize("text", DRAWING)
def test_what_draws_is_kept(text: str) -> None:
    """Text, colours, the cursor, the other screen, line drawing."""
    assert Harmless().feed(text) == text


@pytest.mark.parametrize("text", ACTING)
def test_what_acts_is_left_out(text: str) -> None:
    """Titles, the clipboard, questions the terminal would answer, the mouse, printing."""
    assert Harmless().feed(f"a{text}b") == "ab"


@pytest.mark.parametrize("text", DRAWING + ACTING)
def test_plain_is_text(text: str) -> None:
    """Nothing of any sequence is left."""
    shown = Harmless(plain=True).feed(text)
    assert all(char.isprintable() or char in "\t\n" for char in shown)
    assert "[" not in shown


@given(st.lists(st.sampled_from(DRAWING + ACTING) | st.text(max_size=5)), st.integers(1, 7))
def test_it_does_not_matter_where_output_is_cut(texts: list[str], size: int) -> None:
    """Within a sequence or not."""
    text = "".join(texts)
    whole, cut = Harmless(), Harmless()
    assert "".join(cut.feed(text[at : at + size]) for at in range(0, len(text), size)) == whole.feed(text)


@given(st.text(alphabet=st.sampled_from("\x1b[]P?;0125hlmntc\\\x07\x9b A")))
def test_nothing_gets_through(text: str) -> None:
    """Whatever is put together, each sequence that is left is one that draws."""
    shown = Harmless().feed(text)
    assert Harmless().feed(shown) == shown


def test_a_sequence_without_end_is_not_kept_for_ever() -> None:
    """It is left out, and what follows is shown."""
    harmless = Harmless()
    assert harmless.feed("\x1b]" + "x" * (MAX_SEQUENCE + 1)) == ""
    assert harmless.feed("shown") == "shown"
