"""Removes what is too old of an audit directory: whole files from the beginning of the trail, and the recordings they speak of.

First a note goes on the trail, ``audit.pruned``, with the last line of each file; by it the rest still verifies, whether all of them
are gone, or only some, or none yet. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from octopus.control.audit_file import finished_files
from octopus.core.chain import PRUNED, first_seq
from octopus.core.errors import AuditUnavailable
from octopus.core.times import rfc3339
from octopus.core.types import AuditEvent, Value

RECORDINGS = frozenset({".cast", ".copy"})
"""How the names of recordings end: terminals, and copies of files."""


class OldFile(Value, frozen=True, kw_only=True):
    """A finished file to remove: the numbers of its first and last line, the hash and time of the last, and its recordings' paths."""

    name: str
    first: int
    last: int
    hash: str
    ended: str
    recordings: tuple[str, ...]


def old_files(directory: Path, before: float) -> list[OldFile]:
    """Return the files whose last line is older than ``before`` (seconds since 1970), oldest first. Raise AuditUnavailable.

    The newest finished file is never among them: a start may need it. A file that cannot be read stays, and all after it.
    """
    limit = rfc3339(before)
    found: list[OldFile] = []
    try:
        for path in finished_files(directory)[:-1] if directory.exists() else ():
            one = _read(path)
            if one is None or one.ended >= limit:
                break
            found.append(one)
    except OSError as error:
        raise AuditUnavailable(f"{error.filename or directory}: cannot be read: {error.strerror}") from error
    return found


def note(files: list[OldFile], unshipped: Sequence[str] = ()) -> AuditEvent:
    """Return what has to stand on the trail before they are removed; ``unshipped`` are those that were to be shipped and were not."""
    listed = [{"name": one.name, "first": one.first, "last": one.last, "hash": one.hash} for one in files]
    data = {"files": listed, "recordings": sum(len(one.recordings) for one in files)} | (
        {"not_shipped": list(unshipped)} if unshipped else {}
    )
    return AuditEvent(event=PRUNED, key=f"pruned/{files[0].first}-{files[-1].last}", data=data)


def remove(directory: Path, files: list[OldFile]) -> None:
    """Remove them, oldest first, each after its recordings, so that what is left half done is found again. Raise AuditUnavailable."""
    recordings = directory / "recordings"
    try:
        for one in files:
            for path in _inside(recordings, one.recordings):
                path.unlink(missing_ok=True)
                _remove_empty(path.parent, recordings)
            (directory / one.name).unlink(missing_ok=True)
    except OSError as error:
        raise AuditUnavailable(f"{directory}: cannot be pruned: {error}") from error


class _Recording(msgspec.Struct, frozen=True):
    path: str = ""


class _Line(msgspec.Struct, frozen=True):
    seq: int
    hash: str
    time: str
    session: str = ""


class _Recorded(msgspec.Struct, frozen=True):
    recordings: tuple[_Recording, ...] = ()


def _read(path: Path) -> OldFile | None:
    last, recordings = None, []
    try:
        with path.open("rb") as file:
            for raw in file:
                last = raw
                if b'"recordings":[{' in raw:
                    recordings += [one.path for one in msgspec.json.decode(raw, type=_Recorded).recordings]
        line = msgspec.json.decode(last or b"", type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return OldFile(name=path.name, first=first_seq(path.name), last=line.seq, hash=line.hash, ended=line.time, recordings=tuple(recordings))


def _inside(directory: Path, paths: tuple[str, ...]) -> Iterator[Path]:
    """Yield those that lie below the directory: a line altered by somebody must not remove anything else."""
    for text in paths:
        path = Path(text)
        if path.suffix in RECORDINGS and not path.is_absolute() and ".." not in path.parts and "\0" not in text:
            yield directory / path


def _remove_empty(directory: Path, top: Path) -> None:
    while directory != top and directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
        directory = directory.parent
