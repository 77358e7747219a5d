"""The trail read backwards, page by page: every line once, in files as the log leaves them, also while it grows."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus.control import trail_pages
from octopus.control.audit_lines import fields_of
from octopus.control.session_history import PastSession
from octopus.control.session_pages import past_sessions
from octopus.control.trail_pages import page
from octopus.core.chain import CURRENT, Link, rotated_name, seal
from octopus.core.errors import AuditUnavailable
from octopus.core.types import AuditEvent

NOON = 1_700_000_000.0


class Written:
    """A trail that is written line by line, in files of some lines each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.link = Link()
        self.began = 1

    def add(self, event: str, session: str = "", **data: object) -> None:
        """Append a line."""
        key = f"{event}/{self.link.seq}"
        fields = fields_of(
            NOON + self.link.seq, AuditEvent(event=event, key=key, session=session, login="alice", client="1.2.3.4:5", data=data)
        )
        line, self.link = seal(self.link, fields)
        with (self.directory / CURRENT).open("ab") as file:
            file.write(line)

    def rotate(self) -> None:
        """Finish the file."""
        (self.directory / CURRENT).rename(self.directory / rotated_name(NOON, self.began))
        self.began = self.link.seq + 1


def seqs(lines: tuple[bytes, ...]) -> list[int]:
    """Return the numbers of lines."""
    return [msgspec.json.decode(line)["seq"] for line in lines]


def all_pages(directory: Path, limit: int) -> list[int]:
    """Read page after page."""
    found, before = [], 0
    for _ in range(1000):
        one = page(directory, lambda line: True, before=before, limit=limit)
        found += seqs(one.lines)
        before = one.before
        if not before:
            return found
    raise AssertionError("no end")


@given(files=st.lists(st.integers(1, 30), min_size=1, max_size=4), limit=st.integers(1, 40), size=st.integers(0, 3000))
@settings(max_examples=30, deadline=None)
def test_every_line_once_the_latest_first(tmp_path_factory: pytest.TempPathFactory, files: list[int], limit: int, size: int) -> None:
    """However files and blocks cut the trail."""
    directory = tmp_path_factory.mktemp("trail")
    trail = Written(directory)
    for last, lines in zip([False] * (len(files) - 1) + [True], files, strict=True):
        for _ in range(lines):
            trail.add("x", text="é" * (size // 2))
        if not last:
            trail.rotate()
    assert all_pages(directory, limit) == list(range(sum(files), 0, -1))


def test_a_page_far_back_in_a_long_file_is_found(tmp_path: Path) -> None:
    """A page far back is found by halving, and is the right one."""
    trail = Written(tmp_path)
    for _ in range(3000):
        trail.add("x", text="y" * 2000)
    for before in (2, 1500, 3000, 3001):
        found = page(tmp_path, lambda line: True, before=before, limit=3)
        assert seqs(found.lines) == list(range(before - 1, max(0, before - 4), -1))


def test_a_line_that_is_being_written_is_not_there_yet(tmp_path: Path) -> None:
    """And what is no line is passed over."""
    trail = Written(tmp_path)
    trail.add("a")
    with (tmp_path / CURRENT).open("ab") as file:
        file.write(b'{"seq":2,"prev":"')
    assert all_pages(tmp_path, 10) == [1]


def test_a_page_gives_up_where_nothing_fits(tmp_path: Path) -> None:
    """It says where to go on, so that a search through years is many short requests."""
    trail = Written(tmp_path)
    for _ in range(100):
        trail.add("x")
    found = page(tmp_path, lambda line: False, max_bytes=2000)
    assert (found.lines, 80 < found.before < 100) == ((), True)


def test_nothing_is_looked_for_before_the_first(tmp_path: Path) -> None:
    """A session's lines are found without going through the years before it."""
    trail = Written(tmp_path)
    for event in ("a", "b", "a", "a"):
        trail.add(event)
    found = page(tmp_path, lambda line: b'"event":"a"' in line, is_first=lambda line: b'"seq":3,' in line)
    assert (seqs(found.lines), found.before) == ([4, 3], 0)


def test_no_trail_is_an_empty_one(tmp_path: Path) -> None:
    """A directory that is not there is a fault."""
    assert page(tmp_path, lambda line: True).lines == ()
    with pytest.raises(AuditUnavailable):
        page(tmp_path / "gone", lambda line: True)


def everyone(one: PastSession) -> bool:
    """Ask for every session."""
    return True


def test_sessions_by_their_end_with_what_their_beginning_says(tmp_path: Path) -> None:
    """Kind and command come from lines further back, also over files; what never began tells all in one line."""
    trail = Written(tmp_path)
    trail.add("session.requested", "s-1", kind="shell")
    trail.add("session.requested", "s-2", kind="exec")
    trail.add("exec", "s-2", command="ls")
    trail.rotate()
    trail.add("session.denied", "s-3", kind="shell", reason="no")
    trail.add("session.ended", "s-2", seconds=2.5, exit_status=3, recordings=[])
    trail.add("session.failed", "s-1", seconds=1.0, reason="gone", recordings=[{"path": "2023/11/14/s-1.cast", "sha256": "", "size": 1}])
    trail.add("session.requested", "s-4", kind="shell")
    found = past_sessions(tmp_path, everyone).sessions
    assert [(one.session, one.kind, one.command, one.outcome, one.exit_status, one.recordings) for one in found] == [
        ("s-1", "shell", "", "failed", None, ("2023/11/14/s-1.cast",)),
        ("s-2", "exec", "ls", "ended", 3, ()),
        ("s-3", "shell", "", "denied", None, ()),
    ]
    assert found[0].began < found[0].ended


def test_a_hint_leaves_lines_unread_that_cannot_fit(tmp_path: Path) -> None:
    """And none that can, in whatever case it stands there."""
    trail = Written(tmp_path)
    for session in ("s-1", "s-2", "S-1"):
        trail.add("session.denied", session, kind="shell")
    assert [one.session for one in past_sessions(tmp_path, everyone, hint=b"s-1").sessions] == ["S-1", "s-1"]


def test_pages_of_sessions_hold_each_once(tmp_path: Path) -> None:
    """A cursor does not lose one that began before it and ended after."""
    trail = Written(tmp_path)
    for number in range(10):
        trail.add("session.requested", f"s-{number}", kind="shell")
    for number in range(10):
        trail.add("session.ended", f"s-{number}", seconds=1.0, recordings=[])
    names, before = [], 0
    for _ in itertools.count():
        one = past_sessions(tmp_path, everyone, before=before, limit=3)
        names += [(each.session, each.kind) for each in one.sessions]
        before = one.before
        if not before:
            break
    assert names == [(f"s-{number}", "shell") for number in reversed(range(10))]


def test_blocks_are_larger_than_lines() -> None:
    """Else a line could be longer than what is looked at to find one."""
    assert trail_pages.MAX_LINE <= trail_pages.BLOCK
