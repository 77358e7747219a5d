"""The verbs of auditors and operators: prove the trail, list, replay and end sessions, remove what is old."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from octopus.core.errors import printable
from octopus.options import DEFAULT_CONFIG, ConfigFile, Json, load
from octopus.printing import to_json

if TYPE_CHECKING:
    from octopus.control.audit_verify import Verdict
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
    with _progress("verifying", lambda: audit_verify.size(where)) as progress:
        verdict = audit_verify.verify(where, check=check, progress=progress)
    if as_json:
        from msgspec import to_builtins

        print(to_json(to_builtins(verdict)))
    else:
        _tell(verdict, checked=check is not None)
    raise typer.Exit(int(bool(verdict.faults)))


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
