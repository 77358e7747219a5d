"""Lines that were shown before the disk had them: a recording gets what it lacks, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.write_ahead import SLOT, AheadLines, pack, unpack

LINES = b'[1.0,"o","a"]\n[2.0,"o","b"]\n'


@given(st.lists(st.lists(st.integers(1, SLOT - 40), min_size=1, max_size=4), max_size=5))
def test_the_latest_lines_of_each_slot_are_found(slots: list[list[int]]) -> None:
    """However long what stood there before was."""
    file, latest = bytearray(), {}
    for number, lengths in enumerate(slots):
        file += bytes(SLOT)
        for at, length in enumerate(lengths):
            lines = b"x" * (length - 1) + b"\n"
            packed = pack(f"s-{number}", at, lines)
            file[number * SLOT : number * SLOT + len(packed)] = packed
            latest[f"s-{number}"] = AheadLines(at=at, lines=lines)
    assert unpack(bytes(file)) == latest


def test_what_does_not_fit_is_not_kept_there() -> None:
    """A slot's last byte is the last."""
    head = len(b"s-1 0 4000\n")
    assert len(pack("s-1", 0, b"x" * (SLOT - head))) == SLOT
    assert pack("s-1", 0, b"x" * (SLOT - head + 1)) == b""


@pytest.mark.parametrize(
    "slot",
    [
        b"",
        b"\0" * 40,
        b"s-1 0 5\nabc",
        b"s-1 0 3\nabc",
        b"s-1 x 4\nabc\n",
        b"../s 0 4\nabc\n",
        b"s-1 0 99999\n" + b"a\n" * 90,
        b"\xff 0 1\n\n",
    ],
)
def test_what_is_not_whole_is_passed_over(slot: bytes) -> None:
    """And hides none of the others."""
    good = pack("s-2", 7, LINES)
    assert unpack(slot.ljust(SLOT, b"\0") + good) == {"s-2": AheadLines(at=7, lines=LINES)}


@pytest.mark.parametrize("written", [0, 1, len(LINES) - 1])
def test_lines_the_disk_lacks_are_missing(written: int) -> None:
    """All of them, or some, or part of one."""
    assert AheadLines(at=100, lines=LINES).missing(100 + written) == LINES


@pytest.mark.parametrize("size", [0, 99, 100 + len(LINES), 5000])
def test_lines_the_disk_has_are_not(size: int) -> None:
    """Nor those that would leave a hole before them."""
    assert AheadLines(at=100, lines=LINES).missing(size) == b""
