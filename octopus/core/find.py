"""From a name as typed to the one running task it means, out of memory.

What it answers depends on the name and on the tasks the person may see, on nothing else: a task that may not be seen is as if it did
not run, in matches, in counts, in what is ambiguous and in what is suggested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from octopus.core.cluster import Cluster
from octopus.core.errors import AmbiguousTarget, NoSuchTarget
from octopus.core.inventory import Task
from octopus.core.joining import id_prefix
from octopus.core.names import normalised
from octopus.core.suggest import nearest
from octopus.core.types import TargetName

MaySee = Callable[[Task], bool]

MAX_CANDIDATES = 100
"""Names an AmbiguousTarget carries, to be listed by whoever tells the person."""

MAX_SUGGESTED = 3
MAX_BODY = 512
"""Characters of a name that are looked at; no task id is longer."""


def find(cluster: Cluster, name: TargetName, may_see: MaySee) -> Task:
    """Return the running task that ``name`` means. Raise NoSuchTarget (with suggestions) or AmbiguousTarget.

    In this order: a whole task id (or container id), an app's id, any spelling of it, the start of a task id; an instance id of
    Marathon 1.8 is the start of its current task's id. ``~any`` takes the one that has run longest, so that it is the same each time.
    """
    found = _named(cluster, name.body, may_see) if len(name.body) <= MAX_BODY else []
    if not found:
        raise _nothing(cluster, name.body, may_see)
    if name.agent:
        found = _on_agent(cluster, name, found)
    if name.instance or name.any:
        return _instance(name, found)
    if len(found) > 1:
        raise _ambiguous(name, found)
    return found[0]


def suggestions(cluster: Cluster, body: str, may_see: MaySee) -> list[str]:
    """Return the names of apps near ``body`` that have a task the person may see, nearest first."""
    near = nearest(normalised(body), cluster.tasks.names()) if body and len(body) <= MAX_BODY else []
    of_id = normalised(id_prefix(body))
    names = [name for name in dict.fromkeys([of_id, *near]) if name]
    shown: list[str] = []
    for name in names:
        if any(may_see(task) for app in cluster.tasks.apps_named(name) for task in cluster.tasks.of_app(app)):
            shown.append(name)
        if len(shown) == MAX_SUGGESTED:
            break
    return shown


def _named(cluster: Cluster, body: str, may_see: MaySee) -> list[Task]:
    """Return the visible tasks of the first reading of ``body`` that has any, oldest first, then by id."""
    tasks = cluster.tasks
    if not body:
        return []
    readings: tuple[Callable[[], Iterable[Task]], ...] = (
        lambda: tasks.running(body),
        lambda: tasks.of_app(body),
        lambda: (task for app in tasks.apps_named(body) for task in tasks.of_app(app)),
        lambda: tasks.with_prefix(body),
    )
    for reading in readings:
        if found := [task for task in reading() if may_see(task)]:
            return sorted(found, key=lambda task: (task.started, task.id))
    return []


def _on_agent(cluster: Cluster, name: TargetName, found: list[Task]) -> list[Task]:
    """Return those of ``found`` on the agent named: its whole host name, or a start that only one host of them has."""
    wanted = name.agent.casefold()
    hosts = {task.id: host(cluster, task).casefold() for task in found}
    exact = [task for task in found if hosts[task.id] == wanted]
    begun = exact or [task for task in found if hosts[task.id].startswith(wanted)]
    if not begun:
        raise NoSuchTarget(notice=f"no running task of '{name.body}' is on '{name.agent}'")
    several = sorted({hosts[task.id] for task in begun})
    if len(several) > 1:
        raise AmbiguousTarget(notice=f"'{name.agent}' is {len(several)} agents", candidates=several[:MAX_CANDIDATES])
    return begun


def _instance(name: TargetName, found: list[Task]) -> Task:
    """Return the Nth of one app's tasks, or the first for ``~any``."""
    if len({task.app for task in found}) > 1:
        raise _ambiguous(name, found)
    if name.any:
        return found[0]
    if name.instance > len(found):
        raise NoSuchTarget(notice=f"'{name.body}' has {len(found)} running task{'s' * (len(found) > 1)}, not {name.instance}")
    return found[name.instance - 1]


def _ambiguous(name: TargetName, found: list[Task]) -> AmbiguousTarget:
    apps = sorted({task.app for task in found})
    several = apps if len(apps) > 1 else [task.id for task in found]
    what = "apps" if len(apps) > 1 else "running tasks"
    return AmbiguousTarget(notice=f"'{name.text}' is {len(several)} {what}", candidates=several[:MAX_CANDIDATES])


def _nothing(cluster: Cluster, body: str, may_see: MaySee) -> NoSuchTarget:
    near = suggestions(cluster, body, may_see)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    return NoSuchTarget(notice=f"no running task matches '{body[:MAX_BODY]}'{hint}")


def host(cluster: Cluster, task: Task) -> str:
    """Return the host name of a task's agent; its id while the agent is not known."""
    agent = cluster.agent(task)
    return agent.hostname if agent and agent.hostname else task.agent
