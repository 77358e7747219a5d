"""AES-GCM (RFC 5647) of one direction, for data in bulk: a few operations a packet, where asyncssh's own way makes some fifty."""

from __future__ import annotations

import os
import struct

from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.encryption import Encryption, GCMEncryption
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_BLOCK = 16
_TAG = 16
_LENGTH = 4
_HEAD = struct.Struct(">BBII")
"""Of a packet with data: length of its padding, type, channel, length of the data; of one that opens a window: by how much
(RFC 4253 6, RFC 4254 5.2)."""
_PADDING = 4
"""The least there may be."""
_NOISE = 1024
"""Bytes of padding that are asked of the system at a time; they go on the wire encrypted."""
_FIXED = 4


class Sealing:
    """Seals or opens packets in step with asyncssh's cipher, which takes all that carry no data: the counter is kept there."""

    def __init__(self, encryption: GCMEncryption) -> None:
        self.encryption = encryption
        self._cipher = encryption._cipher
        self._aead = AESGCM(self._cipher._key)
        self._noise = b""
        self._used = 0

    @classmethod
    def of(cls, encryption: Encryption | None, known: Sealing | None) -> Sealing | None:
        """Return what goes with the encryption in force, ``known`` if it still does, None for another cipher than AES-GCM."""
        if known is not None and known.encryption is encryption:
            return known
        return cls(encryption) if isinstance(encryption, GCMEncryption) else None

    def seal(self, channel: int, data: memoryview, most: int) -> list[bytes]:
        """Return the packets that carry ``data`` on ``channel``, ``most`` bytes each: of each its length, then the rest."""
        packets: list[bytes] = []
        for start in range(0, len(data), most):
            part = data[start : start + most]
            padding = _PADDING + -(_HEAD.size + len(part) + _PADDING) % _BLOCK
            body = b"".join((_HEAD.pack(padding, MSG_CHANNEL_DATA, channel, len(part)), part, self._random(padding)))
            length = len(body).to_bytes(_LENGTH, "big")
            packets += (length, self._aead.encrypt(self._cipher._iv, body, length))
            self.step()
        return packets

    def _random(self, size: int) -> bytes:
        """Return bytes nobody can foresee, of some that were asked for together."""
        if self._used + size > len(self._noise):
            self._noise, self._used = os.urandom(_NOISE), 0
        self._used += size
        return self._noise[self._used - size : self._used]

    def open(self, packet: memoryview) -> tuple[int, bytes | int] | None:
        """Return channel and data of a whole packet, or by how much it opens our window; None for any other and one not genuine.

        It is to be taken by ``step``, or asked about again: asyncssh's cipher still expects it.
        """
        try:
            body = self._aead.decrypt(self._cipher._iv, packet[_LENGTH:], packet[:_LENGTH])
        except InvalidTag:
            return None
        padding, kind, channel, size = _HEAD.unpack_from(body) if len(body) >= _HEAD.size else (0, 0, 0, 0)
        if kind == MSG_CHANNEL_WINDOW_ADJUST and padding >= _PADDING and _HEAD.size + padding == len(body):
            return channel, size
        if kind != MSG_CHANNEL_DATA or padding < _PADDING or _HEAD.size + size + padding != len(body):
            return None
        return channel, body[_HEAD.size : -padding]

    def step(self) -> None:
        """Go on to the next packet."""
        count = int.from_bytes(self._cipher._iv[_FIXED:], "big") + 1
        self._cipher._iv = self._cipher._iv[:_FIXED] + (count & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "big")


def packet_size(buffer: bytes, start: int) -> int:
    """Return the bytes of the sealed packet that starts there, 0 when its length has not come yet."""
    head = buffer[start : start + _LENGTH]
    return _LENGTH + int.from_bytes(head, "big") + _TAG if len(head) == _LENGTH else 0
