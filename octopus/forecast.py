"""``octopus capacity`` and ``octopus simulate``: reads the cluster once, or asks the running gateway, what it can still take."""

from __future__ import annotations

import codecs
import os
import stat
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from octopus import building
from octopus.config import Config
from octopus.core.cluster import Cluster
from octopus.core.errors import ConfigError, InvalidDocument, InvalidTarget, printable
from octopus.fleet.report import Report, coverages, report, unique_lines
from octopus.fleet.seen import Seen
from octopus.fleet.simulation import MAX_DOCUMENT, Question, Simulation, answer

STANDARD_INPUT = "-"


async def capacity(config: Config) -> Report:
    """Return how full the cluster is, as the gateway tells it. Raise ConfigError, BadUpstream, OrchestratorUnavailable."""
    seen = Seen(await _read(config))
    found = report(seen, named=config.capacity.apps)
    return msgspec.structs.replace(found, unique=unique_lines(coverages(seen, time.time())))


async def simulate(config: Config, asked: Question) -> Simulation:
    """Return what becomes of what is asked. Raise InvalidDocument (65), NoSuchTarget, ConfigError, BadUpstream, OrchestratorUnavailable."""
    return answer(Seen(await _read(config)), asked)


def question(name: str, more: int | None) -> Question:
    """Return what is asked about ``name``: a file of Marathon JSON, ``-`` for standard input, an app's id or a group's.

    ``more`` instances of each are added; None for what it asks for beyond what runs, and for the upgrade of a document's app that runs
    already. Raise InvalidTarget, InvalidDocument.
    """
    body = document(name)
    return Question(document=body, id=name if body is None else "", more=more)


def document(name: str) -> bytes | None:
    """Return the bytes of a file or of standard input, None where ``name`` is no file. Raise InvalidTarget, InvalidDocument."""
    if name == STANDARD_INPUT:
        body = sys.stdin.buffer.read(MAX_DOCUMENT + 1)
    elif not name:
        raise InvalidTarget(notice="an empty name; expected a file, -, or an id in Marathon (/ for all its apps)")
    elif _is_file(name):
        try:
            with Path(name).open("rb") as file:
                body = file.read(MAX_DOCUMENT + 1)
        except OSError as error:
            raise InvalidTarget(notice=f"{printable(name)}: cannot be read: {error.strerror}") from error
    else:
        return None
    if len(body) > MAX_DOCUMENT:
        raise InvalidDocument([("", f"is longer than {MAX_DOCUMENT} bytes")])
    return body.removeprefix(codecs.BOM_UTF8)  # editors of Windows put it there


def _is_file(name: str) -> bool:
    """Tell whether ``name`` is a file, or a pipe, as a shell's ``<(…)`` is; else it is an id, and may look like any path."""
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


async def _read(config: Config) -> Cluster:
    if config.docker.inventory:
        raise ConfigError(["docker.inventory: one engine has no capacity to tell of; this needs [mesos]"])
    async with AsyncExitStack() as stack:
        sources = building.sources(config, stack)
        await sources.refresh()
        return sources.cluster
