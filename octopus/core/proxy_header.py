"""The PROXY protocol's header, versions 1 and 2 (haproxy.org, proxy-protocol.txt): who really connects, told by a load balancer."""

from __future__ import annotations

import ipaddress
import re
import struct

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
"""First 12 bytes of version 2; no version 1 header is shorter than that."""
MAX_V1 = 107
"""Bytes of the longest version 1 line, its CRLF included."""
V2_FIXED = 16
MAX_V2_PAYLOAD = 2048
"""Bytes after the fixed part: addresses, and extensions nobody here reads."""

_V1 = re.compile(r"PROXY TCP([46]) ([0-9a-fA-F.:]{2,39}) ([0-9a-fA-F.:]{2,39}) (\d{1,5}) (\d{1,5})\r\n")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN[ -~]*\r\n")
_ADDRESSES = {0x11: (4, "!4s4sHH"), 0x21: (6, "!16s16sHH")}
_LOCAL, _PROXY = 0x20, 0x21


def parse_v1(line: bytes) -> str | None:
    """Return the client as ``ip:port``, None where the balancer speaks for itself. Raise ValueError."""
    if _V1_UNKNOWN.fullmatch(line):
        return None
    match = _V1.fullmatch(line.decode("ascii", "replace"))
    if match is None:
        raise ValueError("not a PROXY header")
    return _client(ipaddress.ip_address(match[2]), int(match[1]), int(match[4]))


def payload_length(fixed: bytes) -> int:
    """Return how many bytes follow the 16 fixed ones of version 2. Raise ValueError."""
    (length,) = struct.unpack_from("!H", fixed, 14)
    if not fixed.startswith(SIGNATURE) or fixed[12] not in (_LOCAL, _PROXY) or length > MAX_V2_PAYLOAD:
        raise ValueError("not a PROXY header of version 2")
    return int(length)


def parse_v2(fixed: bytes, payload: bytes) -> str | None:
    """Return the client as ``ip:port``, None where the balancer speaks for itself (health checks). Raise ValueError."""
    if fixed[12] == _LOCAL:
        return None
    version, form = _ADDRESSES.get(fixed[13], (0, ""))
    if not version or len(payload) < struct.calcsize(form):
        raise ValueError("a PROXY header for something other than TCP")
    source, _, port, _ = struct.unpack_from(form, payload)
    return _client(ipaddress.ip_address(source), version, port)


def _client(address: ipaddress.IPv4Address | ipaddress.IPv6Address, version: int, port: int) -> str:
    if address.version != version or port > 65535:
        raise ValueError("a PROXY header with a wrong address")
    return f"[{address}]:{port}" if version == 6 else f"{address}:{port}"
