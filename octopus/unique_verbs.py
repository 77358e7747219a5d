"""The verbs of UNIQUE apps: on which hosts they lack an instance and why, and scaling one of them now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import to_builtins

from octopus.core.errors import printable
from octopus.core.times import rfc3339
from octopus.options import DEFAULT_CONFIG, ConfigFile, Json, load, text
from octopus.printing import table, to_json

if TYPE_CHECKING:
    from octopus.core.unique import Coverage
    from octopus.fleet.judging import Judgement

verbs = typer.Typer()
MAX_TEXT = 2000
MOST_HOSTS = 40
"""Hosts of one app that are listed by name; --json has all."""

unique_verbs = typer.Typer(invoke_without_command=True)
verbs.add_typer(
    unique_verbs,
    name="unique",
    epilog="Examples: octopus unique · octopus unique --app /ops/statsd --json · octopus unique scale /ops/statsd",
)


@unique_verbs.callback()
def unique(
    context: typer.Context,
    app: Annotated[str, typer.Option(metavar="APP", help="Only this app.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Say how apps of one on each host (UNIQUE) cover the hosts.

    For each how many hosts are for it, run it, lack it and could take it, lack it and cannot and why, and where it runs though it
    should not. Reads Mesos and Marathon now, so it works without a running gateway.
    """
    if context.invoked_subcommand is not None:
        _hand_down(context, app, config, as_json=as_json)
        return
    loaded = load(config)
    from octopus import log, unique_report

    log.configure(level="critical")
    found = asyncio.run(unique_report.unique(loaded, _id(app)))
    if as_json:
        print(to_json(_plain(found)))
        return
    for line in _notes(found):
        print(line)
    if found.coverages:
        table(_APPS, [_row(one) for one in found.coverages.values()], as_json=False)
    rows = [row for one in found.coverages.values() for row in _lacking(one)]
    if rows:
        print()
        table(_HOSTS, rows, as_json=False)


@unique_verbs.command("scale", epilog="Example: octopus unique scale /ops/statsd")
def scale(
    app: Annotated[str, typer.Argument(metavar="APP", callback=text, help="The app's id in Marathon.")],
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Scale an app to the hosts that can take it, now.

    By the daemon's rules: never down, never into a deployment, never by force. Asks the gateway that runs with this configuration;
    only its own user may (runuser -u octopus -- octopus unique scale …). On the audit trail it is unique.scaled or unique.refused, with
    who asked. Exit status 0 when it was scaled, 1 when not, with the reason.
    """
    from octopus import operations
    from octopus.core.unique_actions import Did

    done = asyncio.run(operations.scale(load(config), _id(app)))
    scaled = done.did is Did.SCALED
    if as_json:
        print(to_json(to_builtins(done)))
    elif scaled:
        print(printable(f"{done.app} is scaled from {done.instances} to {done.wanted}: {done.why}", MAX_TEXT))
    else:
        print(printable(f"{done.app} is not scaled: {done.why}", MAX_TEXT))
    raise typer.Exit(int(not scaled))


def _hand_down(context: typer.Context, app: str, config: Path, *, as_json: bool) -> None:
    """Have ``octopus unique --config FILE scale APP`` mean that file, not the default one. Raise BadParameter."""
    if app:
        raise typer.BadParameter(f"--app goes without a verb behind it; expected: octopus unique scale {printable(app)}")
    context.default_map = {"scale": {"config": config, "as_json": as_json}}


def _id(app: str) -> str:
    """Return an app's id as Marathon has it: it takes one without the first slash, too."""
    return "/" + app.strip("/") if app else ""


_APPS = ("app", "instances", "for it", "running", "missing", "blocked", "new", "leaving", "misplaced", "next")
_HOSTS = ("app", "agent", "state", "reason", "because")


def _row(one: Coverage) -> Sequence[str]:
    from octopus.core.unique import Standing

    counts = [one.count(each) for each in (Standing.RUNNING, Standing.MISSING, Standing.BLOCKED, Standing.NEW)]
    away = [one.count(each) for each in (Standing.LEAVING, Standing.MISPLACED)]
    return [one.app, str(one.instances), str(one.eligible), *map(str, counts), *map(str, away), _next(one)]


def _next(one: Coverage) -> str:
    from octopus.core.unique import Verdict

    if one.step.verdict is Verdict.SCALE:
        return f"scale to {one.step.instances}: {one.step.why}"
    return one.step.why


def _lacking(one: Coverage) -> Iterator[Sequence[str]]:
    """Yield the hosts where something is to be said, the first so many."""
    from octopus.core.unique import Standing

    told = [host for host in one.hosts if host.standing is not Standing.RUNNING]
    for host in told[:MOST_HOSTS]:
        yield [one.app, host.hostname, host.standing.value, host.reasons[0] if host.reasons else "", host.why]
    if len(told) > MOST_HOSTS:
        yield [one.app, f"and {len(told) - MOST_HOSTS} more", "", "", ""]


def _notes(found: Judgement) -> Iterator[str]:
    if not found.complete:
        yield "incomplete: not every agent has come back to the new Mesos leader yet"
    if not found.coverages:
        yield "no app is one on each host (UNIQUE), or [unique] follows none"


def _plain(found: Judgement) -> object:
    """Return the judgement for programs: each app with its counts and hosts."""
    from octopus.core.unique import Standing

    apps = [
        to_builtins(one) | {"eligible": one.eligible, "counts": {each.value: one.count(each) for each in Standing}}
        for one in found.coverages.values()
    ]
    return {"time": rfc3339(found.time), "complete": found.complete, "apps": apps}
