"""``octopus unique``: reads the cluster once and says how each UNIQUE app covers the hosts; and the daemon, put together."""

from __future__ import annotations

import os
import platform
import secrets
import time
from contextlib import AsyncExitStack
from functools import partial

from octopus import building
from octopus.building import Sources
from octopus.config import Config
from octopus.core.errors import ConfigError, InvalidDocument, NoSuchTarget, printable
from octopus.core.ports import AuditLog
from octopus.fleet.judging import Judgement, follows, judge, seen
from octopus.fleet.seen import cannot_be_judged
from octopus.fleet.unique_scaler import UniqueScaler


def daemon(config: Config, sources: Sources, log: AuditLog, stack: AsyncExitStack) -> UniqueScaler | None:
    """Return the UNIQUE daemon of ``[unique]``, None where there is no Marathon; what it holds is released by ``stack``."""
    if config.docker.inventory or not config.marathon.urls:
        return None
    unique = config.unique
    return UniqueScaler(
        sources.cluster,
        scaling=building.scaling(config.marathon, stack),
        leadership=building.leadership(config, f"{platform.node()}, process {os.getpid()}", stack),
        log=log,
        statuses=lambda: [feed.status() for feed in sources.feeds],
        clock=time.time,
        new_id=partial(secrets.token_hex, 8),
        mode=unique.mode,
        apps=unique.apps,
        interval=unique.interval,
        settle=unique.settle_time,
        per_minute=unique.apps_per_minute,
        check_after=unique.check_after,
    )


async def unique(config: Config, app: str = "") -> Judgement:
    """Return how the UNIQUE apps that ``[unique]`` follows cover the hosts now, or only one of them.

    Raise NoSuchTarget (no such app among them), InvalidDocument (it cannot be judged), ConfigError, BadUpstream, OrchestratorUnavailable.
    """
    if config.docker.inventory or not config.marathon.urls:
        raise ConfigError(["marathon.urls: there is no Marathon, and so no UNIQUE app"])
    async with AsyncExitStack() as stack:
        sources = building.sources(config, stack)
        await sources.refresh()
        wanted = follows(config.unique.apps)
        chosen = (lambda one: one.id == app and wanted(one)) if app else wanted
        found = judge(seen(sources.cluster), time.time(), chosen, settled_after=config.unique.settle_time)
        why = sources.cluster.marathon.unread.get(app, "")
    if why:
        raise InvalidDocument([(app, cannot_be_judged(why))])
    if app and app not in found.coverages:
        raise NoSuchTarget(notice=f"'{printable(app)}' is no UNIQUE app that [unique] follows")
    return found
