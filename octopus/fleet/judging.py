"""The judgement of every UNIQUE app at one moment: what is needed is taken from the Cluster at once, so that a thread may do the sums."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

import msgspec

from octopus.core.cluster import Cluster
from octopus.core.globs import Glob
from octopus.core.inventory import Agent, MarathonSnapshot, MarathonTask, Task
from octopus.core.placement import View
from octopus.core.placement_app import App
from octopus.core.placement_offers import offers
from octopus.core.unique import SETTLED_AFTER, Coverage, Moment, coverage, is_followed, tasks_by_app

SLICE = 5000
"""Tasks taken between two yields: about 2 ms."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster as it was when it was looked at; ``complete`` is False where agents or a feed are waited for."""

    agents: dict[str, Agent]
    tasks: list[Task]
    marathon: MarathonSnapshot
    region: str = ""
    complete: bool = True


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """All UNIQUE apps at ``time`` (seconds since 1970), by id: how each covers the hosts, and as Marathon described it."""

    time: float = 0.0
    coverages: dict[str, Coverage] = {}
    apps: dict[str, App] = {}
    complete: bool = False


async def watched(cluster: Cluster, *, complete: bool = True) -> Seen:
    """Return what judging needs of a cluster, taken in slices, so that nobody waits for 100,000 tasks. ``complete``: its feeds work.

    Where a snapshot is applied meanwhile agents and tasks are of two moments: what runs on an agent may be missing, so it is not complete.
    """
    tasks: list[Task] = []
    begun, whole = cluster.begun, cluster.whole
    source = iter(cluster.tasks)
    while part := list(islice(source, SLICE)):
        tasks += part
        await asyncio.sleep(0)
    return seen(cluster, complete=complete and whole and cluster.begun == begun, tasks=tasks)


def seen(cluster: Cluster, *, complete: bool = True, tasks: list[Task] | None = None) -> Seen:
    """Return the same at once; ``tasks`` where they were taken already."""
    return Seen(
        agents=dict(cluster.agents),
        tasks=list(cluster.tasks) if tasks is None else tasks,
        marathon=cluster.marathon,
        region=cluster.region,
        complete=complete and cluster.ready and not cluster.awaited,
    )


def follows(globs: Sequence[str]) -> Callable[[App], bool]:
    """Return what tells whether an app is one to follow: one on each host, not exempt by its label, and within ``globs``."""
    known = [Glob(text) for text in globs]
    return lambda app: is_followed(app) and any(glob.matches(app.id) for glob in known)


def judge(
    at: Seen,
    now: float,
    wanted: Callable[[App], bool],
    *,
    unsettled: Mapping[str, str] | None = None,
    settled_after: float = SETTLED_AFTER,
    most: int = 0,
) -> Judgement:
    """Return the judgement of every app that is ``wanted``, in the order of their ids; see ``core.unique.coverage`` for the rest."""
    apps = {app.id: app for app in sorted(at.marathon.apps.values(), key=lambda app: app.id) if wanted(app)}
    if not apps:
        return Judgement(time=now, complete=at.complete)
    moment = Moment(
        view=View(offers=tuple(offers(at.agents.values(), at.tasks, at.marathon.rules)), rules=at.marathon.rules, region=at.region),
        agents=at.agents,
        tasks=tasks_by_app(_of(apps, at)),
        now=now,
        complete=at.complete,
        unsettled=unsettled or {},
    )
    found = {app.id: coverage(app, moment, settled_after=settled_after, most=most) for app in apps.values()}
    return Judgement(time=now, coverages=found, apps=apps, complete=at.complete)


def _of(apps: Mapping[str, App], at: Seen) -> Iterable[MarathonTask]:
    return (task for task in at.marathon.tasks.values() if task.app in apps)
