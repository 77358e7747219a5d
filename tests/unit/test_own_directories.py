"""What a session may take for not there without a look."""

from __future__ import annotations

import pytest

from octopus.engine.own_directories import OwnDirectories


@pytest.mark.parametrize("path", [b"/own/new", b"/own//new"])
def test_a_new_name_in_a_directory_that_was_made_is_vacant(path: bytes) -> None:
    """Nothing was put there."""
    own = OwnDirectories()
    own.made(b"/own")
    place = own.place(b"new", path)
    assert place is not None
    assert (place.asked, place.path, place.attributes, place.vacant) == (b"new", b"/own/new", None, True)


@pytest.mark.parametrize("path", [b"/other/new", b"/own/a/new", b"/own/a", b"/own/", b"/own/.", b"/own/..", b"/own/../own/new", b"own/new"])
def test_every_other_path_has_to_be_looked_at(path: bytes) -> None:
    """Also another way to write one of them: it may lead elsewhere."""
    own = OwnDirectories()
    own.made(b"/own")
    own.taken(b"/own/a")
    own.taken(b"/elsewhere/a")
    assert own.place(path, path) is None


def test_after_any_change_everything_is_looked_at() -> None:
    """Directories may lead elsewhere then."""
    own = OwnDirectories()
    own.made(b"/own")
    own.forget()
    assert own.place(b"new", b"/own/new") is None


def test_only_so_many_names_are_remembered() -> None:
    """Beyond that memory is worth more than time."""
    own = OwnDirectories(most=3)
    own.made(b"/own")
    for name in (b"/own/a", b"/own/b"):
        own.taken(name)
        assert own.place(b"new", b"/own/new") is not None
    own.taken(b"/own/c")
    assert own.place(b"new", b"/own/new") is None


def test_only_so_many_directories_are_remembered() -> None:
    """They count as names do."""
    own = OwnDirectories(most=3)
    for number in range(10):
        own.made(b"/own/%d" % number)
    assert sum(own.place(b"new", b"/own/%d/new" % number) is not None for number in range(10)) <= 3
