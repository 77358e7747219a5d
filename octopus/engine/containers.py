"""Finds the container of a target on its engine and checks that it is the one, running."""

from __future__ import annotations

import re
from typing import NoReturn

from octopus.core.errors import ContainerUnavailable
from octopus.core.types import ContainerClue, Target
from octopus.engine.api import Answer, EngineApi
from octopus.engine.identify import SANDBOX, candidates, mismatch, names
from octopus.engine.limits import faults, unavailable
from octopus.engine.wire import Container, Listed, decode, fault_text

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
PAUSED = "the container is paused"


class ContainerGone(ContainerUnavailable):
    """The container has ended or was removed: nothing of it is left to enter or to clean."""

    default_notice = "the container is gone"


async def find(api: EngineApi, target: Target, sandbox: str = SANDBOX) -> Container:
    """Return the running container of ``target``. Raise ContainerUnavailable when it is gone, paused or another's."""
    container = await _by_name(api, target.clue) or await _by_sandbox(api, target.clue, sandbox)
    if container is None:
        raise ContainerGone(f"{api.agent}: no container of task {target.task}")
    if wrong := mismatch(target.clue, container, sandbox):
        raise ContainerUnavailable(f"{api.agent}: task {target.task}: {wrong}", notice="the container is not the task's")
    _check_enterable(api.agent, container)
    return container


async def inspect(api: EngineApi, name: str) -> Container | None:
    """Return a container by id or name, None when the engine has none."""
    if not _NAME.fullmatch(name):
        return None
    answer = await api.call("GET", f"/containers/{name}/json", step="inspect")
    if answer.status == 404:
        return None
    with faults(api.agent, "inspect"):
        return decode(expect(api.agent, "inspect", answer, 200).body, Container)


def expect(agent: str, step: str, answer: Answer, *statuses: int) -> Answer:
    """Return the answer if its status is one of these, else raise ContainerUnavailable with the engine's reason."""
    if answer.status in statuses:
        return answer
    refuse(agent, step, answer.status, answer.body)


def refuse(agent: str, step: str, status: int, body: bytes) -> NoReturn:
    """Raise ContainerUnavailable for an answer that is an error: 404 gone, 409 paused or stopped, else the engine's fault."""
    text = fault_text(body)
    where = f"{agent}: {step}: {text}"
    if status == 404:
        raise ContainerGone(where)
    if status == 409:
        raise ContainerUnavailable(where, notice=PAUSED) if "paused" in text else ContainerGone(where)
    raise unavailable(agent, step, f"HTTP {status}: {text}")


def _check_enterable(agent: str, container: Container) -> None:
    where, state = f"{agent}: container {container.id}", container.state
    if state.paused:
        raise ContainerUnavailable(f"{where} is paused", notice=PAUSED)
    if state.restarting:
        raise ContainerUnavailable(f"{where} is restarting", notice="the container is restarting")
    if not state.running:
        raise ContainerGone(f"{where} is not running")


async def _by_name(api: EngineApi, clue: ContainerClue) -> Container | None:
    for name in (clue.engine_id,) if clue.engine_id else names(clue):
        if container := await inspect(api, name):
            return container
    return None


async def _by_sandbox(api: EngineApi, clue: ContainerClue, sandbox: str) -> Container | None:
    """Look through all running containers: before Mesos 1.2 the master does not say which one it is."""
    if clue.engine_id:
        return None
    answer = await api.call("GET", "/containers/json", step="list")
    with faults(api.agent, "list"):
        listed = decode(expect(api.agent, "list", answer, 200).body, list[Listed])
    for name in candidates(clue, listed, sandbox):
        if container := await inspect(api, name):
            return container
    return None
