"""Reading JSON from peers: each entry of a list is read by itself, so that one bad entry is skipped and counted, not all lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from octopus.core.errors import BadUpstream
from octopus.core.inventory import MAX_PORTS

T = TypeVar("T")


class Entries:
    """Reads entries of one peer's answer; ``skipped`` counts those it could not read."""

    def __init__(self) -> None:
        self.skipped = 0

    def read(self, raws: Iterable[msgspec.Raw], kind: type[T]) -> list[T]:
        """Return the entries that are what they should be."""
        decoder = msgspec.json.Decoder(kind)
        found = []
        for raw in raws:
            try:
                found.append(decoder.decode(raw))
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                self.skipped += 1
        return found


def read_json(body: bytes, kind: type[T], source: str) -> T:
    """Return ``body`` as ``kind``. Raise BadUpstream with a short excerpt when it is anything else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadUpstream(source, f"not the JSON expected ({error})", body[:100]) from error


class PortRange(msgspec.Struct, gc=False):
    """A range of ports, both ends included."""

    begin: int
    end: int


def ports(ranges: Iterable[PortRange]) -> tuple[int, ...]:
    """Return the ports in the ranges, at most MAX_PORTS of them; what is no port is left out."""
    found: list[int] = []
    for item in ranges:
        low, high = max(item.begin, 1), min(item.end, 65535)
        found.extend(range(low, min(high + 1, low + MAX_PORTS - len(found))))
    return tuple(found)


def port_ranges(text: str) -> list[PortRange]:
    """Return the ranges of Mesos' text form, ``[31000-31005, 31010-31010]``; what is not in that form is left out."""
    found = []
    for part in text.strip("[] ").split(","):
        begin, _, end = part.strip().partition("-")
        if begin.isdecimal() and end.isdecimal() and len(begin) < 6 and len(end) < 6:
            found.append(PortRange(int(begin), int(end)))
    return found


class IdValue(msgspec.Struct, gc=False):
    """A protobuf id message: ``{"value": …}``."""

    value: str = ""


class NestedId(msgspec.Struct):
    """A container id with its parents."""

    value: str = ""
    parent: NestedId | None = None


class ContainerStatus(msgspec.Struct):
    """The part of a container status that names the container (Mesos 1.2)."""

    container_id: NestedId | None = None


class Status(msgspec.Struct):
    """A task status, in v0 and v1 alike."""

    state: str = ""
    timestamp: float = 0.0
    container_status: ContainerStatus | None = None


class Label(msgspec.Struct, gc=False):
    """One label; a label without a value is "" to us."""

    key: str
    value: str = ""


class ContainerType(msgspec.Struct, gc=False):
    """Which containerizer runs a task: DOCKER or MESOS."""

    type: str = ""


MAX_PARENTS = 32


def container_ids(status: Status) -> tuple[str, tuple[str, ...]]:
    """Return the container id a status names and its parents, nearest first; ("", ()) when it names none."""
    nested = status.container_status.container_id if status.container_status else None
    if nested is None or not nested.value:
        return "", ()
    parents: list[str] = []
    above = nested.parent
    while above is not None and len(parents) < MAX_PARENTS:
        parents.append(above.value)
        above = above.parent
    return nested.value, tuple(parents)


def place(statuses: Iterable[Status]) -> tuple[str, tuple[str, ...], float]:
    """Return container id, parents and start time of a task from its statuses (oldest first).

    The container is that of the last TASK_RUNNING status that names one, else of the last that does: the master's own statuses
    (UNREACHABLE, LOST) name none. The start is the first TASK_RUNNING.
    """
    named, running, started = ("", ()), ("", ()), 0.0
    found: tuple[str, tuple[str, ...]]
    for status in statuses:
        found = container_ids(status)
        if found[0]:
            named = found  # type: ignore[assignment]
        if status.state == "TASK_RUNNING":
            started = started or status.timestamp
            if found[0]:
                running = found  # type: ignore[assignment]
    container, parents = running if running[0] else named
    return container, parents, started


def address(pid: str) -> tuple[str, str, int]:
    """Return libprocess prefix, ip and port of a pid: ``slave(1)@10.0.0.7:5051``; ("", "", 0) when it is none."""
    prefix, at, rest = pid.rpartition("@")
    ip, colon, port = rest.rpartition(":")
    if not (at and colon and port.isdecimal() and len(port) < 6 and int(port) < 65536):
        return "", "", 0
    return prefix, ip.strip("[]"), int(port)
