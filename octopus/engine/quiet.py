"""Whether a container holds nothing that a session could have left: asked of ps on its host, which costs the engine no exec."""

from __future__ import annotations

from octopus.core.errors import ContainerUnavailable
from octopus.engine.api import EngineApi
from octopus.engine.limits import faults
from octopus.engine.wire import Top, decode

COLUMNS = ("pid", "stat", "etimes")
SLACK = 2.0
"""Seconds by which ages are taken for younger: ps counts whole ones."""


async def quiet(api: EngineApi, container: str, age: float) -> bool:
    """Return True when every living process is older than ``age`` seconds; False also when that cannot be told."""
    try:
        answer = await api.call("GET", f"/containers/{container}/top", params={"ps_args": f"-eo {','.join(COLUMNS)}"}, step="top")
        if answer.status != 200:
            return False
        with faults(api.agent, "top"):
            return all_older(decode(answer.body, Top), age)
    except ContainerUnavailable:
        return False


def all_older(top: Top, age: float) -> bool:
    """Return True when ps shows at least one process and all but zombies are older than ``age`` seconds. Pure."""
    if len(top.titles) != len(COLUMNS) or not top.processes:
        return False
    return all(len(row) == len(COLUMNS) and (row[1].startswith("Z") or _older(row[2], age)) for row in top.processes)


def _older(elapsed: str, age: float) -> bool:
    return len(elapsed) < 16 and elapsed.isascii() and elapsed.isdecimal() and int(elapsed) > age * 1.01 + SLACK
