"""Which container is a task's: decided by what the agent wrote, its sandbox mount, never by what the container says.

An app's author chooses environment, labels and extra mounts, but not what lies at the sandbox's mount point.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from octopus.core.types import ContainerClue
from octopus.engine.wire import Container, Listed, Mount

SANDBOX = "/mnt/mesos/sandbox"
_RUN = re.compile(
    r".*/slaves/(?P<agent>[^/]+)/frameworks/(?P<framework>[^/]+)/executors/(?P<executor>[^/]+)/runs/(?P<container>[^/]+)/?",
    re.DOTALL,
)
_LINK = re.compile(r".*/docker/links/(?P<container>[^/]+)/?", re.DOTALL)


@dataclass(frozen=True)
class Run:
    """One run of an executor as a sandbox path names it; of a link only ``container``, the rest "" (executor ids with a colon)."""

    agent: str
    framework: str
    executor: str
    container: str


def names(clue: ContainerClue) -> tuple[str, ...]:
    """Return the names Mesos may have given the container (0.20 to 0.22 and from 1.4; 0.23 to 1.3), likeliest first."""
    if not clue.container_id:
        return ()
    old = (f"mesos-{clue.agent_id}.{clue.container_id}",) if clue.agent_id else ()
    return (f"mesos-{clue.container_id}", *old)


def sandbox(mounts: Iterable[Mount] | None, destination: str = SANDBOX) -> Run | None:
    """Return the run whose sandbox is mounted, None when there is none."""
    for mount in mounts or ():
        if mount.destination == destination and mount.type in ("bind", ""):
            return _run(mount.source)
    return None


def mismatch(clue: ContainerClue, container: Container, destination: str = SANDBOX) -> str:
    """Return why ``container`` is not the one of the clue, "" when it is; for the operator."""
    if clue.engine_id:
        return "" if container.id == clue.engine_id else f"the engine has {container.id}, not {clue.engine_id}"
    if container.name.endswith(".executor"):
        return f"{container.name} holds the executor, not the task"
    run = sandbox(container.mounts, destination)
    if run is None:
        return f"{container.name} has no Mesos sandbox at {destination}"
    return _wrong_run(clue, run)


def candidates(clue: ContainerClue, listed: Iterable[Listed], destination: str = SANDBOX) -> list[str]:
    """Return the ids of the listed containers whose sandbox is the clue's, newest first."""
    fitting = [
        one
        for one in listed
        if not any(name.endswith(".executor") for name in one.names or ())
        and (run := sandbox(one.mounts, destination)) is not None
        and not _wrong_run(clue, run)
    ]
    return [one.id for one in sorted(fitting, key=lambda one: one.created, reverse=True)]


def matched(clues: Sequence[ContainerClue], listed: Iterable[Listed], destination: str = SANDBOX) -> dict[int, str]:
    """Return the id of the container of each clue, by the clue's place, of those listed; clues without one are left out."""
    there = {one.id: one for one in listed}
    by_executor: dict[str, list[Listed]] = {}
    for one in there.values():
        run = sandbox(one.mounts, destination)
        if run is not None:
            by_executor.setdefault(run.executor, []).append(one)
    found = {}
    for at, clue in enumerate(clues):
        if clue.engine_id:
            fitting = [clue.engine_id] if clue.engine_id in there else []
        else:
            # Of a link only the container is known, so it may be anybody's.
            near = [*by_executor.get(clue.executor_id or clue.task_id, ()), *by_executor.get("", ())]
            fitting = candidates(clue, near, destination)
        if fitting:
            found[at] = fitting[0]
    return found


def _run(path: str) -> Run | None:
    if found := _RUN.fullmatch(path):
        return Run(**found.groupdict())
    if found := _LINK.fullmatch(path):
        return Run(agent="", framework="", executor="", container=found["container"])
    return None


def _wrong_run(clue: ContainerClue, run: Run) -> str:
    expected = Run(clue.agent_id, clue.framework_id, clue.executor_id or clue.task_id, clue.container_id)
    if not run.executor:  # a link: the container id is all it says
        same = bool(expected.container) and run.container == expected.container
        return "" if same else f"the sandbox is a link to {run.container}, the task's is {expected.container or 'unknown'}"
    if not (expected.framework and expected.executor):
        return "framework and executor of the task are not known"
    for what in ("framework", "executor", "agent", "container"):
        wanted, got = getattr(expected, what), getattr(run, what)
        if wanted != got and (wanted or what in ("framework", "executor")):
            return f"the sandbox is of {what} {got}, the task's is {wanted}"
    return ""
