"""``octopus tasks``: reads the cluster once and lists what can be entered."""

from __future__ import annotations

from contextlib import AsyncExitStack

from octopus import building
from octopus.config import Config
from octopus.control.plane import Candidate
from octopus.core.cluster import Cluster
from octopus.core.errors import InvalidTarget
from octopus.core.find import host
from octopus.core.globs import Glob
from octopus.core.names import normalised


async def tasks(config: Config, pattern: str = "") -> list[Candidate]:
    """Return the running tasks whose app is certain and that fit ``pattern``, by app, then start time.

    ``pattern`` is a glob over app ids where it holds ``*`` or ``?``, else a part of an app, in any spelling, or of a task id.
    Raise InvalidTarget for what is no glob, BadUpstream, OrchestratorUnavailable.
    """
    glob = _glob(pattern) if set(pattern) & set("*?") else None
    async with AsyncExitStack() as stack:
        sources = building.sources(config, stack)
        for feed in sources.feeds:
            await feed.refresh()
        return _listed(sources.cluster, pattern, glob)


def _listed(cluster: Cluster, pattern: str, glob: Glob | None) -> list[Candidate]:
    found = []
    for app in cluster.tasks.apps():
        fits = glob.matches(app) if glob else pattern in app or normalised(pattern) in normalised(app)
        for task in cluster.tasks.of_app(app):
            if task.confirmed and (fits or (glob is None and pattern in task.id)):
                found.append(Candidate(app=app, task=task.id, agent=host(cluster, task), started=task.started))
    return found


def _glob(pattern: str) -> Glob:
    try:
        return Glob(pattern)
    except ValueError as error:
        raise InvalidTarget(f"{pattern!r}: {error}", notice=f"{pattern}: {error}") from error
