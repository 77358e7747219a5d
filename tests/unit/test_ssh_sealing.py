"""Packets sealed and opened here are asyncssh's own: what one makes the other takes, in step."""

from __future__ import annotations

import os

import pytest
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_EOF, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.encryption import Encryption, GCMEncryption, get_encryption
from asyncssh.packet import Byte, String, UInt32
from hypothesis import given
from hypothesis import strategies as st

from octopus.session.ssh_sealing import Sealing, packet_size

KEY, NONCE = bytes(range(32)), b"\xff" * 12
"""The counter starts at its last value: the next packet's wraps around."""


def cipher() -> GCMEncryption:
    """Return asyncssh's encryption, in its first state."""
    encryption = get_encryption(b"aes256-gcm@openssh.com", KEY, NONCE)
    assert isinstance(encryption, GCMEncryption)
    return encryption


def sealing(encryption: Encryption) -> Sealing:
    """Return ours in step with it."""
    found = Sealing.of(encryption, None)
    assert found is not None
    return found


def packed(payload: bytes) -> bytes:
    """Return the body of a packet with its padding (RFC 4253 6)."""
    padding = 4 + -(1 + len(payload) + 4) % 16
    return Byte(padding) + payload + os.urandom(padding)


def sealed(encryption: Encryption, payload: bytes) -> bytes:
    """Return a packet as asyncssh seals it."""
    body = packed(payload)
    packet, tag = encryption.encrypt_packet(0, UInt32(len(body)), body)
    return packet + tag


@given(st.binary(max_size=5000), st.integers(1, 2000), st.integers(0, 0xFFFF_FFFF))
def test_asyncssh_opens_what_is_sealed(data: bytes, most: int, channel: int) -> None:
    """Every packet is genuine to asyncssh, of whole blocks, and together they are the data, in pieces of the size allowed."""
    ours, theirs = sealing(cipher()), cipher()
    packets = ours.seal(channel, memoryview(data), most)
    pieces = []
    for length, rest in zip(packets[::2], packets[1::2], strict=True):
        assert len(rest) == int.from_bytes(length, "big") + 16
        assert (len(rest) - 16) % 16 == 0
        body = theirs.decrypt_packet(0, length + rest[:12], rest[12:-16], 4, rest[-16:])
        assert body is not None
        assert body[0] >= 4
        head = Byte(MSG_CHANNEL_DATA) + UInt32(channel)
        payload = body[1 : -body[0]]
        pieces.append(payload[9:])
        assert payload == head + String(pieces[-1])
        assert 0 < len(pieces[-1]) <= most
    assert b"".join(pieces) == data


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_what_asyncssh_seals_is_opened(pieces: list[bytes]) -> None:
    """Data is taken packet by packet; asked again before the step, the answer is the same."""
    theirs, ours = cipher(), sealing(cipher())
    for piece in pieces:
        packet = memoryview(sealed(theirs, Byte(MSG_CHANNEL_DATA) + UInt32(7) + String(piece)))
        assert packet_size(bytes(packet), 0) == len(packet)
        assert ours.open(packet) == ours.open(packet) == (7, piece)
        ours.step()


def test_other_packets_stay_with_asyncssh() -> None:
    """One that carries neither data nor room is left, and its cipher takes it from there; then data is ours again."""
    theirs, encryption = cipher(), cipher()
    ours = sealing(encryption)
    eof = Byte(MSG_CHANNEL_EOF) + UInt32(7)
    packet = sealed(theirs, eof)
    assert ours.open(memoryview(packet)) is None
    body = encryption.decrypt_packet(0, packet[:16], packet[16:-16], 4, packet[-16:])
    assert body is not None
    assert body[1 : -body[0]] == eof
    assert ours.open(memoryview(sealed(theirs, Byte(MSG_CHANNEL_DATA) + UInt32(7) + String(b"x")))) == (7, b"x")


@pytest.mark.parametrize("size", [0, 100, 0xFFFF_FFFF])
def test_room_for_more_is_read(size: int) -> None:
    """Its channel, and by how much our window opens; not where the packet is longer or shorter than that."""
    adjust = Byte(MSG_CHANNEL_WINDOW_ADJUST) + UInt32(7) + UInt32(size)
    assert sealing(cipher()).open(memoryview(sealed(cipher(), adjust))) == (7, size)
    for wrong in (adjust[:-1], adjust + b"x", adjust[:5]):
        assert sealing(cipher()).open(memoryview(sealed(cipher(), wrong))) is None


@pytest.mark.parametrize("at", [0, 3, 5, 40, -1])
def test_a_packet_that_was_changed_is_not_opened(at: int) -> None:
    """A bit in length, body or tag."""
    packet = bytearray(sealed(cipher(), Byte(MSG_CHANNEL_DATA) + UInt32(7) + String(b"x" * 30)))
    packet[at] ^= 1
    assert sealing(cipher()).open(memoryview(packet)) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        Byte(MSG_CHANNEL_DATA),
        Byte(MSG_CHANNEL_DATA) + UInt32(7) + UInt32(1 << 31),
        Byte(MSG_CHANNEL_DATA) + UInt32(7) + String(b"xx") + b"more",
    ],
)
def test_a_packet_of_the_wrong_shape_is_asyncssh_s_to_refuse(payload: bytes) -> None:
    """Too short, or with a length that is not its own: genuine, and still not taken."""
    assert sealing(cipher()).open(memoryview(sealed(cipher(), payload))) is None


def test_other_ciphers_go_asyncssh_s_way() -> None:
    """ChaCha20 and none; and new keys take the place of the ones before."""
    assert Sealing.of(get_encryption(b"chacha20-poly1305@openssh.com", KEY * 2, b""), None) is None
    assert Sealing.of(None, None) is None
    first = sealing(cipher())
    assert Sealing.of(first.encryption, first) is first
    assert Sealing.of(cipher(), first) is not first
