"""What operators do from the command line: end a session, scale an app, prune the trail; through the running gateway where there is one."""

from __future__ import annotations

import itertools
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from octopus import building, offsite
from octopus.config import Config
from octopus.control import audit_prune
from octopus.control.plane import KillCall, ScaleCall
from octopus.core.errors import AuditUnavailable, ControlUnavailable
from octopus.core.types import AuditEvent
from octopus.core.unique_actions import Action
from octopus.session.plane_calls import PlaneCalls

_NOBODY = 0xFFFF_FFFF
"""What proc(5) loginuid holds for a process that no login led to."""


async def kill(config: Config, session: str, reason: str) -> None:
    """End a live session. Raise NoSuchTarget, ControlUnavailable, AuditUnavailable."""
    with _running("ends sessions"):
        async with PlaneCalls(_socket(config), patience=0.0) as calls:
            await calls.call("kill", KillCall(session=session, operator=operator(), reason=reason), type(None))


async def scale(config: Config, app: str) -> Action:
    """Scale a UNIQUE app through the running gateway. Raise NoSuchTarget, InvalidRequest, AccessDenied, ControlUnavailable."""
    with _running("scales"):
        async with PlaneCalls(_socket(config), patience=0.0) as calls:
            return await calls.call("scale", ScaleCall(app=app, operator=operator()), Action)


async def prune(config: Config, *, dry_run: bool = False, unshipped: bool = False) -> list[str]:
    """Remove what is older than the retention, and return a line for each file. Raise AuditUnavailable.

    What still has to be shipped stays, and all after it, unless ``unshipped`` says otherwise; the trail says so then.
    """
    directory = Path(config.audit.directory)
    if not config.audit.retention:
        return ["nothing is removed: [audit] retention keeps all"]
    old = audit_prune.old_files(directory, time.time() - config.audit.retention)
    waiting = {one.name: where for one in old if (where := _waits_for(config, one.first))}
    files = old if unshipped else list(itertools.takewhile(lambda one: one.name not in waiting, old))
    if files and not dry_run:
        await _record(config, audit_prune.note(files, [one.name for one in files if one.name in waiting]))
        audit_prune.remove(directory, files)
    done = "would be removed" if dry_run else "removed"
    told = [f"{one.name}: {done}, with {len(one.recordings)} recordings{_not_shipped(waiting.get(one.name, []))}" for one in files]
    told += [f"{one.name}: kept{_not_shipped(waiting.get(one.name, []))}" for one in old[len(files) :]]
    return told or ["nothing is old enough to be removed"]


def operator() -> str:
    """Return who runs this process: the user who logged in, also behind sudo, as far as the kernel knows; else the process' own user."""
    user = os.getuid()
    with suppress(OSError, ValueError):
        login = int(Path("/proc/self/loginuid").read_text())
        user = login if login != _NOBODY else user
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"


@contextmanager
def _running(does: str) -> Iterator[None]:
    """Say of a gateway that does not answer what most often is the matter."""
    try:
        yield
    except ControlUnavailable as error:
        text = f"no gateway runs with this configuration, or it is another user's, and only a running one {does}: {error}"
        raise ControlUnavailable(text) from error


def _waits_for(config: Config, first: int) -> list[str]:
    try:
        return offsite.waits_for(config.audit, first)
    except OSError as error:
        raise AuditUnavailable(f"what was shipped cannot be read: {error}") from error


def _not_shipped(where: list[str]) -> str:
    return f"; not shipped yet to {', '.join(where)}" if where else ""


async def _record(config: Config, event: AuditEvent) -> None:
    """Have the running gateway write the event; without one, write it here."""
    try:
        async with PlaneCalls(_socket(config), patience=0.0) as calls:
            await calls.call("record", event, type(None))
    except ControlUnavailable:
        async with building.audit_log(config.audit) as log:
            await log.append(event)


def _socket(config: Config) -> Path:
    return Path(config.ssh.runtime_directory) / "plane.sock"
