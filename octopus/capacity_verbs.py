"""The verbs of capacity: what the cluster can still take, and what Marathon would do with an app."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import to_builtins

from octopus.core.errors import InvalidDocument, NoSuchTarget, printable
from octopus.options import DEFAULT_CONFIG, ConfigFile, Json, load
from octopus.printing import table, to_json

if TYPE_CHECKING:
    from octopus.forecast_tables import Section

verbs = typer.Typer()

MAX_TEXT = 2000


@verbs.command(epilog="Example: octopus capacity --json | jq .sums.cpus.free")
def capacity(config: ConfigFile = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Say what the cluster can still take.

    What is used, free and out of reach; how many more of the apps that run would fit; what is lost to pieces; whether an agent may
    be lost. Reads Mesos and Marathon now, so it works without a running gateway. Amounts in JSON are thousandths.
    """
    loaded = load(config)
    from octopus import forecast, forecast_tables, log

    log.configure(level="critical")
    found = asyncio.run(forecast.capacity(loaded))
    _sections(found, forecast_tables.capacity(found), as_json=as_json)


def _never_an_argument(context: typer.Context, value: str) -> str:
    # Everybody on the machine sees a command's arguments.
    source = context.get_parameter_source("token")
    if source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("a token is no argument: use --token-file or the environment's OCTOPUS_TOKEN")
    return value


Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="Ask the running gateway there (its admin), without a configuration.")
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="Its token for the gateway; else OCTOPUS_TOKEN in the environment.")
]
Token = Annotated[str, typer.Option("--token", envvar="OCTOPUS_TOKEN", hidden=True, callback=_never_an_argument)]
CaFile = Annotated[str, typer.Option("--ca-file", metavar="FILE", help="Trust these certificates with --url.")]


@verbs.command(
    epilog="Examples: octopus simulate app.json · octopus simulate /ops/statsd -n 3 · octopus simulate - < group.json · "
    "octopus simulate --url http://gateway:8022 --token-file ci.token app.json"
)
def simulate(
    app: Annotated[
        str, typer.Argument(metavar="APP", help="A file of Marathon JSON (one app, several, a group), -, or an id in Marathon.")
    ],
    more: Annotated[int | None, typer.Option("--number", "-n", metavar="NUMBER", min=0, help="Instances to add to each app.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    token: Token = "",
    ca_file: CaFile = "",
) -> None:
    """Say what Marathon would do with an app.

    How many instances find a place, where, and why each other agent refuses, by the rules of the Marathon that is found. A file of
    an app that runs already is taken for its upgrade; with -n instances are added. Exit status 0 when all surely fit, 1 when not,
    65 when the document is wrong.
    """
    if url is None and (token_file or ca_file):
        raise typer.BadParameter("--token-file and --ca-file go with --url")
    loaded = load(config) if url is None else None
    from octopus import forecast, forecast_remote, forecast_tables, log

    log.configure(level="critical")
    asked = forecast.question(app, more)
    try:
        if loaded is not None:
            found = asyncio.run(forecast.simulate(loaded, asked))
        else:
            secret = forecast_remote.read_token(token_file) if token_file else token and forecast_remote.checked(token, "OCTOPUS_TOKEN")
            found = asyncio.run(forecast_remote.simulate_at(url or "", asked, secret, ca_file=ca_file))
    except InvalidDocument as error:
        named = "standard input" if app == forecast.STANDARD_INPUT else app
        raise InvalidDocument(error.faults, source="" if asked.document is None else named) from error
    except NoSuchTarget as error:
        raise NoSuchTarget(f"{error}, and there is no such file" if asked.document is None else str(error)) from error
    _sections(found, forecast_tables.simulation(found), as_json=as_json)
    raise typer.Exit(int(not found.fits))


def _sections(found: object, sections: Iterable[Section], *, as_json: bool) -> None:
    """Print the whole as JSON, else sentence and table of each section."""
    if as_json:
        print(to_json(to_builtins(found)))
        return
    for number, (text, head, rows) in enumerate(sections):
        if number and rows:
            print()
        if text:
            print(printable(text, MAX_TEXT))
        if rows:
            table(head, rows, as_json=False)
