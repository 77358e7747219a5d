"""The verbs of auditors and operators: prove the trail, list, replay and end sessions, remove what is old."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import to_builtins

from octopus.core.errors import printable
from octopus.options import DEFAULT_CONFIG, ConfigFile, Json, load, text
from octopus.printing import table, to_json

if TYPE_CHECKING:
    from octopus.control.audit_verify import Verdict
    from octopus.control.session_history import PastSession
    from octopus.core.proof import CheckSignature

verbs = typer.Typer()

MAX_TEXT = 2000

PublicKeys = Annotated[
    list[Path] | None,
    typer.Option("--public-key", metavar="FILE", help="A key (PEM) that signed; can be given again. Left out: that of [audit]."),
]


@verbs.command(epilog="Example: octopus verify /mnt/evidence --public-key octopus-audit.pub")
def verify(
    directory: Annotated[Path | None, typer.Argument(metavar="DIRECTORY", help="The audit directory; left out: that of [audit].")] = None,
    public_key: PublicKeys = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Prove the audit trail.

    Its chain, the signatures of its checkpoints and its recordings: exit status 0, or 1 with file, line and what is wrong.
    A copy needs no configuration. To copy a directory that is in use, take audit.head first.
    """
    from octopus.control import audit_verify

    where, check = _evidence(directory, public_key or [], config)
    if directory is None and not where.exists():
        verdict = audit_verify.nothing(where)
    else:
        with _progress("verifying", lambda: audit_verify.size(where)) as progress:
            verdict = audit_verify.verify(where, check=check, progress=progress)
    if as_json:
        print(to_json(to_builtins(verdict)))
    else:
        _tell(verdict, checked=check is not None)
    raise typer.Exit(int(bool(verdict.faults)))


@verbs.command(
    epilog="Examples: octopus sessions --live · octopus sessions --login alice --app '/web/**' --since 2d --json | jq -r '.[].session'"
)
def sessions(
    login: Annotated[str, typer.Option(metavar="LOGIN", help="Of this person.")] = "",
    app: Annotated[str, typer.Option(metavar="APP", help="In this app: a part of its id, or a glob.")] = "",
    client: Annotated[str, typer.Option(metavar="ADDRESS", help="From this address or network (10.0.0.0/8).")] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="Live after: 2026-01-31, 2026-01-31T14:00 (UTC), or so long ago: 12h.")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Live before.")] = "",
    live: Annotated[bool, typer.Option("--live", help="Not over yet.")] = False,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, max=1_000_000, help="The latest so many.")] = 1000,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List sessions, live and past, from the audit trail.

    Works without a running gateway. A session is live until its end is on the trail.
    """
    from octopus.control.session_history import Wanted
    from octopus.control.session_history import sessions as list_sessions

    wanted = Wanted(login=login, app=app, client=client, since=_time(since), until=_time(until), live=live)
    directory = Path(load(config).audit.directory)
    found = list_sessions(directory, wanted, limit)
    if found is None:
        print(f"octopus: nothing has been recorded yet: there is no trail in {printable(str(directory), MAX_TEXT)}", file=sys.stderr)
        found = []
    if as_json:
        print(to_json([to_builtins(one) for one in found]))
        return
    rows = [
        [one.session, one.login, one.client, one.app, one.task, _seconds(one.began), _seconds(one.ended), _outcome(one)] for one in found
    ]
    table(["session", "login", "client", "app", "task", "began", "ended", "outcome"], rows, as_json=False)


@verbs.command(epilog="Examples: octopus replay s-0123456789abcdef --idle-limit 2 · octopus replay web.cast --text | less")
def replay(
    recording: Annotated[str, typer.Argument(metavar="SESSION|FILE", help="A session with a recording, or an asciicast v2 file.")],
    speed: Annotated[float, typer.Option(metavar="FACTOR", min=0.1, max=100.0, help="So many times as fast.")] = 1.0,
    idle_limit: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="Shorten pauses to this; 0 keeps them.")] = 0.0,
    start: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="Begin so long after the beginning.")] = 0.0,
    text: Annotated[bool, typer.Option("--text", help="Print what the screen showed as text.")] = False,
    search: Annotated[str, typer.Option(metavar="TEXT", help="Print the times and lines at which the output holds it.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Replay a recorded terminal.

    Space pauses, the arrows move by ten seconds, + and - change the speed, / searches, n goes to the next place, q ends. What would
    act on your terminal rather than draw (titles, the clipboard, questions to it) is left out.
    """
    from octopus import replay as player
    from octopus.core.cast_reading import search as search_in

    path = Path(recording) if os.path.isfile(recording) else player.find(Path(load(config).audit.directory) / "recordings", recording)
    cast = player.load(path, idle_limit=idle_limit)
    if search:
        found = search_in(cast.shown, search)
        table(["time", "line"], [[str(timedelta(seconds=int(match.at))), match.line] for match in found], as_json=False)
        raise typer.Exit(int(not found))
    if text:
        for line in player.transcript(cast):
            print(line)
        return
    terminal = player.Terminal()
    with terminal.raw():
        player.Player(cast, terminal, speed=speed).play(start)


@verbs.command(epilog="Example: octopus kill s-0123456789abcdef --reason 'change freeze'")
def kill(
    session: Annotated[str, typer.Argument(metavar="SESSION", callback=text, help="The session, as octopus sessions --live lists it.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", callback=text, help="Told to the person, and on the audit trail.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """End a live session.

    Asks the gateway that runs with this configuration; only its own user may (runuser -u octopus -- octopus kill …). On the audit trail
    it is admin.kill.
    """
    from octopus import operations

    asyncio.run(operations.kill(load(config), session, reason))
    print(f"{printable(session)} is told to end")


@verbs.command(epilog="Example: octopus prune --dry-run")
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    unshipped: Annotated[bool, typer.Option("--unshipped", help="Also what was not shipped yet to [audit] syslog or s3.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Remove what is older than [audit] retention.

    Whole finished files of the trail, oldest first, and the recordings they speak of. A note on the trail says which, and by it the rest
    still verifies. What still has to be shipped is kept. Works with and without a running gateway; octopus-prune.timer runs it every day.
    """
    from octopus import operations

    for line in asyncio.run(operations.prune(load(config), dry_run=dry_run, unshipped=unshipped)):
        print(printable(line, MAX_TEXT))


def _seconds(time: str) -> str:
    """Return a time of the trail without its fractions."""
    return f"{time[:19]}Z" if time else ""


def _outcome(one: PastSession) -> str:
    detail = str(one.exit_status) if one.exit_status is not None else one.reason
    return f"{one.outcome} {detail}".strip()


def _time(text: str) -> str:
    """Return a time as the trail has it, "" for none. Raise BadParameter."""
    if not text:
        return ""
    match = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    try:
        if match:
            unit = {"m": "minutes", "h": "hours", "d": "days"}[match[2]]
            return _rfc3339(datetime.now(UTC) - timedelta(**{unit: int(match[1])}))
        return _rfc3339(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r} is no time; expected such as 2026-01-31, 2026-01-31T14:00 or 12h") from error


def _rfc3339(time: datetime) -> str:
    utc = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return utc.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _evidence(directory: Path | None, public_keys: list[Path], config: Path) -> tuple[Path, CheckSignature | None]:
    """Return where the trail is, and what knows the keys: those given, else the configured one where its trail is meant."""
    from octopus.control.audit_signing import PublicKeys, Signer, read_public

    keys = [read_public(path) for path in public_keys]
    if directory is None:
        audit = load(config).audit
        directory = Path(audit.directory)
        if not keys and audit.signing_key_file:
            keys = [Signer(Path(audit.signing_key_file)).public]
    return directory, PublicKeys(keys).check if keys else None


def _tell(verdict: Verdict, *, checked: bool) -> None:
    for fault in verdict.faults:
        place = f"{fault.file}:{fault.line}" if fault.line else fault.file
        print(printable(f"{place}: {fault.kind}: {fault.text}", MAX_TEXT))
    if verdict.dropped:
        print(f"and {verdict.dropped} more")
    for note in verdict.notes:
        print(printable(f"note: {note}", MAX_TEXT))
    if verdict.signed and not checked:
        print("note: signatures were not checked: no --public-key")
    signed = f"{verdict.checkpoints} checkpoints ({verdict.signed} signed)"
    print(f"{verdict.lines} lines in {verdict.files} files, {signed}, {verdict.recordings} recordings")
    print("this trail is NOT whole" if verdict.faults else "this trail is whole")


@contextmanager
def _progress(what: str, size: Callable[[], int]) -> Iterator[Callable[[int], object]]:
    """Show a bar on stderr where that is a terminal; yield what is told each further number of bytes."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=size())
        yield lambda count: bar.advance(task, count)
