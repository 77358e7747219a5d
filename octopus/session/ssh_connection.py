"""asyncssh's connection with what it leaves open: memory bounded both ways, keys proven before anybody is asked about them.

All that reaches into asyncssh's private parts is here; ``tests/integration/test_ssh_connection.py`` pins each of them.
"""

from __future__ import annotations

import asyncio
import copy
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncssh
from asyncssh.channel import SSHServerChannel, SSHTCPChannel
from asyncssh.constants import DISC_ILLEGAL_USER_NAME, MSG_CHANNEL_WINDOW_ADJUST, MSG_IGNORE, MSG_SERVICE_REQUEST
from asyncssh.packet import SSHPacket, SSHPacketLogger, String, UInt32

from octopus.session.courtesy import BULK, Courtesy
from octopus.session.ssh_algorithms import HOST_KEYS, ciphers_for, macs_for
from octopus.session.ssh_holding import HoldingChannel
from octopus.session.ssh_keys import OfferedKey
from octopus.session.ssh_requests import RequestChannel
from octopus.session.ssh_sealing import Sealing, packet_size

ProveKey = Callable[[str, OfferedKey], Awaitable[bool]]
"""Asks, by user name, whether the owner of a key may come in; its signature is verified."""

FORWARD_WINDOW = 1 << 20
"""Bytes that a client may send to a port that does not read."""


class GatewayConnection(asyncssh.SSHServerConnection):
    """One SSH connection. ``writable`` is set while the client takes what is sent and no key exchange is under way; ``courtesy`` is
    what it owes to the other connections of its worker."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: asyncssh.SSHServerConnectionOptions,
        server: asyncssh.SSHServer,
        courtesy: Courtesy | None = None,
    ) -> None:
        super().__init__(loop, options)
        self._protocol_factory = lambda: server
        self.writable = asyncio.Event()
        self.writable.set()
        self.spend_key: Callable[[str], bool] = lambda kind: True
        self.prove_key: ProveKey = _nobody
        self.courtesy = courtesy or Courtesy()
        self._socket_full = False
        self._heard = loop.time()
        self._sealing: Sealing | None = None
        self._opening: Sealing | None = None
        # An empty user name would be no new one to asyncssh, which then never says that a login begins; this one nobody can send.
        self._username = "\0"
        # asyncssh sets the signature's algorithm on the key itself: shared, two connections would overwrite each other's.
        offered = {name.encode() for name in HOST_KEYS}
        self._server_host_keys = type(self._server_host_keys)(
            (name, copy.copy(key)) for name, key in self._server_host_keys.items() if name in offered
        )
        self._server_host_key_algs = list(self._server_host_keys)

    @property
    def user_name(self) -> str:
        """The user name of the request that is being answered."""
        return self._username

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """Answer a probe (no ``msg``) alike for every acceptable key; else verify the signature first, then ask (RFC 4252 7)."""
        if not self.spend_key("key" if msg else "probe"):
            return False
        offered = OfferedKey.read(key_data)
        if offered is None or not msg:
            return offered is not None
        if not offered.signed(String(self._session_id) + msg, signature):
            return False
        if not await self.prove_key(username, offered):
            return False
        if offered.certificate:
            # From here on asyncssh itself keeps the certificate's permissions (permit-pty).
            self._cert_options = offered.certificate.options
        return True

    async def reload_config(self) -> None:
        """Read nothing anew for a user: there are no configuration files, and options are made from values once."""

    def send_packet(self, pkttype: int, *args: bytes, handler: SSHPacketLogger | None = None) -> None:
        """Send a packet, without the empty one that asyncssh puts before each against an attack on CBC: none is offered."""
        if pkttype != MSG_IGNORE:
            super().send_packet(pkttype, *args, handler=handler)

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Take what came; until the person is known, acknowledge it at once.

        A client that is not in a session yet waits with its next small packet until the last one is acknowledged (RFC 1122
        4.2.3.4), and the kernel waits 40 ms with that where we have nothing to answer, as after NEWKEYS.
        """
        super().data_received(data, datatype)
        if not self._auth_complete and self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
                with suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _reset_keepalive_timer(self) -> None:
        # asyncssh makes a new timer for each packet that comes, which whoever types would feel: the one there is looks at this.
        self._heard = self._loop.time()

    def _keepalive_timer_callback(self) -> None:
        silent = self._loop.time() - self._heard
        if silent < self._keepalive_interval:
            self._keepalive_timer = self._loop.call_later(self._keepalive_interval - silent, self._keepalive_timer_callback)
        else:
            super()._keepalive_timer_callback()

    def send_data(self, channel: int, data: memoryview, most: int) -> bool:
        """Send data, ``most`` bytes a packet, in one go; False, and nothing sent, when it has to go asyncssh's way."""
        due = self._rekey_bytes_sent + len(data) >= self._rekey_bytes or (self._rekey_seconds and time.monotonic() >= self._rekey_time)
        self._sealing = Sealing.of(self._send_encryption, self._sealing)
        if self._sealing is None or due or self._transport is None or not (self._auth_complete and self._kex_complete):
            return False
        packets = self._sealing.seal(channel, data, most)
        self._send_seq = self._send_seq + len(packets) // 2 & 0xFFFF_FFFF
        self._rekey_bytes_sent += len(data)
        self._transport.writelines([b"".join(packets)] if len(data) < BULK else packets)
        return True

    def _recv_pkthdr(self) -> bool:
        """Take all whole packets with data or room that are next; leave any other to asyncssh, and one in parts until it is whole."""
        self._opening = Sealing.of(self._recv_encryption, self._opening)
        if self._opening is not None and self._auth_complete:
            size = self._take_data(self._opening)
            if self._transport is None or not (0 < size <= len(self._inpbuf) or size > self._max_recv_pktlen):
                return False
        return super()._recv_pkthdr()

    def _take_data(self, opening: Sealing) -> int:
        """Take packets with data or room for it; return the size of the one that follows, 0 when it is not known yet."""
        buffer, at, view = self._inpbuf, 0, memoryview(self._inpbuf)
        while 0 < (size := packet_size(buffer, at)) <= len(buffer) - at:
            opened = opening.open(view[at : at + size])
            channel = self._channels.get(opened[0]) if opened else None
            if opened is None or not isinstance(channel, PacedChannel) or not channel.takes(opened[1]):
                break
            opening.step()
            self._recv_seq = self._recv_seq + 1 & 0xFFFF_FFFF
            self._auth_final = True
            at += size
            self._inpbuf = b""
            channel.take(opened[1])
            if self._transport is None:
                return 0
        self._inpbuf = buffer[at:]
        return size

    def _ask_for_service(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        # paramiko asks anew before each attempt to log in, and OpenSSH's server answers each time.
        if self._auth_in_progress:
            self._next_service = b"ssh-userauth"
        self._process_service_request(pkttype, pktid, packet)

    _packet_handlers = {**asyncssh.SSHServerConnection._packet_handlers, MSG_SERVICE_REQUEST: _ask_for_service}  # noqa: RUF012

    def _send_disconnect(self, code: int, reason: str, lang: str) -> None:
        # What is wrong with a user name asyncssh tells in Python's words.
        wrong = "octopus: that user name cannot be read: expected less than 1024 bytes of printable UTF-8"
        super()._send_disconnect(code, wrong if code == DISC_ILLEGAL_USER_NAME else reason, lang)

    def _send_kexinit(self) -> None:
        client = self._client_version.decode("ascii", "replace")
        self._enc_algs = [name.encode() for name in ciphers_for(client)]
        self._mac_algs = [name.encode() for name in macs_for(client)]
        super()._send_kexinit()
        self._weigh_output()

    def _send_deferred_packets(self) -> None:
        super()._send_deferred_packets()
        self._weigh_output()

    def pause_writing(self) -> None:
        """Note that the socket's buffer is full: a client may grant any window (PuTTY grants 2 GiB) and not read."""
        self._socket_full = True
        self._weigh_output()

    def resume_writing(self) -> None:
        """Note that the socket's buffer has room."""
        self._socket_full = False
        self._weigh_output()

    def _weigh_output(self) -> None:
        # What is sent during a key exchange is collected without limit until the client has answered.
        if self._socket_full or (self._auth_complete and not self._kex_complete):
            self.writable.clear()
        else:
            self.writable.set()

    def create_server_channel(
        self, encoding: str | None = "", errors: str = "", window: int = 0, max_pktsize: int = 0
    ) -> SSHServerChannel[Any]:
        """Return a channel that carries bytes as they are."""
        return GatewayChannel(
            self,
            self._loop,
            self._allow_pty,
            line_editor=False,
            line_echo=False,
            line_history=0,
            max_line_length=0,
            encoding=None,
            errors="strict",
            window=window or self._window,
            max_pktsize=max_pktsize or self._max_pktsize,
        )

    def create_forward_channel(self) -> ForwardChannel:
        """Return a channel for a connection to a port."""
        return ForwardChannel(self, self._loop, None, "strict", FORWARD_WINDOW, self._max_pktsize)

    def _cleanup(self, exc: Exception | None) -> None:
        super()._cleanup(exc)
        self.writable.set()


class PacedChannel(HoldingChannel):
    """A channel whose window opens only as fast as its input is used up."""

    _used = 0

    def takes(self, what: bytes | int) -> bool:
        """Whether the client may send that now: data, or room for so much more of ours."""
        if isinstance(what, int):
            return self._recv_state in ("open", "eof_pending", "eof")
        return self._recv_state == "open" and len(what) <= self._recv_window

    def take(self, what: bytes | int) -> None:
        """Take it."""
        if isinstance(what, int):
            self._send_window += what
            self._flush_send_buf()
        else:
            self._accept_data(what)

    def used(self, size: int) -> None:
        """Let the client send as much more as was used up, once it is half a window."""
        self._used += size
        if self._used >= self._init_recv_window // 2:
            self.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(self._used))
            self._recv_window += self._used
            self._used = 0

    def write(self, data: bytes, datatype: int | None = None) -> None:
        """Send data, at once as far as the window goes and nothing waits before it."""
        sent = 0
        if datatype is None and not self._send_buf and self._send_state == "open":
            sent = self._sent(memoryview(data))
        if sent < len(data):
            super().write(data[sent:], datatype)

    def _flush_send_buf(self) -> None:
        if self._send_buf and self._send_buf[0][1] is None:
            buffer = self._send_buf[0][0]
            with memoryview(buffer) as view:
                sent = self._sent(view)
            del buffer[:sent]
            self._send_buf_len -= sent
            if not buffer:
                del self._send_buf[0]
        super()._flush_send_buf()

    def _sent(self, data: memoryview) -> int:
        """Send what the window grants of it in one go; return how much that is, 0 where it has to go asyncssh's way."""
        granted = min(len(data), self._send_window)
        connection = self._conn
        if not granted or self._send_chan is None or not isinstance(connection, GatewayConnection):
            return 0
        if not connection.send_data(self._send_chan, data[:granted], self._send_pktsize):
            return 0
        self._send_window -= granted
        return granted

    def _deliver_data(self, data: bytes, datatype: int | None) -> None:
        # asyncssh would open the whole window again here, for each part of what it still holds back: without limit.
        if self._session is not None:
            self._session.data_received(data, datatype)


class GatewayChannel(PacedChannel, RequestChannel):
    """One session channel."""


class ForwardChannel(PacedChannel, SSHTCPChannel[bytes]):
    """One forwarded connection (direct-tcpip, RFC 4254 7.2)."""


async def _nobody(_user_name: str, _key: OfferedKey) -> bool:
    return False
