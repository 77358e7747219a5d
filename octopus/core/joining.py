"""Which app a task belongs to, and how sure that is: the base of every authorization.

Only who launched a task says what it is. Marathon's own task list is the authority where a Marathon is configured; a task of a
Marathon framework that is not on it (too new, another Marathon's) has a guessed app and is not ``confirmed``: nobody may enter it.
Without a Marathon the scheduler's words in Mesos decide: Marathon puts the reversed path into the task's name and the path into its
id, and both must agree. Tasks of other frameworks get ``framework:NAME/TASK``, which no Marathon app can be called. Nothing is ever
taken from a container: an app's author writes its environment.
"""

from __future__ import annotations

import re

import msgspec

from octopus.core.inventory import MarathonSnapshot, Task
from octopus.core.names import normalised

FRAMEWORK_PREFIX = "framework:"
_MARATHON_IDS = (
    re.compile(r"(.+)\.(?:instance-|marathon-)[^_.]+[._][^.]+\.[0-9]+"),
    re.compile(r"(.+)\.(?:instance-|marathon-)[^_.]+[._][^.]+"),
    re.compile(r"(.+)\.(?:instance-|marathon-)[^_.]+"),
    re.compile(r"(.+)\.[^_.]+\.[0-9]+"),
    re.compile(r"(.+)\.[^_.]+"),
)
"""Forms of Marathon task ids, tried in this order (0.6 to 1.11); the group is the app's path with ``/`` as ``_``."""

MAX_ID = 1024


def id_prefix(task_id: str) -> str:
    """Return the app's part of a Marathon task id, "" when it is in none of Marathon's forms."""
    if len(task_id) > MAX_ID:
        return ""
    return next((match[1] for form in _MARATHON_IDS if (match := form.fullmatch(task_id))), "")


def guess_app(task_id: str) -> str:
    """Return the app a task id hints at, "" for none: good for finding, never for authorization (``_`` is not reversible)."""
    prefix = id_prefix(task_id)
    return "/" + prefix.replace("_", "/") if prefix else ""


def possible_apps(body: str) -> tuple[str, ...]:
    """Return the app ids somebody who typed ``body`` may have meant, whether they exist or not."""
    prefix = id_prefix(body)
    plain = "/" + body.strip("/")
    spelled = [plain, plain.replace("_", "/"), plain.replace(".", "/"), "/" + normalised(body).replace("_", "/"), body]
    return tuple(dict.fromkeys([*spelled, *([f"/{prefix}", guess_app(body)] if prefix else [])]))


def is_marathon(framework_name: str) -> bool:
    """Whether a framework's name is one Marathons register with (``marathon``, ``marathon-0.8.1``, ``marathon-user``)."""
    return framework_name.casefold().startswith("marathon")


def app_in_mesos(task: Task, framework_name: str) -> str:
    """Return the app id that a task's name and id prove without Marathon's help, "" when they do not agree.

    Marathon names a task ``logstash.logging`` and its id begins with ``logging_logstash``; a container of a pod has its own name,
    so pods need Marathon itself.
    """
    if not is_marathon(framework_name):
        return f"{FRAMEWORK_PREFIX}{framework_name}/{task.name or task.id}" if framework_name else ""
    prefix = id_prefix(task.id)
    elements = prefix.split("_")
    if prefix and all(elements) and ".".join(reversed(elements)) == task.name:
        return "/" + "/".join(elements)
    return ""


def joined(task: Task, framework_name: str, marathon: MarathonSnapshot | None) -> Task:
    """Return ``task`` with its app. ``marathon`` is None where none is configured; a task that has an app already keeps it."""
    if task.app:
        return task
    if marathon is not None and (task.framework == marathon.framework or is_marathon(framework_name) or not framework_name):
        app, labels = _app_in_marathon(task, marathon), {}  # the app's labels in Marathon count, the task's copy need not be kept
    else:
        app, labels = app_in_mesos(task, framework_name), task.labels
    return msgspec.structs.replace(task, app=app or guess_app(task.id), confirmed=bool(app), labels=labels)


def _app_in_marathon(task: Task, marathon: MarathonSnapshot) -> str:
    """Return the app Marathon says; ids are unique within a framework only, so framework and agent must agree where known."""
    told = marathon.tasks.get(task.id)
    if told is None or (told.agent and told.agent != task.agent):
        return ""
    return told.app if marathon.framework in {"", task.framework} else ""
