"""The leader in ZooKeeper is the lowest number, and its address is read from both forms of node."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.errors import BadUpstream
from octopus.core.master_nodes import leading_node, master_address


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _text(field: int, value: str) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value.encode()


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def test_the_lowest_number_leads_whatever_the_form() -> None:
    """During an upgrade both forms stand side by side; other children do not count."""
    nodes = ["json.info_0000000012", "info_0000000009", "log_replicas", "info_x", "json.info_0000000010"]
    assert leading_node(nodes) == "info_0000000009"
    assert leading_node(["json.info_0000000002", "info_0000000010"]) == "json.info_0000000002"
    assert leading_node(["log_replicas"]) == ""


def test_a_protobuf_node_is_read() -> None:
    """MasterInfo of Mesos 0.22: the pid, else ip (a number in network order) and port."""
    head = _text(1, "20150401-id") + _number(2, 0x0100007F) + _number(3, 5051)
    assert master_address("info_1", head + _text(4, "master@10.0.0.1:5050") + _text(5, "m1")) == ("10.0.0.1", 5050)
    assert master_address("info_1", head) == ("127.0.0.1", 5051)


def test_a_json_node_is_read() -> None:
    """MasterInfo as JSON: address, else pid, else ip."""
    assert master_address("json.info_1", json.dumps({"address": {"ip": "10.0.0.2", "port": 5050}, "pid": "x"}).encode()) == (
        "10.0.0.2",
        5050,
    )
    assert master_address("json.info_1", b'{"address":{"hostname":"m1","port":5050}}') == ("m1", 5050)
    assert master_address("json.info_1", b'{"address":{"port":5050},"pid":"master@10.0.0.3:5050"}') == ("10.0.0.3", 5050)
    assert master_address("json.info_1", b'{"ip":16777343,"port":5050}') == ("127.0.0.1", 5050)


@pytest.mark.parametrize(
    "body", [b'{"address":{"ip":"10.0.0.1","port":99999}}', b'{"address":{"ip":"x/../y","port":1}}', b'{"ip":1,"port":-1}']
)
def test_an_address_that_is_none_is_refused(body: bytes) -> None:
    """A port out of range, or a host with a path in it, never becomes a URL."""
    with pytest.raises(BadUpstream):
        master_address("json.info_1", body)


@pytest.mark.parametrize("data", [b"", b"\x08", b"\xff" * 12, b"\x0a\x7fshort", b"\x0d\x01\x02\x03\x04", _text(5, "m1")])
def test_a_node_without_an_address_is_refused(data: bytes) -> None:
    """Empty, cut or foreign nodes are BadUpstream."""
    with pytest.raises(BadUpstream):
        master_address("info_1", data)


@given(st.binary(max_size=80), st.sampled_from(["info_1", "json.info_1"]))
def test_any_node_is_read_or_refused(data: bytes, node: str) -> None:
    """Nothing in ZooKeeper makes the reader raise anything else."""
    with contextlib.suppress(BadUpstream):
        master_address(node, data)
