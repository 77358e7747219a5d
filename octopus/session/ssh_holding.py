"""What a client could make us do packet by packet, where asyncssh does: holding input back, and cutting output up."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import cast

from asyncssh import OPEN_RESOURCE_SHORTAGE, ChannelOpenError
from asyncssh.channel import SSHChannel
from asyncssh.session import SSHSession

Opening = SSHSession[bytes] | Awaitable[SSHSession[bytes]]


MIN_PACKET = 256
"""Bytes of data that a client has to take at once (its maximum packet size, RFC 4254 5.1): each packet costs what many bytes do."""


class HoldingChannel(SSHChannel[bytes]):
    """A channel that puts together what it holds back.

    asyncssh takes packets off the front of a list: byte by byte a window would fill 200 MB, and then hold up all for minutes.
    """

    def process_open(self, send_chan: int, send_window: int, send_pktsize: int, session: Opening) -> None:
        """Take a channel that is opened, unless output would go out nearly byte by byte: a quarter of a MiB holds up all for seconds."""
        super().process_open(send_chan, send_window, send_pktsize, _refused(session) if send_pktsize < MIN_PACKET else session)

    def _accept_data(self, data: bytes, datatype: int | None = None) -> None:
        held = self._recv_buf
        begun = len(held)
        super()._accept_data(data, datatype)
        if 0 < begun < len(held) and held[-2][1] == datatype:
            before, last = held[-2][0], held.pop()[0]
            joined = before if isinstance(before, bytearray) else bytearray(before)
            joined += last
            held[-1] = (cast(bytes, joined), datatype)

    def _flush_recv_buf(self, exc: Exception | None = None) -> None:
        self._recv_buf[:] = [(bytes(data), datatype) for data, datatype in self._recv_buf]
        super()._flush_recv_buf(exc)


async def _refused(session: Opening) -> SSHSession[bytes]:
    if isinstance(session, Coroutine):
        session.close()
    elif isinstance(session, SSHSession):
        session.connection_lost(None)
    raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, f"octopus: packets of less than {MIN_PACKET} bytes are not offered")
