"""PROXY headers: the client they name, and everything else refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.proxy_header import SIGNATURE, parse_v1, parse_v2, payload_length

V4 = struct.pack("!4s4sHH", bytes([10, 0, 0, 7]), bytes([10, 0, 0, 1]), 4000, 22)
V6 = struct.pack("!16s16sHH", bytes(15) + b"\x01", bytes(16), 4000, 22)


def fixed(command: int, family: int, length: int) -> bytes:
    """Return the first 16 bytes of a header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, length)


@pytest.mark.parametrize(
    ("line", "client"),
    [
        (b"PROXY TCP4 10.0.0.7 10.0.0.1 4000 22\r\n", "10.0.0.7:4000"),
        (b"PROXY TCP6 ::1 ::2 4000 22\r\n", "[::1]:4000"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ::2 1 2\r\n", None),
    ],
)
def test_version_1_names_the_client(line: bytes, client: str | None) -> None:
    """The source address and port, IPv6 in brackets; nobody where the balancer speaks for itself."""
    assert parse_v1(line) == client


@pytest.mark.parametrize(
    "line",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"PROXY TCP4 ::1 ::2 1 2\r\n",
        b"PROXY TCP4 10.0.0.7 10.0.0.1 70000 22\r\n",
        b"PROXY TCP4 10.0.0.7 10.0.0.1 4000 22",
        b"PROXY TCP4 999.0.0.7 10.0.0.1 4000 22\r\n",
        b"PROXY TCP4 10.0.0.7 10.0.0.1 4000 22\r\n\r\n",
    ],
)
def test_version_1_refuses_the_rest(line: bytes) -> None:
    """What is not exactly a header is none."""
    with pytest.raises(ValueError):  # noqa: PT011 (the message is ipaddress' own for some)
        parse_v1(line)


def test_version_2_names_the_client() -> None:
    """Both address families; bytes after the addresses are extensions; a health check names nobody."""
    assert parse_v2(fixed(0x21, 0x11, len(V4)), V4) == "10.0.0.7:4000"
    assert parse_v2(fixed(0x21, 0x21, len(V6) + 3), V6 + b"abc") == "[::1]:4000"
    assert parse_v2(fixed(0x20, 0x00, 0), b"") is None


def test_version_2_says_how_much_follows() -> None:
    """So that no byte of the SSH handshake behind it is taken for the header."""
    assert payload_length(fixed(0x21, 0x11, len(V4))) == len(V4)


@pytest.mark.parametrize("start", [fixed(0x31, 0x11, 12), fixed(0x21, 0x11, 4096), b"x" * 16])
def test_version_2_has_a_known_form(start: bytes) -> None:
    """Another version, an absurd length or another signature is refused before more is read."""
    with pytest.raises(ValueError, match="version 2"):
        payload_length(start)


@pytest.mark.parametrize(("family", "payload"), [(0x31, V4), (0x11, V4[:-1]), (0x12, V4)])
def test_version_2_refuses_other_transports_and_half_addresses(family: int, payload: bytes) -> None:
    """Only TCP over IPv4 and IPv6, whole."""
    with pytest.raises(ValueError, match="TCP"):
        parse_v2(fixed(0x21, family, len(payload)), payload)


@given(st.binary(max_size=120))
def test_garbage_is_refused_or_read(data: bytes) -> None:
    """No bytes raise anything but ValueError."""
    for read in (lambda: parse_v1(data), lambda: payload_length(data.ljust(16, b"\0"))):
        try:
            read()
        except ValueError:
            continue
