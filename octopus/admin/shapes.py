"""What the API answers: one form for the JSON, its document and the pages. Times are UTC, RFC 3339, "" where not known."""

from __future__ import annotations

from typing import Any

from octopus.core.types import Value
from octopus.core.unique import Host
from octopus.core.unique_actions import Action

LIMIT = 100
MOST = 1000
"""Entries of a page, and the most that may be asked for."""
MAX_TEXT = 4096
"""Characters of anything that comes in as a text to look for."""


class SessionLine(Value, frozen=True, kw_only=True):
    """One session. ``outcome`` is ``live``, ``ended``, ``failed`` or ``denied``; ``recorded``: there is, or will be, a recording."""

    session: str
    login: str
    client: str
    app: str
    task: str
    agent: str
    kind: str
    command: str
    began: str
    ended: str
    outcome: str
    exit_status: int | None
    reason: str
    recorded: bool


class SessionsPage(Value, frozen=True, kw_only=True):
    """Live sessions first, then those that are over, the latest first; ``next`` is the cursor of the next page, "" at the end."""

    sessions: tuple[SessionLine, ...]
    live: int
    next: str


class TaskLine(Value, frozen=True, kw_only=True):
    """One running task. ``may`` is what the person may do there, by ``rule``; ``why`` says why not, where there is nothing.

    ``ssh``, ``scp`` and ``logs`` are lines to copy, "" where the rule allows none.
    """

    app: str
    task: str
    agent: str
    started: str
    may: tuple[str, ...]
    rule: str
    why: str
    ssh: str
    scp: str
    logs: str


class TasksPage(Value, frozen=True, kw_only=True):
    """Running tasks, by app and start time."""

    tasks: tuple[TaskLine, ...]
    next: str


class UniqueApp(Value, frozen=True, kw_only=True):
    """A UNIQUE app: how many hosts stand how, and the next step. ``hosts`` are those that do not simply run it, up to the limit."""

    app: str
    instances: int
    target: int
    running: int
    missing: int
    blocked: int
    new: int
    leaving: int
    misplaced: int
    verdict: str
    why: str
    hosts: tuple[Host, ...]


class UniquePage(Value, frozen=True, kw_only=True):
    """UNIQUE apps by id. ``mode`` is the daemon's; ``actions`` what it did last, the latest first; ``can_scale``: it can be asked to."""

    apps: tuple[UniqueApp, ...]
    mode: str
    can_scale: bool
    actions: tuple[Action, ...]
    next: str


class Scaled(Value, frozen=True, kw_only=True):
    """What became of a wish to scale: ``did`` is ``scaled`` or ``refused``, ``why`` in plain words."""

    app: str
    did: str
    instances: int
    wanted: int
    why: str


class AuditPage(Value, frozen=True, kw_only=True):
    """Lines of the trail, the latest first, as they stand there."""

    events: tuple[dict[str, Any], ...]
    next: str


class Killed(Value, frozen=True, kw_only=True):
    """A session that was asked to end."""

    session: str
