"""The masters' nodes in ZooKeeper: which is the leader's, and the address in it.

``info_NNNNNNNNNN`` holds a serialized MasterInfo protobuf (to Mesos 0.23), ``json.info_NNNNNNNNNN`` the same as JSON (from 0.24). The
lowest number leads; during an upgrade both forms stand side by side.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

import msgspec

from octopus.core.errors import BadUpstream
from octopus.core.wire import address, read_json

_NODE = re.compile(r"(?:json\.)?info_([0-9]{1,20})")
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_SOURCE = "ZooKeeper master node"


class _Address(msgspec.Struct):
    hostname: str = ""
    ip: str = ""
    port: int = 0


class _Master(msgspec.Struct):
    pid: str = ""
    hostname: str = ""
    ip: int = 0
    port: int = 5050
    address: _Address | None = None


def leading_node(children: Iterable[str]) -> str:
    """Return the node of the leader, "" when there is none; other children (``log_replicas``) do not count."""
    numbered = [(int(match[1]), name) for name in children if (match := _NODE.fullmatch(name))]
    return min(numbered, default=(0, ""))[1]


def master_address(node: str, data: bytes) -> tuple[str, int]:
    """Return ip (or host name) and port of the master that a node describes. Raise BadUpstream."""
    host, port = _address(read_json(data, _Master, _SOURCE) if node.startswith("json.") else _from_protobuf(data))
    if not _HOST.fullmatch(host) or not 0 < port < 65536:
        raise BadUpstream(_SOURCE, "no address in it", node)
    return host, port


def _address(master: _Master) -> tuple[str, int]:
    if master.address and master.address.port and (master.address.ip or master.address.hostname):
        return master.address.ip or master.address.hostname, master.address.port
    _, ip, port = address(master.pid)
    if ip:
        return ip, port
    if master.ip:
        # The number is in network order as a little-endian machine reads it.
        return str(ipaddress.IPv4Address((master.ip & 0xFFFFFFFF).to_bytes(4, "little"))), master.port
    return "", 0


def _from_protobuf(data: bytes) -> _Master:
    """Read MasterInfo: ip = 2 and port = 3 as varints, pid = 4 and hostname = 5 as strings."""
    master = _Master()
    for field, value in _fields(data):
        match field, value:
            case 2, int():
                master.ip = value
            case 3, int():
                master.port = value
            case 4, bytes():
                master.pid = value.decode("utf-8", "replace")
            case 5, bytes():
                master.hostname = value.decode("utf-8", "replace")
    return master


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the varint and length-delimited fields of a protobuf message; it has no other kinds."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, at = _varint(data, at)
        if key & 7 == 0:
            yield key >> 3, number
        elif key & 7 == 2 and at + number <= len(data):
            yield key >> 3, data[at : at + number]
            at += number
        else:
            raise BadUpstream(_SOURCE, "not a MasterInfo", data[:40])


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise BadUpstream(_SOURCE, "not a MasterInfo", data[:40])
