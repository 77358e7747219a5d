"""The command ``octopus``: reads arguments, prints, and ends with an exit status; the work is in ``app``.

Exit statuses are those of sysexits: 0 done, 64 wrong use, 69 something behind us is down, 70 our bug, 74 the output cannot be
written, 78 wrong configuration.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import to_builtins

from octopus import audit_verbs, capacity_verbs, standard_streams, unique_verbs
from octopus.core.errors import ConfigError, OctopusError, OutputFailed, printable
from octopus.options import DEFAULT_CONFIG, ConfigFile, Json, load
from octopus.printing import table, to_json, when

if TYPE_CHECKING:
    from octopus.hostkeys import HostKey

EX_USAGE = 64
WRONG_USE = 2
"""What typer exits with for arguments it does not know, and a verb of ours never."""
EX_SOFTWARE = 70


verbs = typer.Typer(
    name="octopus",
    help="An SSH gateway into the containers of Mesos and Marathon tasks.\n\n"
    "First: 'octopus demo' shows everything on this machine. For a cluster of your own: write the configuration, "
    "'octopus hostkeys create', 'octopus check' until it is content, then 'octopus serve'.",
    epilog="People then type: ssh TASK@GATEWAY · ssh APP@GATEWAY · ssh LOGIN+APP~2@GATEWAY · ssh LOGIN@GATEWAY",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
hostkeys_verbs = typer.Typer(
    help="Create or list the gateway's host keys.\n\n"
    "Both print fingerprints and SSHFP records. "
    "Clients check the host key at each connection. Publish the fingerprints, or the SSHFP records in a signed zone of the DNS "
    "(ssh -o VerifyHostKeyDNS=yes).",
    no_args_is_help=True,
)
users_verbs = typer.Typer(help="Make entries of the users file.\n\nIt is the directory where there is no LDAP.", no_args_is_help=True)
verbs.add_typer(hostkeys_verbs, name="hostkeys")
verbs.add_typer(users_verbs, name="users")
verbs.add_typer(capacity_verbs.verbs)
verbs.add_typer(unique_verbs.verbs)
verbs.add_typer(audit_verbs.verbs)


def main() -> None:
    """Run ``octopus`` and exit."""
    standard_streams.prepare()
    status = run(sys.argv[1:])
    try:
        standard_streams.finish()
    except OutputFailed as error:
        status = status or _failed(error)
    except BrokenPipeError:
        status = status or 1
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one verb and return the exit status; errors are told on stderr."""
    try:
        verbs(list(arguments), prog_name="octopus")
    except SystemExit as end:
        return EX_USAGE if end.code == WRONG_USE else int(end.code or 0)
    except Exception as error:
        return _failed(error)
    return 0


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"octopus {metadata.version('octopus-gateway')}")
        raise typer.Exit


@verbs.callback()
def octopus(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show the version and exit.")] = False,
) -> None:
    """Take what is asked of the command itself."""


@verbs.command(epilog="Example: octopus serve --config /etc/octopus/octopus.toml")
def serve(
    config: ConfigFile = DEFAULT_CONFIG,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log DEBUG as well.")] = False,
) -> None:
    """Run the gateway until SIGTERM.

    Sessions that live then go on to their end, while the next gateway already takes connections.
    """
    loaded = load(config)
    from octopus import app, log

    level = "debug" if verbose else "info"
    log.configure(level=level)
    app.serve(loaded, log_level=level)


@verbs.command(epilog="Example: octopus check --json | jq '.[] | select(.status == \"fault\")'")
def check(config: ConfigFile = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Check the configuration and reach out to all it names.

    A configuration with faults is answered with all of them, each with its line, and exit status 78. Else host keys,
    directory, Mesos, Marathon and each agent's engine are looked at: exit status 0 when people can work, 1 on any fault.
    """
    loaded = load(config)
    from octopus import log
    from octopus.check import Status, check

    log.configure(level="critical")
    findings = asyncio.run(check(loaded))
    table(["status", "what", "finding"], [[found.status, found.what, found.text] for found in findings], as_json=as_json)
    raise typer.Exit(int(any(found.status is Status.FAULT for found in findings)))


@verbs.command(epilog="Paste what it prints into a second terminal.")
def demo() -> None:
    """Show everything on this machine.

    A gateway, two people, and a small cluster whose entered tasks are real containers. Listens on loopback only, needs a Docker
    engine, leaves nothing behind. Ends with Ctrl-C.
    """
    from octopus import demonstration, log

    log.configure(level="warning")
    demonstration.demo(lambda line: print(line, flush=True))


@verbs.command(epilog="Examples: octopus tasks logging · octopus tasks '/logging/**' · octopus tasks --json | jq -r '.[].task'")
def tasks(
    pattern: Annotated[
        str,
        typer.Argument(metavar="PATTERN", help="A part of an app's or a task's id, or a glob over app ids; all when left out."),
    ] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List the tasks that can be entered.

    Reads Mesos and Marathon (or the one engine) now, so it works without a running gateway, and regardless of the policy.
    """
    loaded = load(config)
    from octopus import listing, log

    log.configure(level="critical")
    found = asyncio.run(listing.tasks(loaded, pattern))
    table(["app", "task", "agent", "started"], [[task.app, task.task, task.agent, when(task.started)] for task in found], as_json=as_json)


def _directory(value: str) -> Path:
    if not value:
        raise typer.BadParameter("is empty; expected the path of a directory")
    return Path(value)


Directory = Annotated[
    Path | None, typer.Argument(metavar="DIRECTORY", parser=_directory, help="Where the keys are; left out: [ssh] host_keys.")
]


@hostkeys_verbs.command("create", epilog="Example: octopus hostkeys create /etc/octopus/hostkeys")
def hostkeys_create(directory: Directory = None, config: ConfigFile = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Make the keys that are missing.

    Ed25519 and RSA 3072, mode 0600. Nothing is ever overwritten.
    """
    from octopus import hostkeys

    _print_keys(hostkeys.create(directory or Path(load(config).ssh.host_keys)), as_json=as_json)


@hostkeys_verbs.command("list", epilog="Example: octopus hostkeys list --json | jq -r '.[].sshfp'")
def hostkeys_list(directory: Directory = None, config: ConfigFile = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """List the keys that are there."""
    from octopus import hostkeys

    _print_keys(hostkeys.read(directory or Path(load(config).ssh.host_keys)), as_json=as_json)


@users_verbs.command("hash", epilog="Example: octopus users hash < password.txt")
def users_hash() -> None:
    """Ask for a password and print its scrypt hash, for the users file.

    The password is read from the terminal, twice, or as one line from a pipe; never from the command line, where every process
    of the machine could read it.
    """
    from octopus.identity.passwords import hash_password

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        print(hash_password(password))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _print_keys(keys: Sequence[HostKey], *, as_json: bool) -> None:
    if as_json:
        print(to_json([to_builtins(key) for key in keys]))
        return
    for key in keys:
        print(f"{key.algorithm:<20} {key.fingerprint}{'  (new)' if key.created else ''}")
        print(f"{'':<20} IN SSHFP {key.sshfp}")
        print(f"{'':<20} {printable(key.path, 1000)}")


def _failed(error: Exception) -> int:
    """Tell of an error, in one line where it is one of ours, and return its exit status. Anything else is a bug."""
    ours = _ours(error)
    if not ours:
        traceback.print_exception(error)
        print("octopus: internal error: please report the lines above", file=sys.stderr)
        return EX_SOFTWARE
    for one in ours:
        for line in one.faults if isinstance(one, ConfigError) else (str(one),):
            print(f"octopus: {printable(line, 2000)}", file=sys.stderr)
    return ours[0].exit_status


def _ours(error: BaseException) -> list[OctopusError]:
    """Return the errors of ours, also from within groups of task groups; none when something else is among them."""
    if isinstance(error, OctopusError):
        return [error]
    if not isinstance(error, BaseExceptionGroup):
        return []
    found = [_ours(part) for part in error.exceptions]
    return [one for part in found for one in part] if all(found) else []
