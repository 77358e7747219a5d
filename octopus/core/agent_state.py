"""An agent's own state, for masters that do not name containers (before Mesos 1.2)."""

from __future__ import annotations

import msgspec

from octopus.core.wire import Entries, read_json


class _Executor(msgspec.Struct):
    id: str
    container: str = ""
    directory: str = ""


class _Framework(msgspec.Struct):
    id: str
    executors: list[msgspec.Raw] = []


class _AgentState(msgspec.Struct):
    frameworks: list[msgspec.Raw]


def container_of(body: bytes, framework: str, executor: str, source: str = "agent /state") -> str:
    """Return the container id of an executor's current run, "" when the agent has none. Raise BadUpstream.

    ``container`` says it, else the sandbox ``directory``, which ends in ``/runs/<container id>``.
    """
    entries = Entries()
    for item in entries.read(read_json(body, _AgentState, source).frameworks, _Framework):
        if item.id != framework:
            continue
        for run in entries.read(item.executors, _Executor):
            if run.id == executor:
                return run.container or _run_of(run.directory)
    return ""


def _run_of(directory: str) -> str:
    _, runs, container = directory.rstrip("/").rpartition("/runs/")
    return container if runs else ""
