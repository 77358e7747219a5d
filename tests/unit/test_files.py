"""What is said of files: kinds, changes that make sense, and the digest of what really passed."""

from __future__ import annotations

import hashlib
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.files import AttributeChanges, FileAttributes, PassedBytes

CONTENT = bytes(range(256)) * 8
PIECE = 128


def attributes(mode: int) -> FileAttributes:
    """Return attributes of which only the mode matters."""
    return FileAttributes(mode=mode, size=0, uid=0, gid=0, atime=0, mtime=0)


def pieces() -> list[tuple[int, bytes]]:
    """Return the content as a client's requests cut it."""
    return [(start, CONTENT[start : start + PIECE]) for start in range(0, len(CONTENT), PIECE)]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (stat.S_IFDIR, (True, False, False)),
        (stat.S_IFLNK, (False, True, False)),
        (stat.S_IFREG, (False, False, True)),
        (stat.S_IFIFO, (False, False, False)),
    ],
)
def test_a_mode_says_what_it_is(kind: int, said: tuple[bool, bool, bool]) -> None:
    """Directory, link, ordinary file, or none of them."""
    one = attributes(kind | 0o644)
    assert (one.directory, one.symlink, one.regular) == said


@pytest.mark.parametrize(
    "wrong",
    [{"size": -1}, {"mode": 0o10000}, {"uid": 1}, {"gid": 1}, {"atime": 1}, {"mtime": 1}, {"uid": -1, "gid": 0}],
)
def test_changes_no_file_can_take_are_refused(wrong: dict[str, int]) -> None:
    """Negative numbers, type bits, half of a pair."""
    with pytest.raises(ValueError, match=r"attribute|together"):
        AttributeChanges(**wrong)


def test_changes_come_in_pairs() -> None:
    """Owner with group, one time with the other; nothing at all is a change too."""
    assert AttributeChanges(uid=1, gid=2, atime=3, mtime=4, mode=0o7777, size=0).gid == 2
    assert AttributeChanges() == AttributeChanges()


@given(order=st.permutations(pieces()))
def test_pieces_in_any_order_give_the_digest_of_the_file(order: list[tuple[int, bytes]]) -> None:
    """As long as what came early fits the window, the digest is the file's, however requests overtook one another."""
    passed = PassedBytes(window=len(CONTENT))
    for offset, data in order:
        passed.add(offset, data)
    result = passed.result(complete=True)
    assert (result.size, result.ordered, result.complete) == (len(CONTENT), True, True)
    assert result.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_nothing_passes_with_no_bytes() -> None:
    """An empty piece counts for nothing, wherever it is said to be."""
    passed = PassedBytes()
    passed.add(77, b"")
    assert passed.result(complete=True) == PassedBytes().result(complete=True)


def test_a_gap_wider_than_the_window_ends_the_order() -> None:
    """From there on bytes are hashed as they come, and the figures say so."""
    passed = PassedBytes(window=PIECE)
    first, second, third, fourth = pieces()[:4]
    for offset, data in (first, third, fourth, second):
        passed.add(offset, data)
    result = passed.result(complete=False)
    assert (result.size, result.ordered, result.complete) == (4 * PIECE, False, False)
    assert result.sha256 == hashlib.sha256(first[1] + third[1] + fourth[1] + second[1]).hexdigest()


@pytest.mark.parametrize("again", [0, 2 * PIECE])
def test_a_piece_that_comes_again_ends_the_order(again: int) -> None:
    """Whether its first turn is over or still to come."""
    passed = PassedBytes()
    passed.add(0, CONTENT[:PIECE])
    passed.add(2 * PIECE, CONTENT[2 * PIECE : 3 * PIECE])
    passed.add(again, CONTENT[again : again + PIECE])
    assert not passed.result(complete=False).ordered


def test_what_never_had_its_turn_is_hashed_last() -> None:
    """A transfer that was cut off leaves no byte out of the digest."""
    passed = PassedBytes()
    passed.add(0, b"a")
    passed.add(5, b"f")
    assert passed.result(complete=False).sha256 == hashlib.sha256(b"af").hexdigest()
