"""What a channel holds back of its input until its session begins, where asyncssh keeps packet for packet."""

from __future__ import annotations

from typing import cast

from asyncssh.channel import SSHChannel


class HoldingChannel(SSHChannel[bytes]):
    """A channel that puts together what it holds back.

    asyncssh takes packets off the front of a list: byte by byte a window would fill 200 MB, and then hold up all for minutes.
    """

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
