"""The running tasks by id, by prefix of an id, by app and by any spelling of an app's name."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from octopus.core.inventory import Task
from octopus.core.names import normalised

BULK = 500
"""Ids that wait before the sorted list is rebuilt once instead of being moved for each."""


class TaskIndex:
    """All tasks by id, and the running ones by what people type.

    An id maps to a tuple: it is unique within a framework only. With 100,000 tasks a change costs well under 0.1 ms.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[Task, ...]] = {}
        self._sorted: list[str] = []
        self._waiting: set[str] | None = None
        self._apps: dict[str, set[str]] = {}
        self._names: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return sum(len(same) for same in self._tasks.values())

    def __iter__(self) -> Iterator[Task]:
        """Yield every task, running or not, as it is by then: the index may change meanwhile."""
        for task_id in list(self._tasks):
            yield from self._tasks.get(task_id, ())

    def get(self, framework: str, task_id: str) -> Task | None:
        """Return one task, running or not."""
        return next((task for task in self._tasks.get(task_id, ()) if task.framework == framework), None)

    def put(self, task: Task) -> None:
        """Add a task or replace what is known of it."""
        old = self.get(task.framework, task.id)
        if old == task:
            return
        if old is not None:
            self.remove(old.framework, old.id)
        same = self._tasks.get(task.id, ())
        self._tasks[task.id] = (*same, task)
        if task.running:
            self._index(task)

    def remove(self, framework: str, task_id: str) -> None:
        """Forget a task, if it is known."""
        task = self.get(framework, task_id)
        if task is None:
            return
        same = tuple(other for other in self._tasks.get(task.id, ()) if other.framework != task.framework)
        if same:
            self._tasks[task.id] = same
        else:
            self._tasks.pop(task.id, None)
        if task.running:
            self._unindex(task, same)

    def begin_bulk(self) -> None:
        """Let the sorted list wait for ``end_bulk``; exact ids and apps are found all the same."""
        self._waiting = set() if self._waiting is None else self._waiting

    def end_bulk(self) -> None:
        """Bring the sorted list up to date: one by one for a few ids, at once for many."""
        waiting, self._waiting = self._waiting or set(), None
        if len(waiting) <= BULK:
            for task_id in waiting:
                self._resort(task_id)
            return
        kept = [task_id for task_id in self._sorted if task_id not in waiting]
        kept.extend(task_id for task_id in waiting if self.running(task_id))
        kept.sort()
        self._sorted = kept

    def running(self, task_id: str) -> list[Task]:
        """Return the running tasks with exactly this id."""
        return [task for task in self._tasks.get(task_id, ()) if task.running]

    def with_prefix(self, prefix: str) -> Iterator[Task]:
        """Yield the running tasks whose ids begin with ``prefix``, in the order of their ids."""
        at = bisect_left(self._sorted, prefix)
        while at < len(self._sorted) and self._sorted[at].startswith(prefix):
            yield from self.running(self._sorted[at])
            at += 1

    def of_app(self, app: str) -> list[Task]:
        """Return the running tasks of exactly this app, oldest first, then by id."""
        tasks = [task for task_id in self._apps.get(app, ()) for task in self.running(task_id) if task.app == app]
        return sorted(tasks, key=lambda task: (task.started, task.id))

    def apps(self) -> list[str]:
        """Return the apps that have a running task, sorted."""
        return sorted(self._apps)

    def names(self) -> list[str]:
        """Return the normal forms of the apps that have a running task."""
        return list(self._names)

    def apps_named(self, name: str) -> list[str]:
        """Return the apps whose normal form is that of ``name``, sorted."""
        return sorted(self._names.get(normalised(name), ()))

    def _index(self, task: Task) -> None:
        self._apps.setdefault(task.app, set()).add(task.id)
        self._names.setdefault(normalised(task.app), set()).add(task.app)
        self._resort(task.id)

    def _unindex(self, task: Task, same: tuple[Task, ...]) -> None:
        if not any(other.running and other.app == task.app for other in same):
            self._leave_app(task)
        self._resort(task.id)

    def _leave_app(self, task: Task) -> None:
        ids = self._apps[task.app]
        ids.discard(task.id)
        if not ids:
            del self._apps[task.app]
            apps = self._names[normalised(task.app)]
            apps.discard(task.app)
            if not apps:
                del self._names[normalised(task.app)]

    def _resort(self, task_id: str) -> None:
        if self._waiting is not None:
            self._waiting.add(task_id)
            return
        at = bisect_left(self._sorted, task_id)
        listed = at < len(self._sorted) and self._sorted[at] == task_id
        wanted = bool(self.running(task_id))
        if wanted and not listed:
            insort(self._sorted, task_id)
        elif listed and not wanted:
            del self._sorted[at]
