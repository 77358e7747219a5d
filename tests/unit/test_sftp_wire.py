"""SFTP's packets: what is sent is what was there, and what a client sends is taken within bounds."""

from __future__ import annotations

import pytest
from asyncssh.packet import PacketDecodeError, SSHPacket, String, UInt32, UInt64
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.files import AttributeChanges, FileAttributes, FileEntry, WriteMode
from octopus.session import sftp_wire as wire
from octopus.session.sftp_wire import Open

NOW = 1_400_000_000.0
_words = st.integers(0, 0xFFFF_FFFF)


def attributes(**changes: int) -> FileAttributes:
    """Return a file's attributes."""
    return FileAttributes(**{"mode": 0o100644, "size": 5, "uid": 1, "gid": 2, "atime": 3, "mtime": int(NOW) - 60, **changes})


@given(_words, st.integers(0, 2**63), _words, _words, _words, _words)
def test_attributes_are_read_as_they_are_sent(mode: int, size: int, uid: int, gid: int, atime: int, mtime: int) -> None:
    """A client sends attributes as it gets them; of a mode the lower twelve bits can be set."""
    sent = wire.attributes(attributes(mode=mode, size=size, uid=uid, gid=gid, atime=atime, mtime=mtime))
    assert wire.changes(SSHPacket(sent)) == AttributeChanges(mode=mode & 0o7777, size=size, uid=uid, gid=gid, atime=atime, mtime=mtime)


def test_attributes_that_do_not_fit_are_cut() -> None:
    """Times before 1970 and after 2106 are the nearest that can be said."""
    found = wire.changes(SSHPacket(wire.attributes(attributes(mtime=-5, atime=2**33))))
    assert (found.mtime, found.atime) == (0, 0xFFFF_FFFF)


@given(st.binary(max_size=80))
def test_attributes_of_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but a decoding error comes of what is no attributes."""
    try:
        assert isinstance(wire.changes(SSHPacket(data)), AttributeChanges)
    except PacketDecodeError:
        assert data != UInt32(0)


def test_extended_attributes_are_dropped() -> None:
    """They are read past."""
    packet = SSHPacket(UInt32(0x8000_0001) + UInt64(7) + UInt32(1) + String("name") + String("data") + b"rest")
    assert wire.changes(packet) == AttributeChanges(size=7)
    assert packet.get_remaining_payload() == b"rest"


@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        (Open.WRITE, WriteMode(create=False, truncate=False)),
        (Open.WRITE | Open.CREAT | Open.TRUNC, WriteMode()),
        (Open.WRITE | Open.CREAT | Open.EXCL, WriteMode(truncate=False, exclusive=True)),
        (Open.WRITE | Open.EXCL | Open.APPEND, WriteMode(create=False, truncate=False, append=True)),
    ],
)
def test_flags_of_opening(flags: Open, mode: WriteMode) -> None:
    """EXCL counts only with CREAT, as with open(2)."""
    assert wire.write_mode(flags, AttributeChanges()) == mode


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, b"-rw-r--r--    1 1        2               5 May 13 16:52 a\n\xff"),
        ({"mtime": 0, "mode": 0o40755}, b"drwxr-xr-x    1 1        2               5 Jan  1  1970 a\n\xff"),
        ({"mtime": 2**60, "links": 12}, b"-rw-r--r--   12 1        2               5 Jan  1  1970 a\n\xff"),
    ],
)
def test_long_names(changes: dict[str, int], line: bytes) -> None:
    """As ``ls -ln`` in UTC, the year where it is long ago, and names as they are."""
    assert wire.long_name(FileEntry(name=b"a\n\xff", attributes=attributes(**changes)), NOW) == line
