"""What a rule forbids is not to be had by a detour: another use of a handle, a link that leads elsewhere later, a directory moved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asyncssh.packet import String, UInt32, UInt64

from octopus.core.types import FileRights
from octopus.session.sftp_wire import Answer, Open, Request
from tests.integration.test_sftp_server import NO_ATTRIBUTES, Peer, serving

EXTENDED = 200


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[tuple[Peer, Path]]:
    """A client that may use ``in`` and below, and the files right in ``flat``; beside them is ``out`` with a secret."""
    for name in ("in/deep/deeper", "flat/private", "out"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "out" / "secret").write_text("secret")
    (tmp_path / "flat" / "private" / "secret").write_text("secret")
    paths = (f"{tmp_path}/in/**", f"{tmp_path}/flat/*")
    async with serving(tmp_path, FileRights(download=True, upload=True, paths=paths)) as (peer, _):
        yield peer, tmp_path


async def test_who_may_only_upload_reads_nothing_through_what_is_open_for_writing(tmp_path: Path) -> None:
    """A handle for writing gives no byte, as on any server."""
    (tmp_path / "secret").write_text("secret")
    async with serving(tmp_path, FileRights(upload=True)) as (peer, task):
        handle = await peer.open(b"secret", Open.WRITE)
        answer, packet = await peer.ask(Request.READ, handle, UInt64(0), UInt32(100))
        assert (answer, packet.get_uint32()) == (Answer.STATUS, 3)
        assert await peer.status(Request.CLOSE, handle) == 0
        peer.eof()
        await task
    assert "file.downloaded" not in [event for event, _ in peer.events]


@pytest.mark.parametrize("text", [b"near/../../out/secret", b"../../../out/secret", b"../out/secret", b"near/../../../out/secret"])
async def test_a_link_leads_out_neither_through_another_nor_after_it_is_moved(narrow: tuple[Peer, Path], text: bytes) -> None:
    """Whatever links the client makes and moves, none of them leads a program in the container out of the rule's paths."""
    peer, home = narrow
    near = home / "in" / "deep" / "near"
    await peer.ask(Request.SYMLINK, String(bytes(home / "in" / "deep")), String(bytes(near)))
    for place in (near.with_name("link"), near.with_name("deeper") / "link"):
        await peer.ask(Request.SYMLINK, String(text), String(bytes(place)))
        await peer.ask(Request.RENAME, String(bytes(place)), String(bytes(home / "in" / "link")))
    await peer.ask(Request.RENAME, String(bytes(near.with_name("deeper"))), String(bytes(home / "in" / "moved")))
    links = [path for path in (home / "in").rglob("*") if path.is_symlink()]
    assert [link for link in links if not link.resolve().is_relative_to(home / "in")] == []


async def test_links_within_the_rule_are_made_and_moved(narrow: tuple[Peer, Path]) -> None:
    """By their names, or from the root."""
    peer, home = narrow
    link = home / "in" / "link"
    for text in (b"deep", bytes(home / "in" / "deep"), b"deep/deeper"):
        assert await peer.status(Request.SYMLINK, String(text), String(bytes(link))) == 0
        assert await peer.status(Request.RENAME, String(bytes(link)), String(bytes(home / "in" / "moved"))) == 0
        assert await peer.status(Request.REMOVE, String(bytes(home / "in" / "moved"))) == 0


async def test_a_link_is_not_moved_to_where_it_leads_out(narrow: tuple[Peer, Path]) -> None:
    """It is looked at anew from its new place."""
    peer, home = narrow
    link = home / "in" / "link"
    assert await peer.status(Request.SYMLINK, String(b"private/secret"), String(bytes(link))) == 0
    assert await peer.status(Request.RENAME, String(bytes(link)), String(bytes(home / "flat" / "link"))) == 3
    assert link.is_symlink()


async def test_a_directory_takes_along_only_what_may_be_taken(narrow: tuple[Peer, Path]) -> None:
    """What lies in it changes its path as well: all of that has to be allowed, where it is and where it goes."""
    peer, home = narrow
    for old, new, status in (("flat/private", "in/mine", 3), ("in/deep", "flat/deep", 3), ("in/deep", "in/other", 0)):
        assert await peer.status(Request.RENAME, String(bytes(home / old)), String(bytes(home / new))) == status
    extended = String("posix-rename@openssh.com"), String(bytes(home / "flat" / "private")), String(bytes(home / "in" / "mine"))
    assert await peer.status(EXTENDED, *extended) == 3
    assert (home / "flat" / "private" / "secret").exists()
    handle = await peer.open(bytes(home / "flat" / "file"), Open.WRITE | Open.CREAT)
    await peer.status(Request.CLOSE, handle)
    assert await peer.status(Request.RENAME, String(bytes(home / "flat" / "file")), String(bytes(home / "in" / "file"))) == 0
    assert await peer.status(Request.MKDIR, String(bytes(home / "flat" / "new")), NO_ATTRIBUTES) == 0
