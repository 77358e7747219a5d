"""The Mesos agent's session calls (v1 operator API, include/mesos/v1/agent/agent.proto): bodies, records and answers. Pure."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from octopus.core.types import ContainerClue, Output, TermSize
from octopus.engine.wire import decode

HEARTBEAT = 30.0
"""Seconds between the heartbeats of an input stream."""


class _Data(msgspec.Struct, frozen=True):
    type: str
    data: bytes = b""


class _ProcessIO(msgspec.Struct, frozen=True):
    type: str
    data: _Data | None = None


class _Exit(msgspec.Struct, frozen=True):
    exit_status: int | None = None


class _Waited(msgspec.Struct, frozen=True):
    wait_nested_container: _Exit


class _Id(msgspec.Struct, frozen=True):
    value: str


class _AgentContainer(msgspec.Struct, frozen=True):
    container_id: _Id


class _ContainerList(msgspec.Struct, frozen=True):
    containers: list[_AgentContainer] = []


class _Containers(msgspec.Struct, frozen=True):
    get_containers: _ContainerList


def session_id(clue: ContainerClue, new: str) -> dict[str, Any]:
    """Return the id of a new container inside the task's, which may itself be inside a pod's."""
    parent: dict[str, Any] | None = None
    for value in reversed((clue.container_id, *clue.parents)):
        parent = {"value": value, **({"parent": parent} if parent else {})}
    return {"value": new, "parent": parent}


def launch(container_id: dict[str, Any], argv: list[str], env: dict[str, str], user: str, size: TermSize | None) -> dict[str, Any]:
    """Return LAUNCH_NESTED_CONTAINER_SESSION; without ``size`` there is no terminal."""
    variables = [{"name": name, "value": value, "type": "VALUE"} for name, value in env.items()]
    command: dict[str, Any] = {"shell": False, "value": argv[0], "arguments": argv, "environment": {"variables": variables}}
    if user:
        command["user"] = user
    call: dict[str, Any] = {"container_id": container_id, "command": command}
    if size:
        call["container"] = {"type": "MESOS", "tty_info": _window(size)}
    return {"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": call}


def wait(container_id: dict[str, Any]) -> dict[str, Any]:
    """Return WAIT_NESTED_CONTAINER (1.2 and newer; its successor is of 1.5)."""
    return {"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": container_id}}


def kill(container_id: dict[str, Any], signal: int) -> dict[str, Any]:
    """Return KILL_NESTED_CONTAINER."""
    return {"type": "KILL_NESTED_CONTAINER", "kill_nested_container": {"container_id": container_id, "signal": signal}}


def attach(container_id: dict[str, Any]) -> bytes:
    """Return the first record of an input stream."""
    return _record({"type": "CONTAINER_ID", "container_id": container_id})


def stdin(data: bytes) -> bytes:
    """Return a record of input; empty data closes the command's input."""
    return _process_io({"type": "DATA", "data": {"type": "STDIN", "data": base64.b64encode(data).decode()}})


def resize(size: TermSize) -> bytes:
    """Return a record that sets the terminal's size."""
    return _process_io({"type": "CONTROL", "control": {"type": "TTY_INFO", "tty_info": _window(size)}})


def heartbeat() -> bytes:
    """Return a record that keeps the input stream alive."""
    beat = {"interval": {"nanoseconds": int(HEARTBEAT * 1e9)}}
    return _process_io({"type": "CONTROL", "control": {"type": "HEARTBEAT", "heartbeat": beat}})


def read_output(record: bytes) -> Output | None:
    """Return the output in a record, None for a heartbeat. Raise BadUpstream."""
    io = decode(record, _ProcessIO)
    if io.type != "DATA" or io.data is None or not io.data.data:
        return None
    return Output(data=io.data.data, stderr=io.data.type == "STDERR")


def read_exit(body: bytes) -> int | None:
    """Return a finished session's status as a shell tells it, None when the agent does not know. Raise BadUpstream."""
    word = decode(body, _Waited).wait_nested_container.exit_status
    if word is None:
        return None
    signal = word & 0x7F
    return 128 + signal if signal else (word >> 8) & 0xFF


def read_containers(body: bytes) -> frozenset[str]:
    """Return the ids of the agent's containers. Raise BadUpstream."""
    return frozenset(one.container_id.value for one in decode(body, _Containers).get_containers.containers)


def _window(size: TermSize) -> dict[str, Any]:
    return {"window_size": {"rows": size.rows, "columns": size.cols}}


def _process_io(content: dict[str, Any]) -> bytes:
    return _record({"type": "PROCESS_IO", "process_io": content})


def _record(content: dict[str, Any]) -> bytes:
    body = msgspec.json.encode({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": content})
    return b"%d\n%b" % (len(body), body)
