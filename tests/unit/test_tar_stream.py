"""Tar of an engine that says what no tar says: an error at once, never a loop and never a crash."""

from __future__ import annotations

import tarfile

import pytest

from octopus.core.errors import BadUpstream
from octopus.engine.tar_stream import END, TarDecoder, TarEntry, padding


def numbered(block: bytes, number: bytes) -> bytes:
    """Return a header with another size, and the sum of its bytes that goes with it."""
    changed = block[:124] + number + block[136:148] + b" " * 8 + block[156:]
    return changed[:148] + b"%06o\0 " % sum(changed) + changed[156:]


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE])
def test_a_size_below_zero_is_refused(kind: bytes) -> None:
    """Reading on by it would go on for ever."""
    block = numbered(TarEntry(name=b"a", kind=kind).encode(), b"\xff" * 11 + b"\x80")
    with pytest.raises(BadUpstream):
        TarDecoder().feed(block + bytes(1000))


@pytest.mark.parametrize("record", [b"9" * 5000 + b" a=b\n", b"5006 size=" + b"9" * 4995 + b"\n"])
def test_numbers_of_thousands_of_digits_are_none(record: bytes) -> None:
    """A record of such a length is refused, a size of it is the header's."""
    extension = TarEntry(name=b"x", kind=tarfile.REGTYPE, size=len(record)).encode()
    extension = numbered(extension[:156] + tarfile.XHDTYPE + extension[157:], b"%011o\0" % len(record))
    data = extension + record + padding(len(record)) + TarEntry(name=b"a", size=1).encode() + bytes(512) + END
    if record.startswith(b"9"):
        with pytest.raises(BadUpstream):
            TarDecoder().feed(data)
    else:
        [entry, content] = TarDecoder().feed(data)
        assert isinstance(entry, TarEntry)
        assert (entry.size, content) == (1, b"\0")
